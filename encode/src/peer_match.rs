//! The distinct peer matches of a node's rule sets, numbered in the order of their content.
//!
//! All that a rule set can see of a peer is which of its entries' matches the peer is in, and whether surely or
//! perhaps. So that list *is* the peer's class, and peers that nothing tells apart fall together by themselves.

use std::collections::BTreeMap;

use bulkhead_graph::{Hasher, Known, Matched, Network, PeerMatch, PeerSetId, RuleSet, Workloads};
use rustc_hash::FxHashMap;

/// Position of a match in [`PeerMatches`].
pub(crate) type MatchIndex = u32;

#[derive(Debug, Default)]
pub(crate) struct PeerMatches {
    /// Content ids, ascending.
    pub(crate) ids: Vec<[u8; 16]>,
    /// Which matches name a set; indices ascending.
    pub(crate) by_set: BTreeMap<PeerSetId, Vec<MatchIndex>>,
    /// Matches of every workload, ascending.
    all_workloads: Vec<MatchIndex>,
    /// Matches of some workloads by identity, ascending: nobody knows whether an unknown one is among them.
    by_identity: Vec<MatchIndex>,
    /// Networks and the matches they belong to.
    pub(crate) networks: Vec<(Network, MatchIndex)>,
}

fn content_id(peers: &PeerMatch) -> [u8; 16] {
    let mut h = Hasher::new("peer-match/1");
    let PeerMatch::Of {
        workloads,
        networks,
    } = peers
    else {
        return h.finish();
    };
    match workloads {
        Workloads::All => {
            h.fixed(&[1]);
        }
        Workloads::Sets(sets) => {
            h.fixed(&[2]).number(sets.len() as u64);
            sets.iter().for_each(|set| {
                h.fixed(&set.0);
            });
        }
    }
    for network in networks {
        h.number(network.except.len() as u64);
        for prefix in std::iter::once(&network.cidr).chain(&network.except) {
            h.fixed(&[prefix.prefix_len(), u8::from(prefix.network().is_ipv4())]);
            h.fixed(&bulkhead_graph::Address::from(prefix.network()).0);
        }
    }
    h.finish()
}

impl PeerMatches {
    /// All matches of the rule sets except "any", and where each was put.
    pub(crate) fn of<'a>(
        rule_sets: impl Iterator<Item = &'a RuleSet>,
    ) -> (Self, FxHashMap<&'a PeerMatch, MatchIndex>) {
        let mut distinct: FxHashMap<&PeerMatch, MatchIndex> = FxHashMap::default();
        let mut sorted: Vec<([u8; 16], &PeerMatch)> = Vec::new();
        for entry in rule_sets.flat_map(|rules| &rules.entries) {
            let (peers, _) = entry.peers.certainty();
            if *peers != PeerMatch::Any && distinct.insert(peers, 0).is_none() {
                sorted.push((content_id(peers), peers));
            }
        }
        sorted.sort_unstable_by_key(|(id, _)| *id);
        let mut matches = Self::default();
        for (index, (id, peers)) in (0..).zip(sorted) {
            distinct.insert(peers, index);
            matches.push(index, id, peers);
        }
        (matches, distinct)
    }

    fn push(&mut self, index: MatchIndex, id: [u8; 16], peers: &PeerMatch) {
        self.ids.push(id);
        let PeerMatch::Of {
            workloads,
            networks,
        } = peers
        else {
            return;
        };
        match workloads {
            Workloads::All => self.all_workloads.push(index),
            Workloads::Sets(sets) => {
                if !sets.is_empty() {
                    self.by_identity.push(index);
                }
                for set in sets {
                    let indices = self.by_set.entry(*set).or_default();
                    if indices.last() != Some(&index) {
                        indices.push(index);
                    }
                }
            }
        }
        self.networks
            .extend(networks.iter().map(|network| (network.clone(), index)));
    }

    /// What of a peer the rule sets see, ascending by match.
    pub(crate) fn seen(
        &self,
        known: Known,
        by_set: impl Iterator<Item = MatchIndex>,
        by_network: &[MatchIndex],
    ) -> Vec<(MatchIndex, Matched)> {
        let mut yes: Vec<MatchIndex> = by_network.to_vec();
        match known {
            Known::Workload => {
                yes.extend(&self.all_workloads);
                yes.extend(by_set);
            }
            Known::Unknown => yes.extend(&self.all_workloads),
            Known::Outside => {}
        }
        yes.sort_unstable();
        yes.dedup();
        let mut seen: Vec<(MatchIndex, Matched)> =
            yes.into_iter().map(|index| (index, Matched::Yes)).collect();
        if known == Known::Unknown {
            let sure = seen.len();
            for index in &self.by_identity {
                if seen[..sure]
                    .binary_search_by_key(index, |(yes, _)| *yes)
                    .is_err()
                {
                    seen.push((*index, Matched::Maybe));
                }
            }
            seen.sort_unstable_by_key(|(index, _)| *index);
        }
        seen
    }
}
