//! Rule sets: everything that decides for one subject in one direction, flattened into one ordered list.
//!
//! The list is read from the top, once for the *enforced* verdict (entries in [`Mode::Audit`] are absent) and
//! once for the *intended* one. `Pass` goes on with the first entry of a later stage. A list that runs out
//! allows: isolation is an entry like any other.

use serde::{Deserialize, Serialize};

use crate::{Hasher, Lease, Matched, Network, PeerSetId, RuleSetId, Timestamp};

/// Seen from the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Towards the subject.
    Ingress,
    /// From the subject.
    Egress,
}

/// The steps of the pipeline, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Stage {
    /// Step 1.
    Quarantine = 1,
    /// Step 1 goes on: where several quarantines hold, their entries lie in these two stages by turns, so that what one excepts
    /// passes on to the next, and only what all of them except is allowed.
    Exemption = 7,
    /// Step 2.
    Admin = 2,
    /// Step 2b: segments of strength `Boundary`.
    Boundary = 3,
    /// Step 3.
    Namespace = 4,
    /// Step 4.
    Baseline = 5,
    /// Step 5: segments of strength `Default`.
    Segment = 6,
}

/// What an entry does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Action {
    /// The flow may pass this half.
    Allow = 1,
    /// The flow is dropped.
    Deny = 2,
    /// Go on with the next stage.
    Pass = 3,
}

/// Whether an entry acts or is only reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Mode {
    /// Part of both verdicts.
    Enforce = 1,
    /// Part of the intended verdict only.
    Audit = 2,
}

/// Protocols that have a port table of their own; all others are matched by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
    /// RFC 792. The port is `type << 8 | code`.
    Icmp,
    /// RFC 4443. The port is `type << 8 | code`.
    Icmpv6,
    /// Any other; the port is the IP protocol number.
    Other,
}

impl Protocol {
    /// All, in the order of the port tables.
    pub const ALL: [Self; 6] = [
        Self::Tcp,
        Self::Udp,
        Self::Sctp,
        Self::Icmp,
        Self::Icmpv6,
        Self::Other,
    ];
}

/// Inclusive range of ports of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortRange {
    /// The protocol.
    pub protocol: Protocol,
    /// First port.
    pub from: u16,
    /// Last port, at least `from`.
    pub to: u16,
}

/// The ports an entry matches. `Of(vec![])` matches nothing; only `Any` matches all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PortMatch {
    /// Every protocol and port.
    Any,
    /// The union; sorted and without overlap.
    Of(Vec<PortRange>),
}

impl PortMatch {
    /// Sorted, merged ranges.
    pub fn of(mut ranges: Vec<PortRange>) -> Self {
        ranges.sort();
        let mut merged: Vec<PortRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last)
                    if last.protocol == range.protocol
                        && u32::from(range.from) <= u32::from(last.to) + 1 =>
                {
                    last.to = last.to.max(range.to);
                }
                Some(_) | None => merged.push(range),
            }
        }
        Self::Of(merged)
    }

    /// Whether the port lies in one of the ranges.
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Of(ranges) => ranges
                .iter()
                .any(|r| r.protocol == protocol && (r.from..=r.to).contains(&port)),
        }
    }
}

/// The workloads that an entry matches by identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Workloads {
    /// Every workload, known or unknown; nothing outside.
    All,
    /// Members of one of the sets; an empty list is nobody.
    Sets(Vec<PeerSetId>),
}

/// The peers an entry matches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PeerMatch {
    /// Whoever is at the other end.
    Any,
    /// The union of workloads by identity and addresses by network.
    Of {
        /// By identity; set ids sorted.
        workloads: Workloads,
        /// By address, workloads' addresses included; sorted.
        networks: Vec<Network>,
    },
    /// Any of these perhaps, and nobody else: what a `Pass` says of a port's name that they do not give.
    Perhaps(Box<PeerMatch>),
}

impl PeerMatch {
    /// Whom it speaks of, and whether surely (`Yes`) or perhaps (`Maybe`).
    pub fn certainty(&self) -> (&Self, Matched) {
        match self {
            Self::Perhaps(peers) => (peers.certainty().0, Matched::Maybe),
            Self::Any | Self::Of { .. } => (self, Matched::Yes),
        }
    }

    fn hash_into(&self, h: &mut Hasher) {
        match self {
            Self::Any => {
                h.fixed(&[0]);
            }
            Self::Of {
                workloads,
                networks,
            } => {
                hash_workloads(h, workloads);
                h.number(networks.len() as u64);
                networks.iter().for_each(|network| hash_network(h, network));
            }
            Self::Perhaps(peers) => {
                h.fixed(&[3]);
                peers.hash_into(h);
            }
        }
    }
}

/// One line of a rule set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Where in the pipeline; entries of one step lie together.
    pub stage: Stage,
    /// What to do on a match.
    pub action: Action,
    /// Acting or reported only.
    pub mode: Mode,
    /// The other end.
    pub peers: PeerMatch,
    /// The destination port of the flow.
    pub ports: PortMatch,
    /// From this instant on the entry is absent, in the kernel too.
    pub until: Option<Timestamp>,
    /// Once the controller has not been heard for so long, an `Allow` is absent, and of a `Pass` it is not sure any more that
    /// it holds: both ways have to allow. So a lease that ends never opens anything. A `Deny` has none.
    pub lease: Option<Lease>,
}

impl Entry {
    /// The entry's content hash. Whoever knows of no leases names an entry without one the same.
    pub fn content(&self) -> [u8; 16] {
        let mut h = match self.lease {
            None => Hasher::new("entry/1"),
            Some(_) => Hasher::new("entry/2"),
        };
        self.hash_into(&mut h);
        h.finish()
    }

    fn hash_into(&self, h: &mut Hasher) {
        h.fixed(&[self.stage as u8, self.action as u8, self.mode as u8]);
        self.peers.hash_into(h);
        match &self.ports {
            PortMatch::Any => {
                h.fixed(&[0]);
            }
            PortMatch::Of(ranges) => {
                h.fixed(&[1]).number(ranges.len() as u64);
                for range in ranges {
                    h.fixed(&[range.protocol as u8]);
                    h.fixed(&range.from.to_le_bytes())
                        .fixed(&range.to.to_le_bytes());
                }
            }
        }
        match self.until {
            None => {
                h.fixed(&[0]);
            }
            Some(Timestamp(ms)) => {
                h.fixed(&[1]).fixed(&ms.to_le_bytes());
            }
        }
        if let Some(Lease(ms)) = self.lease {
            h.fixed(&ms.to_le_bytes());
        }
    }
}

fn hash_workloads(h: &mut Hasher, workloads: &Workloads) {
    match workloads {
        Workloads::All => {
            h.fixed(&[1]);
        }
        Workloads::Sets(sets) => {
            h.fixed(&[2]).number(sets.len() as u64);
            for set in sets {
                h.fixed(&set.0);
            }
        }
    }
}

fn hash_network(h: &mut Hasher, network: &Network) {
    h.bytes(network.cidr.to_string().as_bytes())
        .number(network.except.len() as u64);
    for hole in &network.except {
        h.bytes(hole.to_string().as_bytes());
    }
}

/// The decisions for one subject and direction, shared by all workloads that have the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuleSet {
    /// Which half of a flow it judges.
    pub direction: Direction,
    /// First match decides, see the module.
    pub entries: Vec<Entry>,
}

impl RuleSet {
    /// The rule set's name.
    pub fn id(&self) -> RuleSetId {
        Self::id_of(self.direction, self.entries.iter().map(Entry::content))
    }

    /// The name of a rule set with these entries, given by their content hashes.
    pub fn id_of(
        direction: Direction,
        entries: impl ExactSizeIterator<Item = [u8; 16]>,
    ) -> RuleSetId {
        let mut h = Hasher::new("rule-set/1");
        h.fixed(&[direction as u8]).number(entries.len() as u64);
        for entry in entries {
            h.fixed(&entry);
        }
        RuleSetId(h.finish())
    }

    /// The peer sets it refers to, possibly repeated.
    pub fn peer_sets(&self) -> impl Iterator<Item = PeerSetId> + '_ {
        self.entries
            .iter()
            .flat_map(|entry| match entry.peers.certainty().0 {
                PeerMatch::Of {
                    workloads: Workloads::Sets(sets),
                    ..
                } => sets.as_slice(),
                PeerMatch::Of {
                    workloads: Workloads::All,
                    ..
                }
                | PeerMatch::Any
                | PeerMatch::Perhaps(_) => &[],
            })
            .copied()
    }

    /// Whether an unknown workload may be judged otherwise than a known one that is in none of the sets: a
    /// `Deny` or `Pass` by identity counts for the first and not for the second.
    pub fn tells_unknown_from_known(&self) -> bool {
        self.entries.iter().any(|entry| {
            entry.action != Action::Allow
                && matches!(entry.peers.certainty().0, PeerMatch::Of { workloads: Workloads::Sets(sets), .. } if !sets.is_empty())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_without_a_lease_has_the_name_that_it_had_before_there_were_leases() {
        let entry = Entry {
            stage: Stage::Quarantine,
            action: Action::Allow,
            mode: Mode::Enforce,
            peers: PeerMatch::Any,
            ports: PortMatch::Any,
            until: None,
            lease: None,
        };
        let mut h = Hasher::new("entry/1");
        h.fixed(&[
            Stage::Quarantine as u8,
            Action::Allow as u8,
            Mode::Enforce as u8,
        ]);
        h.fixed(&[0]).fixed(&[0]).fixed(&[0]);
        assert_eq!(entry.content(), h.finish());
        let leased = |ms| Entry {
            lease: Some(Lease(ms)),
            ..entry.clone()
        };
        assert_ne!(leased(60_000).content(), entry.content());
        assert_ne!(leased(60_000).content(), leased(60_001).content());
    }
}
