//! The compiler names the rule that the oracle names.

use bulkhead_graph::{Direction, Stance};
use bulkhead_policy::engine::{Engine, Reason};
use bulkhead_policy::eval::{Half, Owner, Provenance, World};
use bulkhead_policy::model::{
    Action, Object, Peers, Policy, Rule, Segment, Strength, Tier, Timestamp,
};
use bulkhead_tests::worlds::search::{Finding, search};
use bulkhead_tests::worlds::vocabulary::NOW;
use bulkhead_tests::worlds::{SmallWorld, small_world};

use crate::compiled::may_overblock;
use crate::halves::{Question, graphs, questions};

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
        (
            Provenance::Rule(_)
            | Provenance::Isolated { .. }
            | Provenance::Within { .. }
            | Provenance::Unopposed
            | Provenance::OwnAddress
            | Provenance::NotOurs
            | Provenance::Contested
            | Provenance::JudgedAtEndpoint
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
    let tier = case
        .objects
        .iter()
        .find(|object| object.reference() == *named)
        .and_then(tier_of);
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
    (stance, now): (Stance, Timestamp),
) -> Finding {
    let port = (asked.protocol, asked.port);
    let explained = engine
        .explain(asked.own, asked.direction, asked.peer, port, stance)
        .ok_or_else(|| format!("{asked:?}: nothing explains it; oracle: {}", half.rule))?;
    // A boundary that is open within only goes on, so nothing is named after it.
    let is_named = || {
        is_same(&half.rule, &explained.reason)
            || is_as_good(case, asked, stance, now, &explained.reason)
    };
    if explained.allowed == half.allowed && is_named() {
        return Ok(());
    }
    Err(format!(
        "{asked:?} {stance:?}\noracle: {} because {}\ncompiled: {} because {}",
        half.allowed, half.rule, explained.allowed, explained.reason
    ))
}

/// After a `Pass` of an unknown peer, which an open boundary is too, both ways are judged, and which of two denials is
/// named is a matter of taste.
fn is_matter_of_taste(world: &World, asked: &Question) -> bool {
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
    matches!(world.owner(asked.peer), Owner::Unknown | Owner::Contested)
        && (world.policies().any(passes) || world.segments().any(is_boundary))
}

fn check(case: SmallWorld, now: Timestamp) -> Finding {
    let world = case.world();
    let mut engine = case.engine(now);
    let services = |asked: &Question| {
        world.services().any(|service| {
            let ip = asked.peer.ip();
            service.cluster_addresses.contains(&ip) || service.external_addresses.contains(&ip)
        })
    };
    for graph in graphs(&mut engine).values() {
        for asked in graph
            .workloads
            .values()
            .flat_map(|workload| questions(workload))
        {
            if services(&asked)
                || is_matter_of_taste(&world, &asked)
                || may_overblock(&world, &asked)
            {
                continue;
            }
            let Some((enforced, intended)) = asked.oracle(&world, now) else {
                continue;
            };
            compare(
                &case,
                &mut engine,
                &asked,
                &enforced,
                (Stance::Enforced, now),
            )?;
            compare(
                &case,
                &mut engine,
                &asked,
                &intended,
                (Stance::Intended, now),
            )?;
        }
    }
    Ok(())
}

#[test]
fn the_compiler_names_the_rule_that_decides() {
    search("provenance", 100, small_world(), |case| check(case, NOW));
}
