//! What may be changed in a world without any verdict changing: names of labels, the order of things, how rules are cut,
//! how often something is said, and the address family. By the oracle; the compiler is held to the oracle elsewhere.

use std::sync::Arc;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bulkhead_policy::eval::{Flow, eval};
use bulkhead_policy::model::{
    Action, Address, Interned, Object, Peer, Peers, Policy, Port, Ports, Protocol, Rule, Tier,
};
use bulkhead_tests::worlds::search::{Finding, Tally, search_tuples};
use bulkhead_tests::worlds::vocabulary::{self, LABEL_VALUES, NAMESPACE_KEYS, NOW};
use bulkhead_tests::worlds::{SmallWorld, small_world};
use ipnet::IpNet;
use proptest::prelude::*;
use serde_json::Value;

use bulkhead_tests::tuples::flows;

/// Every so many flows, from another one on in each world.
const STEP: usize = 7;

/// Both halves of a flow, enforced and intended.
fn halves(case: &SmallWorld, flows: &[Flow]) -> Vec<[bool; 4]> {
    let world = case.world();
    let judge = |flow: &Flow| {
        let verdict = eval(&world, flow, NOW);
        [
            verdict.enforced.egress.allowed,
            verdict.enforced.ingress.allowed,
            verdict.intended.egress.allowed,
            verdict.intended.ingress.allowed,
        ]
    };
    flows.iter().map(judge).collect()
}

fn sample(case: &SmallWorld) -> Vec<Flow> {
    flows(&vocabulary::addresses())
        .skip(case.objects.len() % STEP)
        .step_by(STEP)
        .collect()
}

fn same(before: &SmallWorld, after: &SmallWorld, tally: &Tally) -> Finding {
    let flows = sample(before);
    let (old, new) = (halves(before, &flows), halves(after, &flows));
    for ((flow, old), new) in flows.iter().zip(old).zip(new) {
        tally.count();
        if old != new {
            return Err(format!("{flow:?}: {old:?} becomes {new:?} in {after:#?}"));
        }
    }
    Ok(())
}

fn each_policy(case: &SmallWorld, change: impl Fn(&mut Policy)) -> SmallWorld {
    let mut after = case.clone();
    for object in &mut after.objects {
        if let Object::Policy(policy) = object {
            change(Arc::make_mut(policy));
        }
    }
    after
}

/// Every text in an object, keys of maps included, as `change` has it.
fn rewritten(value: Value, change: &impl Fn(&str) -> Option<String>) -> Value {
    let text = |text: String| change(&text).unwrap_or(text);
    match value {
        Value::String(it) => Value::String(text(it)),
        Value::Array(items) => items.into_iter().map(|it| rewritten(it, change)).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, it)| (text(key), rewritten(it, change)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn through_json(case: &SmallWorld, change: impl Fn(Value) -> Value) -> SmallWorld {
    let objects = case.objects.iter().map(|object| {
        let value = serde_json::to_value(object).unwrap();
        serde_json::from_value(change(value)).unwrap()
    });
    SmallWorld {
        cluster_ranges: case.cluster_ranges.clone(),
        service_limits: case.service_limits,
        peer_limits: case.peer_limits,
        objects: objects.collect(),
    }
}

#[test]
fn other_names_of_labels_change_nothing() {
    // The other way round in the alphabet, and longer.
    let renamed = |text: &str| {
        let name = match text {
            "app" => "z.example/app",
            "env" => "a.example/environment",
            "team" => "0team",
            "a" => "zz",
            "b" => "aa",
            "teller" => "a-teller",
            _ => return None,
        };
        Some(name.to_owned())
    };
    search_tuples(
        "labels renamed",
        (100, 10_000),
        small_world(),
        |case, tally| {
            let after = through_json(&case, |value| rewritten(value, &renamed));
            same(&case, &after, tally)
        },
    );
}

#[test]
fn the_order_of_what_has_none_changes_nothing() {
    let turned = |policy: &mut Policy| {
        policy.subjects.reverse();
        // In these tiers a rule stands beside the others, not behind them.
        let is_a_set = matches!(policy.tier, Tier::Namespace | Tier::Quarantine);
        for rules in [&mut policy.ingress, &mut policy.egress] {
            for rule in &mut *rules {
                if let Peers::Of(peers) = &mut rule.peers {
                    peers.reverse();
                }
                if let Ports::Of(ports) = &mut rule.ports {
                    ports.reverse();
                }
            }
            if is_a_set {
                rules.reverse();
            }
        }
    };
    search_tuples("turned", (100, 10_000), small_world(), |case, tally| {
        let mut after = each_policy(&case, turned);
        after.objects.reverse();
        for object in &mut after.objects {
            if let Object::Segment(segment) = object {
                segment.members.selectors.reverse();
                segment.members.networks.reverse();
            }
        }
        same(&case, &after, tally)
    });
}

/// One rule for each peer and port.
/// Segments that are there, and of which every field could be read.
fn whole_segments(case: &SmallWorld) -> BTreeSet<&str> {
    let mut whole = BTreeSet::new();
    for object in &case.objects {
        if let Object::Segment(segment) = object
            && !segment.members.partial
        {
            whole.insert(&*segment.name);
        }
    }
    whole
}

fn cut(rules: &[Rule], segments: &BTreeSet<&str>) -> Vec<Rule> {
    let single = |rule: &Rule| -> Vec<Rule> {
        let is_lost = |peer: &Peer| match peer {
            Peer::Unresolved => true,
            Peer::Segment(name) => !segments.contains(&**name),
            Peer::Workloads(_) | Peer::Network(_) | Peer::Nodes(_) => false,
        };
        let unread = matches!(&rule.peers, Peers::Of(peers) if peers.iter().any(is_lost))
            || matches!(&rule.ports, Ports::Of(ports) if ports.contains(&Port::Unresolved));
        // A Pass of which something is not known is another thing than its parts.
        if rule.action == Action::Pass && unread {
            return vec![rule.clone()];
        }
        let peers: Vec<Peers> = match &rule.peers {
            Peers::Any => vec![Peers::Any],
            Peers::Of(peers) => peers
                .iter()
                .map(|peer| Peers::Of(vec![peer.clone()]))
                .collect(),
        };
        let ports: Vec<Ports> = match &rule.ports {
            Ports::Any => vec![Ports::Any],
            Ports::Of(ports) => ports
                .iter()
                .map(|port| Ports::Of(vec![port.clone()]))
                .collect(),
        };
        let mut parts = Vec::new();
        for peers in peers {
            for ports in &ports {
                parts.push(Rule {
                    peers: peers.clone(),
                    ports: ports.clone(),
                    ..rule.clone()
                });
            }
        }
        parts
    };
    rules.iter().flat_map(single).collect()
}

#[test]
fn rules_cut_into_one_for_each_peer_and_port_change_nothing() {
    search_tuples("cut", (100, 10_000), small_world(), |case, tally| {
        let segments = whole_segments(&case);
        let after = each_policy(&case, |policy| {
            policy.ingress = cut(&policy.ingress, &segments);
            policy.egress = cut(&policy.egress, &segments);
        });
        same(&case, &after, tally)
    });
}

#[test]
fn what_is_said_twice_is_said_once() {
    let copied = |name: &Interned| Interned::from(format!("{name}-again"));
    search_tuples("twice", (100, 10_000), small_world(), |case, tally| {
        let mut after = case.clone();
        for object in &case.objects {
            match object.clone() {
                Object::Policy(mut policy) => {
                    let object = &mut Arc::make_mut(&mut policy).object;
                    object.name = copied(&object.name);
                    after.objects.push(Object::Policy(policy));
                }
                Object::Segment(mut segment) => {
                    segment.name = copied(&segment.name);
                    after.objects.push(Object::Segment(segment));
                }
                Object::Namespace(_)
                | Object::Workload(..)
                | Object::Node(_)
                | Object::Service(_)
                | Object::EndpointSlice(_) => {}
            }
        }
        same(&case, &after, tally)
    });
}

/// Where IPv4 lies in the twin's IPv6 (RFC 6052).
fn twin_of(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V4(v4) = ip else { return None };
    let mut octets = [0; 16];
    octets[..4].copy_from_slice(&[0, 0x64, 0xff, 0x9b]);
    octets[12..].copy_from_slice(&v4.octets());
    Some(IpAddr::from(octets))
}

fn is_v6(text: &str) -> bool {
    let ip = text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
    ip || text.parse::<IpNet>().is_ok_and(|net| net.addr().is_ipv6())
}

/// A network of IPv6 that nobody has an address in.
const NOBODY: &str = "2001:db8:ffff::/48";

/// Without IPv6.
fn only_v4(value: Value) -> Value {
    match value {
        Value::Array(items) => items
            .into_iter()
            .filter(|item| !item.as_str().is_some_and(is_v6))
            .map(only_v4)
            .collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, only_v4(value)))
            .collect(),
        Value::String(text) if is_v6(&text) => Value::String(NOBODY.to_owned()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

fn twin_text(text: &str) -> Option<String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return twin_of(ip).map(|ip| ip.to_string());
    }
    if let Ok(net) = text.parse::<IpNet>() {
        return twin_of(net.addr()).map(|ip| format!("{ip}/{}", 96 + net.prefix_len()));
    }
    // Only as the protocol of a rule: nothing else has this name.
    (text == "Icmp").then(|| "Icmpv6".to_owned())
}

#[test]
fn twins_in_ipv4_and_ipv6_get_the_same_verdicts() {
    let v4: Vec<Address> = vocabulary::addresses()
        .into_iter()
        .filter(|address| address.is_ipv4())
        .collect();
    let twins: BTreeMap<Address, Address> = v4
        .iter()
        .map(|address| (*address, twin_of(address.ip()).unwrap().into()))
        .collect();
    let twin_flow = |flow: &Flow| Flow {
        source: twins[&flow.source],
        destination: twins[&flow.destination],
        protocol: if flow.protocol == Protocol::Icmp {
            Protocol::Icmpv6
        } else {
            flow.protocol
        },
        ..*flow
    };
    search_tuples("twins", (150, 10_000), small_world(), |case, tally| {
        let mut plain = through_json(&case, |value| {
            // What is said of ICMPv6 is nothing that an IPv4 flow could meet, and its twin could.
            let silent = |text: &str| (text == "Icmpv6").then(|| "Sctp".to_owned());
            only_v4(rewritten(value, &silent))
        });
        plain.cluster_ranges.retain(|net| net.addr().is_ipv4());
        let mut twin = through_json(&plain, |value| rewritten(value, &twin_text));
        let ranges = plain.cluster_ranges.iter();
        twin.cluster_ranges = ranges
            .map(|net| twin_text(&net.to_string()).unwrap().parse().unwrap())
            .collect();
        let flows: Vec<Flow> = flows(&v4)
            .skip(case.objects.len() % STEP)
            .step_by(STEP)
            .collect();
        let mirrored: Vec<Flow> = flows.iter().map(twin_flow).collect();
        let (old, new) = (halves(&plain, &flows), halves(&twin, &mirrored));
        for ((flow, old), new) in flows.iter().zip(old).zip(new) {
            tally.count();
            if old != new {
                return Err(format!(
                    "{flow:?}: {old:?}, its twin {new:?}\n{plain:#?}\n{twin:#?}"
                ));
            }
        }
        Ok(())
    });
}

#[test]
fn g12_labels_of_pods_are_never_taken_for_labels_of_namespaces() {
    let crafted = (any::<u64>(), small_world());
    search_tuples(
        "crafted labels",
        (100, 10_000),
        crafted,
        |(seed, case), tally| {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut after = case.clone();
            for object in &mut after.objects {
                let Object::Workload(_, workload) = object else {
                    continue;
                };
                for key in NAMESPACE_KEYS {
                    let value = *rng.choice(LABEL_VALUES).unwrap();
                    workload.labels.insert((*key).into(), value.into());
                    // As some engines write the labels of namespaces into those of pods.
                    for prefix in ["io.kubernetes.pod.namespace.labels.", "namespace/", "ns:"] {
                        workload
                            .labels
                            .insert(format!("{prefix}{key}").into(), value.into());
                    }
                }
            }
            same(&case, &after, tally)
        },
    );
}
