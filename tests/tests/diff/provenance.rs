//! The compiler names the rule that the oracle names.

use std::sync::Arc;

use bulkhead_graph::{Direction, Stance};
use bulkhead_policy::engine::{Engine, Reason};
use bulkhead_policy::eval::{Flow, Half, Owner, Provenance, World};
use bulkhead_policy::model::{
    Action, Kind, Object, Peers, Policy, Rule, Segment, Strength, Tier, Timestamp,
};
use bulkhead_tests::tuples::{Compiled, Judged, Question, flows, may_overblock, sample};
use bulkhead_tests::worlds::search::{Finding, Tally, search_tuples};
use bulkhead_tests::worlds::vocabulary::{self, NOW};
use bulkhead_tests::worlds::{SmallWorld, addresses_of, large_world, small_world};
use proptest::prelude::*;

fn is_same(oracle: &Provenance, compiled: &Reason) -> bool {
    match (oracle, compiled) {
        (
            Provenance::Rule(rule),
            Reason::Rule {
                policy,
                direction,
                index,
                name,
            },
        ) => {
            rule.object == *policy
                && rule.direction == *direction
                && rule.index == *index as usize
                && rule.name == *name
        }
        (Provenance::Isolated { by, .. }, Reason::Isolated { by: compiled }) => by == compiled,
        // One of those that decide is named.
        (Provenance::Within { by, .. }, Reason::Within { segment }) => by.contains(segment),
        (Provenance::Unopposed, Reason::Unisolated) => true,
        (Provenance::LeftOut(oracle), Reason::LeftOut(compiled)) => oracle == compiled,
        (
            Provenance::Rule(_)
            | Provenance::Isolated { .. }
            | Provenance::Within { .. }
            | Provenance::Unopposed
            | Provenance::OwnAddress
            | Provenance::NotOurs
            | Provenance::Contested
            | Provenance::JudgedAtEndpoint
            | Provenance::Endpoint { .. }
            | Provenance::LeftOut(_)
            | Provenance::NoEndpoint(_),
            _,
        ) => false,
    }
}

/// Where several rules of one tier admit or deny alike, any of them may be named. That it is one of those shows when no
/// other rule of the tier says anything.
fn is_as_good(
    case: &SmallWorld,
    asked: &Question,
    stance: Stance,
    now: Timestamp,
    compiled: &Reason,
) -> bool {
    let Reason::Rule {
        policy: named,
        direction,
        index,
        ..
    } = compiled
    else {
        return false;
    };
    let tier_of = |object: &Object| {
        if let Object::Policy(policy) = object {
            Some(policy.tier)
        } else {
            None
        }
    };
    let written = case.objects.iter();
    let mut written = written.filter(|object| object.reference() == *named);
    // What closes a namespace that is being deleted stands beside its policies.
    let tier = if named.kind == Kind::Namespace {
        Some(Tier::Namespace)
    } else {
        written.next().and_then(tier_of)
    };
    if !matches!(tier, Some(Tier::Namespace | Tier::Quarantine)) {
        return false;
    }
    let mut alone = case.clone();
    for object in &mut alone.objects {
        if tier_of(object) != tier {
            continue;
        }
        let Object::Policy(policy) = object else {
            continue;
        };
        let policy = Arc::make_mut(policy);
        let is_named = policy.object == *named;
        let silence = |rules: &mut Vec<Rule>, spared: Option<usize>| {
            let others = rules
                .iter_mut()
                .enumerate()
                .filter(|(at, _)| Some(*at) != spared);
            others.for_each(|(_, rule)| rule.peers = Peers::Of(Vec::new()));
        };
        let spared = |of| (is_named && of == *direction).then_some(*index as usize);
        silence(&mut policy.ingress, spared(Direction::Ingress));
        silence(&mut policy.egress, spared(Direction::Egress));
    }
    let told = asked
        .oracle(&alone.world(), now)
        .map(|(enforced, intended)| match stance {
            Stance::Enforced => enforced,
            Stance::Intended => intended,
        });
    told.is_some_and(|half| is_same(&half.rule, compiled))
}

fn compare(
    case: &SmallWorld,
    engine: &mut Engine,
    asked: &Question,
    half: &Half,
    (stance, naming): (Stance, Naming),
) -> Finding {
    let port = (asked.protocol, asked.port);
    let explained = engine
        .explain(asked.own, asked.direction, asked.peer, port, stance)
        .ok_or_else(|| format!("{asked:?}: nothing explains it; oracle: {}", half.rule))?;
    // A boundary that is open within only goes on, so nothing is named after it.
    let is_named = || {
        naming == Naming::MatterOfTaste
            || is_same(&half.rule, &explained.reason)
            || is_as_good(case, asked, stance, NOW, &explained.reason)
    };
    if explained.allowed == half.allowed && is_named() {
        return Ok(());
    }
    Err(format!(
        "{asked:?} {stance:?}\noracle: {} because {}\ncompiled: {} because {}",
        half.allowed, half.rule, explained.allowed, explained.reason
    ))
}

/// Whether there is one right name for what decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    One,
    MatterOfTaste,
}

/// After a `Pass` of an unknown peer, which an open boundary is too, both ways are judged, and which of two denials is
/// named is a matter of taste.
fn naming(world: &World, asked: &Question) -> Naming {
    let passes = |policy: &Policy| {
        policy
            .rules(asked.direction)
            .iter()
            .any(|rule| rule.action == Action::Pass)
    };
    let is_boundary = |segment: &Segment| {
        segment
            .isolation
            .is_some_and(|isolation| isolation.strength == Strength::Boundary)
    };
    let is_unknown = matches!(world.owner(asked.peer), Owner::Unknown | Owner::Contested);
    if is_unknown && (world.policies().any(passes) || world.segments().any(is_boundary)) {
        Naming::MatterOfTaste
    } else {
        Naming::One
    }
}

/// What a Service makes of a flow is explained by its endpoints, not by its own address.
fn is_translated(judged: &Judged<'_>) -> bool {
    let asked = &judged.asked;
    let service = judged.node.graph.services.get(&asked.peer);
    asked.direction == Direction::Egress
        && service.is_some_and(|service| {
            let mut ports = service.ports.iter();
            ports.any(|port| port.protocol == asked.protocol && port.port == asked.port)
        })
}

fn check(case: &SmallWorld, flows: impl Iterator<Item = Flow>, tally: &Tally) -> Finding {
    let world = case.world();
    let mut engine = case.engine(NOW);
    let compiled = Compiled::build(&mut engine, NOW)?;
    for flow in flows {
        for judged in compiled.halves(&world, &flow, NOW) {
            let asked = &judged.asked;
            if is_translated(&judged) || may_overblock(&world, asked) {
                continue;
            }
            tally.count();
            let naming = naming(&world, asked);
            for (half, stance) in [
                (&judged.enforced, Stance::Enforced),
                (&judged.intended, Stance::Intended),
            ] {
                compare(case, &mut engine, asked, half, (stance, naming))?;
            }
        }
    }
    Ok(())
}

#[test]
fn g16_the_compiler_names_what_decides_on_both_sides() {
    let addresses = vocabulary::addresses();
    search_tuples(
        "provenance",
        (180, 100_000),
        small_world(),
        |case, tally| check(&case, flows(&addresses), tally),
    );
}

#[test]
fn g16_and_in_large_worlds() {
    let worlds = (large_world(), any::<u64>());
    search_tuples(
        "provenance, large",
        (6, 1_000),
        worlds,
        |(case, seed), tally| {
            let mut rng = fastrand::Rng::with_seed(seed);
            let sample = sample(&addresses_of(&case), &mut rng, 1_000);
            check(&case, sample.into_iter(), tally)
        },
    );
}
