//! PORTS: protocol × port, cut where some rule set or Service of the node tells two of them apart.
//!
//! A port class is named by the matches it lies in, so that a new match gives names only to the ports inside it, and
//! a lost one leaves the others' names alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bulkhead_datapath::abi::PortTable;
use bulkhead_graph::{Hasher, PortMatch, PortRange, Protocol, RuleSet, RuleSetId, Timestamp};
use rustc_hash::FxHashMap;

use crate::Deadline;
use crate::rule_set::is_over;

/// Position of a port match in [`Ports`].
pub(crate) type PortMatchIndex = u32;

/// Groups of port classes that are kept in blocks of their own, beside group 0. See [`group_of`].
const DEADLINE_GROUPS: u8 = 15;

/// Names a port class by its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortClassKey(pub [u8; 16]);

impl fmt::Debug for PortClassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Ports, or ICMP types and codes, that nothing on this node tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortClass {
    /// Its name.
    pub key: PortClassKey,
    /// A class belongs to one protocol.
    pub protocol: Protocol,
    /// Classes of different groups never share a block of decisions.
    pub group: u8,
    /// First and last port of each run, ascending, without overlap.
    pub ranges: Vec<(u16, u16)>,
}

/// The table of a protocol.
pub const fn table_of(protocol: Protocol) -> PortTable {
    match protocol {
        Protocol::Tcp => PortTable::Tcp,
        Protocol::Udp => PortTable::Udp,
        Protocol::Sctp => PortTable::Sctp,
        Protocol::Icmp => PortTable::Icmp,
        Protocol::Icmpv6 => PortTable::Icmpv6,
        Protocol::Other => PortTable::Other,
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// By protocol, then by first port.
    pub(crate) classes: Vec<PortClass>,
    /// The ranges of every match that some entry has, by position.
    pub(crate) matches: Vec<PortMatch>,
    /// Last port of each range and the position of its class, ascending.
    index: Vec<(Protocol, u16, usize)>,
}

/// What may contain a port: ranges of one protocol, or the deadline of an entry that has them.
struct Cutter {
    protocol: Protocol,
    ranges: Vec<(u16, u16)>,
    id: [u8; 16],
    is_deadline: bool,
}

/// A block of decisions has one deadline. Ports on which different deadlines fall are put into different blocks, so
/// that each grant ends on its own time though nobody is there to write the next deadline. Few groups, because each
/// costs a block; two that fall together are denied at the earlier instant until the agent writes the later one.
fn group_of(deadlines: &[[u8; 16]]) -> u8 {
    if deadlines.is_empty() {
        return 0;
    }
    let mut h = Hasher::new("deadline-group/1");
    deadlines.iter().for_each(|id| {
        h.fixed(id);
    });
    1 + h.finish()[0] % DEADLINE_GROUPS
}

fn cutter(
    protocol: Protocol,
    ranges: &[PortRange],
    deadline: Option<(RuleSetId, Deadline)>,
) -> Option<Cutter> {
    let ranges: Vec<(u16, u16)> = ranges
        .iter()
        .filter(|r| r.protocol == protocol)
        .map(|r| (r.from, r.to))
        .collect();
    if ranges.is_empty() {
        return None;
    }
    let mut h = Hasher::new("port-cutter/1");
    h.fixed(&[protocol as u8]);
    match deadline {
        // Which ports it falls on decides the group, not how they are written.
        Some((id, deadline)) => {
            h.fixed(&id.0).fixed(&deadline.bytes());
        }
        None => ranges.iter().for_each(|(from, to)| {
            h.fixed(&from.to_le_bytes()).fixed(&to.to_le_bytes());
        }),
    }
    Some(Cutter {
        protocol,
        ranges,
        id: h.finish(),
        is_deadline: deadline.is_some(),
    })
}

impl Ports {
    /// Cuts by the rule sets' port matches and the ports of Services.
    pub(crate) fn of<'a>(
        rule_sets: &[(RuleSetId, &'a RuleSet)],
        service_ports: &BTreeSet<(Protocol, u16)>,
        now: Timestamp,
    ) -> (Self, FxHashMap<&'a PortMatch, PortMatchIndex>) {
        let mut ports = Self::default();
        let mut positions: FxHashMap<&PortMatch, PortMatchIndex> = FxHashMap::default();
        let mut cutters: Vec<Cutter> = Vec::new();
        for (id, entry) in rule_sets
            .iter()
            .flat_map(|(id, r)| r.entries.iter().map(move |e| (id, e)))
        {
            let PortMatch::Of(ranges) = &entry.ports else {
                continue;
            };
            if is_over(entry.until, now) {
                continue;
            }
            let next = PortMatchIndex::try_from(ports.matches.len()).unwrap_or(PortMatchIndex::MAX);
            let fresh = !positions.contains_key(&entry.ports);
            if fresh {
                positions.insert(&entry.ports, next);
                ports.matches.push(entry.ports.clone());
            }
            for protocol in Protocol::ALL {
                if fresh {
                    cutters.extend(cutter(protocol, ranges, None));
                }
                if let Some(deadline) = Deadline::of(entry.until, entry.lease) {
                    cutters.extend(cutter(protocol, ranges, Some((*id, deadline))));
                }
            }
        }
        for (protocol, port) in service_ports {
            let range = PortRange {
                protocol: *protocol,
                from: *port,
                to: *port,
            };
            cutters.extend(cutter(*protocol, &[range], None));
        }
        // By content, so that a class's name does not depend on who cuts.
        cutters.sort_by_key(|cutter| (cutter.protocol, cutter.id));
        cutters.dedup_by(|later, kept| {
            let same = later.id == kept.id;
            if same && later.is_deadline {
                kept.ranges.append(&mut later.ranges);
            }
            same
        });
        for protocol in Protocol::ALL {
            let own: Vec<&Cutter> = cutters.iter().filter(|c| c.protocol == protocol).collect();
            ports.classes.extend(cut(protocol, &own));
        }
        for (position, class) in ports.classes.iter().enumerate() {
            ports.index.extend(
                class
                    .ranges
                    .iter()
                    .map(|(_, last)| (class.protocol, *last, position)),
            );
        }
        ports.index.sort_unstable();
        (ports, positions)
    }

    /// Position of the class that holds a port. Every port has one.
    pub(crate) fn class_of(&self, protocol: Protocol, port: u16) -> usize {
        let at = self
            .index
            .partition_point(|(p, last, _)| (*p, *last) < (protocol, port));
        self.index.get(at).map_or(0, |(_, _, position)| *position)
    }
}

/// Cuts one protocol into classes, in the order of their first ports.
fn cut(protocol: Protocol, cutters: &[&Cutter]) -> Vec<PortClass> {
    let mut edges: BTreeMap<u32, Vec<(u32, bool)>> = BTreeMap::new();
    edges.entry(0).or_default();
    for (index, cutter) in (0..).zip(cutters) {
        for (from, to) in &cutter.ranges {
            edges
                .entry(u32::from(*from))
                .or_default()
                .push((index, true));
            edges
                .entry(u32::from(*to) + 1)
                .or_default()
                .push((index, false));
        }
    }
    let starts: Vec<u32> = edges
        .keys()
        .copied()
        .filter(|at| *at <= u32::from(u16::MAX))
        .collect();
    let end = u32::from(u16::MAX) + 1;
    let ends = starts.iter().skip(1).copied().chain([end]);
    let mut open: BTreeMap<u32, u32> = BTreeMap::new();
    let mut by_key: FxHashMap<PortClassKey, usize> = FxHashMap::default();
    let mut classes: Vec<PortClass> = Vec::new();
    for (start, end) in starts.iter().copied().zip(ends) {
        for (index, begins) in &edges[&start] {
            let count = open.entry(*index).or_insert(0);
            // Ranges of one deadline may overlap; ranges of one match never do.
            *count = if *begins {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
        }
        open.retain(|_, count| *count > 0);
        let held = |deadline: bool| -> Vec<[u8; 16]> {
            let open = open.keys().map(|index| cutters[*index as usize]);
            open.filter(|cutter| cutter.is_deadline == deadline)
                .map(|cutter| cutter.id)
                .collect()
        };
        let (key, group) = name(protocol, &held(false), &held(true));
        let at = *by_key.entry(key).or_insert_with(|| {
            classes.push(PortClass {
                key,
                protocol,
                group,
                ranges: Vec::new(),
            });
            classes.len() - 1
        });
        extend(&mut classes[at].ranges, port(start), port(end - 1));
    }
    classes
}

fn port(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn name(protocol: Protocol, matches: &[[u8; 16]], deadlines: &[[u8; 16]]) -> (PortClassKey, u8) {
    let group = group_of(deadlines);
    let mut h = Hasher::new("port-class/1");
    h.fixed(&[protocol as u8, group])
        .number(matches.len() as u64);
    matches.iter().for_each(|id| {
        h.fixed(id);
    });
    (PortClassKey(h.finish()), group)
}

fn extend(ranges: &mut Vec<(u16, u16)>, from: u16, to: u16) {
    match ranges.last_mut() {
        Some((_, last)) if u32::from(*last) + 1 == u32::from(from) => *last = to,
        Some(_) | None => ranges.push((from, to)),
    }
}
