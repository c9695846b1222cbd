//! A revision that is too large for the stream, and whose peers take most of it.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_graph::{Delta, PeerSetId};
use bulkhead_policy::model::Interned;

const ADDRESS_BYTES: u64 = 16;

/// How many namespaces are named.
const NAMED: usize = 3;

/// What the addresses of its peers alone take on the wire.
pub(crate) fn least_bytes(delta: &Delta) -> u64 {
    let sets = delta.peer_sets.values();
    let addresses: usize = sets.map(|set| set.added.len()).sum();
    ADDRESS_BYTES * addresses as u64
}

/// What people have to know of a revision that cannot be sent.
pub(crate) fn reason(delta: &Delta, problem: &str) -> String {
    let mut namespaces: Vec<(usize, Interned)> = addresses(delta)
        .into_iter()
        .map(|(name, count)| (count, name))
        .collect();
    namespaces.sort_unstable_by(|a, b| b.cmp(a));
    let most = namespaces.iter().take(NAMED);
    let most: Vec<String> = most
        .map(|(count, name)| format!("{name} ({count} addresses)"))
        .collect();
    format!(
        "it is too large to be sent ({problem}), so the node keeps what it has and takes nothing new. Most peers have the policies \
         for {}; let them select fewer workloads",
        most.join(", ")
    )
}

/// How many addresses the peers of each namespace's workloads have. What several need counts for each of them.
fn addresses(delta: &Delta) -> BTreeMap<Interned, usize> {
    let mut sets: BTreeMap<&Interned, BTreeSet<PeerSetId>> = BTreeMap::new();
    for workload in delta.workloads.values() {
        let sets = sets.entry(&workload.namespace).or_default();
        for id in [workload.ingress, workload.egress] {
            let rules = delta.rule_sets.get(&id).into_iter();
            sets.extend(rules.flat_map(|rules| rules.peer_sets()));
        }
    }
    let length = |id: &PeerSetId| delta.peer_sets.get(id).map_or(0, |set| set.added.len());
    let of_one = |(name, sets): (&Interned, BTreeSet<PeerSetId>)| {
        (name.clone(), sets.iter().map(length).sum())
    };
    sets.into_iter().map(of_one).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use std::sync::Arc;

    use bulkhead_graph::{
        Action, Address, Direction, Entry, LocalWorkload, Mode, NodeGraph, PeerMatch, PeerSet,
        PortMatch, RuleSet, RuleSetId, Stage, WorkloadUid, Workloads,
    };
    use bulkhead_wire::{FromController, Frontier, Revision};

    use super::*;

    #[test]
    fn the_namespaces_with_most_peers_are_named_first() {
        let address = |last: u8| Address::from(std::net::IpAddr::from([10, 0, 0, last]));
        let set = |number: u8| (PeerSetId([number; 16]), (0..number).map(address));
        let sets = [set(2), set(5)].map(|(id, of)| (id, Arc::new(of.collect::<PeerSet>())));
        let rules = |direction: Direction, number: u8| {
            let entries = vec![Entry {
                stage: Stage::Namespace,
                action: Action::Allow,
                mode: Mode::Enforce,
                peers: PeerMatch::Of {
                    workloads: Workloads::Sets(vec![PeerSetId([number; 16])]),
                    networks: Vec::new(),
                },
                ports: PortMatch::Any,
                until: None,
                lease: None,
            }];
            let rules = RuleSet { direction, entries };
            let hashes = rules.entries.iter().map(Entry::content);
            (RuleSet::id_of(direction, hashes), Arc::new(rules))
        };
        let judged = [(Direction::Ingress, 2), (Direction::Egress, 5)]
            .map(|(direction, number)| rules(direction, number));
        let [small, large] = [judged[0].0, judged[1].0];
        let workload = |namespace: &str, ingress: RuleSetId, egress: RuleSetId| {
            let local = LocalWorkload {
                namespace: namespace.into(),
                name: "pod".into(),
                addresses: Box::default(),
                interface: None,
                egress,
                ingress,
            };
            (WorkloadUid(namespace.into()), local.into())
        };
        let workloads = [
            workload("few", small, small),
            workload("most", small, large),
        ];
        let graph = NodeGraph::new(
            workloads.into_iter().collect(),
            judged.into_iter().collect(),
            sets.into_iter().collect(),
            Arc::default(),
            Arc::from([]),
            Arc::default(),
        );
        let revision = Revision {
            delta: Delta::snapshot(&graph),
            frontier: Frontier::default(),
        };
        let first = revision.messages().unwrap().next();
        let Some(FromController::Header(header)) = first else {
            panic!("a revision begins with its header")
        };
        let least = least_bytes(&revision.delta);
        assert_eq!(least, 7 * 16);
        assert!(least <= header.length, "of {} bytes", header.length);
        let told = reason(&revision.delta, "so many bytes");
        assert!(told.contains("(so many bytes)"), "{told}");
        assert!(
            told.contains("for most (7 addresses), few (2 addresses);"),
            "{told}"
        );
    }
}
