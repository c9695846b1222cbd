//! How much work a graph's rules make, told from their content before anything is built of them (I7).
//!
//! Three things grow faster than what is written down: networks inside networks, port ranges over port ranges, and rules for
//! everybody beside rules for single peers. A tenant who writes such rules on purpose would hold up the node's agent, or take
//! its memory, and with it everybody's revocations. So they are counted first, in little more than the time of reading them.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_graph::{
    Network, PeerMatch, PortMatch, Prefix, Protocol, RuleSet, Timestamp, Workloads,
};
use rustc_hash::FxHashSet;

use crate::Deadline;
use crate::rule_set::is_over;

/// A network around a prefix, beside the first, costs this much: the class of everything in it is a list that holds them all, to be
/// made, compared and judged.
const AROUND: usize = 16;

/// An upper bound of what building and judging these rule sets takes, in elementary steps.
pub(crate) fn steps<'a>(
    rule_sets: impl Iterator<Item = &'a RuleSet>,
    cluster_ranges: &[Prefix],
    now: Timestamp,
) -> usize {
    let rule_sets: Vec<&RuleSet> = rule_sets.collect();
    let alive = |rules: &'a RuleSet| {
        let entries = rules.entries.iter();
        entries.filter(move |entry| !is_over(entry.until, now))
    };
    let peers: FxHashSet<&PeerMatch> = rule_sets
        .iter()
        .copied()
        .flat_map(alive)
        .map(|entry| entry.peers.certainty().0)
        .collect();
    let mut ports: FxHashSet<&PortMatch> = FxHashSet::default();
    let mut dated: Vec<&PortMatch> = Vec::new();
    let mut judged = 0_usize;
    for rules in rule_sets.iter().copied() {
        for entry in alive(rules) {
            ports.insert(&entry.ports);
            dated.extend(Deadline::of(entry.until, entry.lease).map(|_| &entry.ports));
        }
        judged = judged.saturating_add(to_judge(alive(rules)));
    }
    in_networks(&peers, cluster_ranges)
        .saturating_add(in_ports(ports.into_iter().chain(dated)))
        .saturating_add(judged)
}

/// Lines times classes times instants times leases of one rule set: every class meets the lines for everybody and its own.
fn to_judge<'a>(entries: impl Iterator<Item = &'a bulkhead_graph::Entry>) -> usize {
    let (mut lines, mut for_all) = (0_usize, 1_usize);
    let mut named: FxHashSet<&PeerMatch> = FxHashSet::default();
    let (mut dates, mut leases) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries {
        lines += 1;
        dates.extend(entry.until);
        leases.extend(entry.lease);
        match entry.peers.certainty().0 {
            PeerMatch::Any => for_all += 1,
            some @ (PeerMatch::Of { .. } | PeerMatch::Perhaps(_)) => {
                named.insert(some);
            }
        }
    }
    let classes = named.len() + 1;
    for_all
        .saturating_mul(classes)
        .saturating_add(lines)
        .saturating_mul(dates.len() + 1)
        .saturating_mul(leases.len() + 1)
}

/// For every prefix, the networks around it; inside the cluster also everybody who might be one of the peers named by identity.
fn in_networks(peers: &FxHashSet<&PeerMatch>, cluster_ranges: &[Prefix]) -> usize {
    let mut begins: BTreeMap<Prefix, usize> = BTreeMap::new();
    let mut by_identity = 0;
    for peers in peers {
        let PeerMatch::Of {
            workloads,
            networks,
        } = peers
        else {
            continue;
        };
        by_identity += usize::from(matches!(workloads, Workloads::Sets(sets) if !sets.is_empty()));
        for Network { cidr, except } in networks {
            *begins.entry(Prefix::from(*cidr)).or_default() += 1;
            for hole in except {
                begins.entry(Prefix::from(*hole)).or_default();
            }
        }
    }
    let mut steps = 0_usize;
    let mut around: Vec<(Prefix, usize)> = Vec::new();
    // Ordered by address and length, a prefix comes after those that hold it.
    for (prefix, count) in begins {
        while around
            .last()
            .is_some_and(|(wider, _)| !wider.covers(&prefix))
        {
            around.pop();
        }
        let depth = around.last().map_or(0, |(_, depth)| *depth) + count;
        let unknown = cluster_ranges.iter().any(|range| range.covers(&prefix));
        let perhaps = if unknown { by_identity } else { 0 };
        let around_it = depth.saturating_sub(1).saturating_mul(AROUND);
        steps = steps
            .saturating_add(depth.min(1))
            .saturating_add(around_it)
            .saturating_add(perhaps);
        around.push((prefix, depth));
    }
    steps
}

/// For every port at which some range begins or ends, the ranges around it.
fn in_ports<'a>(matches: impl Iterator<Item = &'a PortMatch>) -> usize {
    let mut edges: BTreeMap<(Protocol, u32), isize> = BTreeMap::new();
    for ports in matches {
        let PortMatch::Of(ranges) = ports else {
            continue;
        };
        for range in ranges {
            *edges
                .entry((range.protocol, u32::from(range.from)))
                .or_default() += 1;
            *edges
                .entry((range.protocol, u32::from(range.to) + 1))
                .or_default() -= 1;
        }
    }
    let (mut steps, mut open) = (0_usize, 0_isize);
    for change in edges.into_values() {
        // Balanced within each protocol, so that none begins with what another left open.
        open += change;
        steps = steps.saturating_add(open.unsigned_abs()).saturating_add(1);
    }
    steps
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use bulkhead_graph::{Action, Direction, Entry, Mode, PortRange, Stage};

    fn rules(
        of: impl Fn(u32) -> (PeerMatch, PortMatch, Option<Timestamp>),
        entries: u32,
    ) -> RuleSet {
        let entry = |number| {
            let (peers, ports, until) = of(number);
            Entry {
                stage: Stage::Namespace,
                action: Action::Allow,
                mode: Mode::Enforce,
                peers,
                ports,
                until,
                lease: None,
            }
        };
        RuleSet {
            direction: Direction::Ingress,
            entries: (0..entries).map(entry).collect(),
        }
    }

    fn of(rules: &RuleSet) -> usize {
        steps([rules].into_iter(), &[], Timestamp(0))
    }

    fn network(cidr: &str, hole: Option<String>) -> PeerMatch {
        let holes = hole.into_iter().map(|hole| hole.parse().unwrap());
        PeerMatch::Of {
            workloads: Workloads::Sets(vec![]),
            networks: vec![Network::new(cidr.parse().unwrap(), holes)],
        }
    }

    fn tcp(from: u16, to: u16) -> PortMatch {
        let protocol = Protocol::Tcp;
        PortMatch::of(vec![PortRange { protocol, from, to }])
    }

    #[test]
    fn what_lies_side_by_side_costs_what_it_is() {
        let apart = rules(
            |n| {
                let peers = network(&format!("10.{}.{}.0/24", n / 256, n % 256), None);
                let port = u16::try_from(n).unwrap();
                (peers, tcp(port, port), None)
            },
            2_000,
        );
        assert!(of(&apart) < 20_000, "{}", of(&apart));
    }

    #[test]
    fn what_lies_over_each_other_costs_the_square() {
        let holes = rules(
            |n| {
                let hole = format!("10.{}.{}.1/32", n / 256, n % 256);
                (network("0.0.0.0/0", Some(hole)), PortMatch::Any, None)
            },
            2_000,
        );
        assert!(of(&holes) > 2_000 * 2_000, "{}", of(&holes));
        let nested = rules(
            |n| {
                let n = u16::try_from(n).unwrap();
                (PeerMatch::Any, tcp(n, u16::MAX - n), None)
            },
            2_000,
        );
        assert!(of(&nested) > 2_000 * 2_000, "{}", of(&nested));
        let dated = rules(
            |n| {
                (
                    PeerMatch::Any,
                    tcp(80, 80),
                    Some(Timestamp(i64::from(n) + 1)),
                )
            },
            2_000,
        );
        assert!(of(&dated) > 2_000 * 2_000, "{}", of(&dated));
    }
}
