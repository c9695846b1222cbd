//! What a change of one object may do to every verdict (G11, G12), by the oracle; the compiler is held to the oracle
//! elsewhere.

use std::sync::Arc;

use bulkhead_policy::eval::{Flow, Owner, World, eval};
use bulkhead_policy::model::{Action, Address, Kind, Object, Peer, Peers, Port, Ports, Rule};
use bulkhead_tests::worlds::search::{Finding, search};
use bulkhead_tests::worlds::vocabulary::{self, NAMESPACES, NOW};
use bulkhead_tests::worlds::{SmallWorld, small_world};
use proptest::prelude::*;
use proptest::sample::Index;

/// `(enforced, intended)` of every flow between two addresses of one family, with the flow.
fn verdicts(case: &SmallWorld) -> Vec<(String, [bool; 4])> {
    let world = case.world();
    let addresses = vocabulary::addresses();
    let mut verdicts = Vec::new();
    for (number, source) in addresses.iter().enumerate() {
        for (other, destination) in addresses.iter().enumerate() {
            if source.is_ipv4() != destination.is_ipv4() || source == destination {
                continue;
            }
            // Every pair meets every port in some case, not in each.
            let ports = vocabulary::ASKED
                .iter()
                .skip((number + other) % 4)
                .step_by(4);
            for (protocol, port) in ports.copied() {
                let (source, destination) = (*source, *destination);
                let flow = Flow {
                    source,
                    destination,
                    protocol,
                    port,
                };
                let verdict = eval(&world, &flow, NOW);
                let halves = [&verdict.enforced, &verdict.intended]
                    .map(|outcome| [outcome.egress.allowed, outcome.ingress.allowed]);
                verdicts.push((
                    format!("{flow:?}"),
                    [halves[0][0], halves[0][1], halves[1][0], halves[1][1]],
                ));
            }
        }
    }
    verdicts
}

/// No half of any flow is allowed after that was not before.
fn widens_nothing(before: &SmallWorld, after: &SmallWorld) -> Finding {
    for ((flow, old), (_, new)) in verdicts(before).into_iter().zip(verdicts(after)) {
        if old.iter().zip(new).any(|(old, new)| new && !old) {
            return Err(format!(
                "{flow} widens from {old:?} to {new:?} in {after:#?}"
            ));
        }
    }
    Ok(())
}

/// One thing less in a rule, or one thing that can no longer be read.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Rule,
    Peer(Index),
    Port(Index),
    UnreadablePeer(Index),
    UnreadablePort(Index),
}

fn loss() -> impl Strategy<Value = Loss> {
    let index = any::<Index>;
    prop_oneof![
        Just(Loss::Rule),
        index().prop_map(Loss::Peer),
        index().prop_map(Loss::Port),
        index().prop_map(Loss::UnreadablePeer),
        index().prop_map(Loss::UnreadablePort),
    ]
}

impl Loss {
    /// Whether something was lost that way. What a `Deny` loses it no longer restricts, so there it may only become
    /// unreadable, and so may what a `Pass` has: it neither opens nor closes by itself, and unreadable it denies.
    fn befall(self, rules: &mut Vec<Rule>, at: usize) -> bool {
        let rule = &mut rules[at];
        let loses = rule.action == Action::Allow;
        match (self, &mut rule.peers, &mut rule.ports) {
            (Self::Rule, _, _) if loses => drop(rules.remove(at)),
            (Self::Peer(index), Peers::Of(peers), _) if loses && !peers.is_empty() => {
                drop(peers.remove(index.index(peers.len())));
            }
            (Self::Port(index), _, Ports::Of(ports)) if loses && !ports.is_empty() => {
                drop(ports.remove(index.index(ports.len())));
            }
            (Self::UnreadablePeer(index), Peers::Of(peers), _) if !peers.is_empty() => {
                let index = index.index(peers.len());
                peers[index] = Peer::Unresolved;
            }
            (Self::UnreadablePort(index), _, Ports::Of(ports)) if !ports.is_empty() => {
                let index = index.index(ports.len());
                ports[index] = Port::Unresolved;
            }
            _ => return false,
        }
        true
    }
}

/// The same world in which one rule has lost something.
fn with_loss(case: &SmallWorld, which: Index, loss: Loss) -> Option<SmallWorld> {
    let places: Vec<(usize, bool, usize)> = case
        .objects
        .iter()
        .enumerate()
        .flat_map(|(at, object)| {
            let Object::Policy(policy) = object else {
                return Vec::new();
            };
            let ingress = (0..policy.ingress.len()).map(|rule| (at, true, rule));
            ingress
                .chain((0..policy.egress.len()).map(|rule| (at, false, rule)))
                .collect()
        })
        .collect();
    if places.is_empty() {
        return None;
    }
    let (at, is_ingress, rule) = places[which.index(places.len())];
    let mut after = case.clone();
    let Object::Policy(policy) = &mut after.objects[at] else {
        return None;
    };
    let policy = Arc::make_mut(policy);
    let rules = if is_ingress {
        &mut policy.ingress
    } else {
        &mut policy.egress
    };
    loss.befall(rules, rule).then_some(after)
}

#[test]
fn what_a_rule_loses_or_no_longer_says_never_widens() {
    let cases = (small_world(), any::<Index>(), loss());
    search(
        "losses",
        300,
        cases,
        |(before, which, loss)| match with_loss(&before, which, loss) {
            Some(after) => widens_nothing(&before, &after),
            None => Ok(()),
        },
    );
}

#[test]
fn what_a_workload_no_longer_names_never_widens() {
    let cases = (small_world(), any::<Index>());
    search("names of ports", 300, cases, |(before, which)| {
        let named =
            |object: &Object| matches!(object, Object::Workload(_, w) if !w.named_ports.is_empty());
        let places: Vec<usize> = (0..before.objects.len())
            .filter(|at| named(&before.objects[*at]))
            .collect();
        if places.is_empty() {
            return Ok(());
        }
        let mut after = before.clone();
        if let Object::Workload(_, workload) = &mut after.objects[places[which.index(places.len())]]
        {
            workload.named_ports = workload.named_ports.iter().skip(1).cloned().collect();
        }
        widens_nothing(&before, &after)
    });
}

#[test]
fn one_more_restriction_never_widens() {
    // A Deny before everything else, and one more isolating policy.
    search(
        "restrictions",
        150,
        (small_world(), small_world()),
        |(before, donor)| {
            let restricts = |object: &Object| {
                let Object::Policy(policy) = object else {
                    return false;
                };
                let mut rules = policy.ingress.iter().chain(&policy.egress);
                policy.object.kind == Kind::SegmentationPolicy
                    && rules.all(|rule| rule.action == Action::Deny)
            };
            let names: Vec<_> = before.objects.iter().map(Object::reference).collect();
            let mut after = before.clone();
            let more = donor
                .objects
                .iter()
                .filter(|object| restricts(object) && !names.contains(&object.reference()));
            after.objects.extend(more.cloned());
            widens_nothing(&before, &after)
        },
    );
}

/// Whether an address is the namespace's to speak for. Where only declared workloads claim it, they may contest it among
/// themselves: then it is nobody's, and that is reported.
fn is_at_its_mercy(world: &World, address: Address, namespace: &str) -> bool {
    match world.owner(address) {
        Owner::Workload(workload) => &*workload.namespace == namespace,
        Owner::Contested => !world
            .workloads_of(Kind::Pod)
            .any(|pod| pod.is_live() && pod.addresses.contains(&address.ip())),
        Owner::Unknown | Owner::Outside => false,
    }
}

/// The world without one namespace's objects of these kinds says the same of everybody else.
fn changes_nothing_outside(before: &SmallWorld, namespace: &str, kinds: &[Kind]) -> Finding {
    let is_own = |object: &Object| {
        let reference = object.reference();
        &*reference.namespace == namespace && kinds.contains(&reference.kind)
    };
    let mut after = before.clone();
    after.objects.retain(|object| !is_own(object));
    let (old, new) = (before.world(), after.world());
    let mut addresses = vocabulary::addresses();
    addresses.retain(|address| !is_at_its_mercy(&old, *address, namespace));
    for subject in &addresses {
        for peer in addresses
            .iter()
            .filter(|peer| peer.is_ipv4() == subject.is_ipv4())
        {
            for (protocol, port) in vocabulary::ASKED.iter().copied().step_by(3) {
                let flow = |source, destination| Flow {
                    source,
                    destination,
                    protocol,
                    port,
                };
                let out = flow(*subject, *peer);
                let inward = flow(*peer, *subject);
                let halves = |world| {
                    let (out, inward) = (eval(world, &out, NOW), eval(world, &inward, NOW));
                    (
                        out.enforced.egress,
                        out.intended.egress,
                        inward.enforced.ingress,
                        inward.intended.ingress,
                    )
                };
                if halves(&old) != halves(&new) {
                    return Err(format!(
                        "{namespace} changes a half of {subject} towards {peer}"
                    ));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn g12_no_namespaced_policy_changes_a_half_outside_its_namespace() {
    let cases = (small_world(), any::<Index>());
    search("tenants", 150, cases, |(before, index)| {
        let namespace = NAMESPACES[index.index(NAMESPACES.len())];
        let kinds = [Kind::NetworkPolicy, Kind::SegmentationPolicy];
        changes_nothing_outside(&before, namespace, &kinds)
    });
}

/// Without Services, behind which a declared workload may stand as anybody may.
#[test]
fn g12_no_declared_workload_takes_anothers_place() {
    let cases = (small_world(), any::<Index>());
    search("declared workloads", 300, cases, |(mut before, index)| {
        let namespace = NAMESPACES[index.index(NAMESPACES.len())];
        before
            .objects
            .retain(|object| !matches!(object, Object::Service(_)));
        changes_nothing_outside(&before, namespace, &[Kind::Workload])
    });
}
