//! NETWORKS: every prefix that some rule set, or the cluster's ranges, tell from what lies around it.
//!
//! Prefixes are nested or disjoint, so the longest one that holds an address says which networks hold it. Families
//! never match each other: an IPv4 prefix inherits nothing from the IPv6 prefix that surrounds it in 128 bits.

use std::collections::BTreeMap;

use bulkhead_graph::{Address, Known, Prefix};
use ipnet::IpNet;
use rustc_hash::FxHashMap;

use crate::ClassKey;
use crate::peer_match::{MatchIndex, PeerMatches};

/// One prefix, without the longer ones inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Key of NETWORKS.
    pub prefix: Prefix,
    /// The class of addresses here that PEERS does not hold.
    pub class: ClassKey,
    /// [`Known::Unknown`] inside the cluster's ranges, else [`Known::Outside`].
    pub known: Known,
    /// Whether Service addresses here were left out, so that nothing may be sent to who is [`Known::Outside`].
    pub(crate) closed: bool,
    /// Position of the next larger prefix.
    pub(crate) parent: Option<usize>,
    /// Matches with a network that holds these addresses, ascending.
    pub(crate) by_network: Vec<MatchIndex>,
    /// The networks themselves, as positions in [`PeerMatches::networks`].
    inside: Vec<u32>,
}

/// All regions, ordered by address and length.
#[derive(Debug, Default)]
pub(crate) struct Regions {
    pub(crate) list: Vec<Region>,
}

/// The prefix under which a network lies in the tables, unless it can hold nothing: mapped addresses are IPv4.
fn table_prefix(net: IpNet) -> Option<Prefix> {
    let prefix = Prefix::from(net);
    match net {
        IpNet::V4(_) => Some(prefix),
        IpNet::V6(_) => (!prefix.is_ipv4()).then_some(prefix),
    }
}

/// What begins and what ends at a prefix: networks, by position.
#[derive(Default)]
struct Edges {
    begin: Vec<u32>,
    end: Vec<u32>,
}

impl Regions {
    /// `class_of` names the class of a region from what holds it.
    pub(crate) fn of(
        matches: &PeerMatches,
        cluster_ranges: &[Prefix],
        closed: &[Prefix],
        mut class_of: impl FnMut(Known, bool, &[MatchIndex]) -> ClassKey,
    ) -> Self {
        let mut edges: BTreeMap<Prefix, Edges> = BTreeMap::new();
        edges.entry(Prefix::ALL).or_default();
        edges.entry(Prefix::IPV4).or_default();
        for range in cluster_ranges.iter().chain(closed) {
            edges.entry(*range).or_default();
        }
        for (position, (network, _)) in (0..).zip(&matches.networks) {
            let Some(prefix) = table_prefix(network.cidr) else {
                continue;
            };
            edges.entry(prefix).or_default().begin.push(position);
            for hole in network.except.iter().copied().filter_map(table_prefix) {
                edges.entry(hole).or_default().end.push(position);
            }
        }
        let mut regions = Self::default();
        let mut memo: FxHashMap<(bool, bool, Vec<MatchIndex>), ClassKey> = FxHashMap::default();
        for (prefix, edges) in edges {
            regions.push(
                prefix,
                &edges,
                matches,
                (cluster_ranges, closed),
                |known, closed, by_network| {
                    *memo
                        .entry((known == Known::Unknown, closed, by_network.to_vec()))
                        .or_insert_with(|| class_of(known, closed, by_network))
                },
            );
        }
        regions
    }

    fn push(
        &mut self,
        prefix: Prefix,
        edges: &Edges,
        matches: &PeerMatches,
        (cluster_ranges, closed): (&[Prefix], &[Prefix]),
        class_of: impl FnOnce(Known, bool, &[MatchIndex]) -> ClassKey,
    ) {
        let parent = self.holding(&prefix);
        let heir = parent.filter(|at| self.list[*at].prefix.is_ipv4() == prefix.is_ipv4());
        let mut inside: Vec<u32> = heir
            .map(|at| self.list[at].inside.clone())
            .unwrap_or_default();
        inside.extend(&edges.begin);
        // Both were gathered in the order of positions.
        if !edges.end.is_empty() {
            inside.retain(|position| edges.end.binary_search(position).is_err());
        }
        let mut by_network: Vec<MatchIndex> = inside
            .iter()
            .map(|position| matches.networks[*position as usize].1)
            .collect();
        by_network.sort_unstable();
        by_network.dedup();
        let holds = |list: &[Prefix]| {
            list.iter()
                .any(|range| range.covers(&prefix) && range.is_ipv4() == prefix.is_ipv4())
        };
        let known = if holds(cluster_ranges) {
            Known::Unknown
        } else {
            Known::Outside
        };
        let closed = holds(closed);
        let class = class_of(known, closed, &by_network);
        self.list.push(Region {
            prefix,
            class,
            known,
            closed,
            parent,
            by_network,
            inside,
        });
    }

    /// The longest region that wholly holds a prefix, of those that are there.
    pub(crate) fn holding(&self, prefix: &Prefix) -> Option<usize> {
        // Ordered by (address, length), every prefix that holds another one comes before it.
        let after = self.list.partition_point(|region| region.prefix <= *prefix);
        let mut at = after.checked_sub(1)?;
        while !self.list[at].prefix.covers(prefix) {
            at = self.list[at].parent?;
        }
        Some(at)
    }

    /// The region of an address.
    pub(crate) fn at(&self, address: Address) -> usize {
        self.holding(&Prefix::host(address)).unwrap_or(0)
    }
}
