//! TALKS, taken up by the sweep: who was denied what, how often, and why, as sums for metrics.
//!
//! Pure. An entry is read again and again and only what it has grown by is added, so nothing is counted twice and nothing is
//! lost while it is there. It is taken out once it has been silent from one sweep to the next, or when the table is half full.
//! Sums are bounded for each workload, so that whoever scans hides nobody else's: what has no place of its own is added to one
//! that says so.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_datapath::abi::{Hook, Reason, TalkKey, TalkValue, WorkloadSlot};
use bulkhead_graph::Address;

use crate::events::protocol_name;

/// Different sums of one workload.
pub const SUMS_OF_WORKLOAD: usize = 64;

/// What stands for peers and ports that have no sum of their own.
const OTHERS: &str = "others";

/// Who talks to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The other end: `namespace/name` of a workload of this node, else the address.
    pub peer: String,
    /// Protocol and the port that was addressed.
    pub port: String,
    /// Which program denied it.
    pub hook: &'static str,
    /// Why; the names are those of the counters.
    pub reason: &'static str,
    /// Whether it would pass if everything in audit were enforced.
    pub intended: &'static str,
}

/// What was added to which sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// `namespace/name`.
    pub workload: String,
    /// Its sum.
    pub pair: Pair,
    /// How much.
    pub value: TalkValue,
}

/// What a reading brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What sums have grown by.
    pub added: Vec<Added>,
    /// Sums of workloads that are gone.
    pub gone: Vec<(String, Pair)>,
    /// Entries to be taken out; what they are then goes to [`Talks::taken`].
    pub over: Vec<TalkKey>,
}

/// Gives names to both ends.
pub trait Names {
    /// The workload of a slot, if it is still the same.
    fn workload(&self, slot: WorkloadSlot, incarnation: u8) -> Option<String>;
    /// The workload of this node that has an address.
    fn peer(&self, address: Address) -> Option<String>;
}

/// See the module.
#[derive(Debug, Default)]
pub struct Talks {
    read: BTreeMap<TalkKey, TalkValue>,
    sums: BTreeMap<String, BTreeSet<Pair>>,
}

impl Talks {
    /// Takes up what the table holds; `capacity` is what it has room for.
    pub fn read(
        &mut self,
        entries: Vec<(TalkKey, TalkValue)>,
        capacity: u32,
        names: &impl Names,
    ) -> Reading {
        let mut reading = Reading::default();
        let is_crowded = entries.len() >= capacity as usize / 2;
        let before = std::mem::take(&mut self.read);
        for (key, now) in entries {
            let held = before.get(&key);
            let grown = grown(held.copied().unwrap_or_default(), now);
            let is_silent = held.is_some() && grown.packets == 0;
            reading.added.extend(self.add(&key, grown, names));
            if is_silent || is_crowded {
                reading.over.push(key);
            }
            self.read.insert(key, now);
        }
        reading
    }

    /// An entry was taken out as this. What it had grown by since it was read is added.
    pub fn taken(&mut self, key: &TalkKey, last: TalkValue, names: &impl Names) -> Option<Added> {
        let read = self.read.remove(key).unwrap_or_default();
        self.add(key, grown(read, last), names)
    }

    /// Forgets the sums of workloads that are no longer here.
    pub fn keep(&mut self, is_here: impl Fn(&str) -> bool) -> Vec<(String, Pair)> {
        let mut gone = Vec::new();
        self.sums.retain(|workload, pairs| {
            let here = is_here(workload);
            if !here {
                let pairs = std::mem::take(pairs).into_iter();
                gone.extend(pairs.map(|pair| (workload.clone(), pair)));
            }
            here
        });
        gone
    }

    fn add(&mut self, key: &TalkKey, value: TalkValue, names: &impl Names) -> Option<Added> {
        if value.packets == 0 {
            return None;
        }
        // Its metrics have ended with it.
        let workload = names.workload(key.slot, key.incarnation)?;
        let sums = self.sums.entry(workload.clone()).or_default();
        let mut pair = pair(key, names);
        if !sums.contains(&pair) && sums.len() >= SUMS_OF_WORKLOAD {
            pair.peer = OTHERS.to_owned();
            pair.port = OTHERS.to_owned();
        }
        sums.insert(pair.clone());
        Some(Added {
            workload,
            pair,
            value,
        })
    }
}

/// By how much an entry has grown. One that says less than before was taken out and came anew.
fn grown(before: TalkValue, now: TalkValue) -> TalkValue {
    if now.packets < before.packets {
        return now;
    }
    TalkValue {
        packets: now.packets - before.packets,
        bytes: now.bytes.saturating_sub(before.bytes),
    }
}

fn pair(key: &TalkKey, names: &impl Names) -> Pair {
    let address = Address(key.peer.octets());
    let hook = if key.hook == Hook::FromWorkload as u8 {
        Hook::FromWorkload
    } else {
        Hook::ToWorkload
    };
    Pair {
        peer: names.peer(address).unwrap_or_else(|| address.to_string()),
        port: format!("{}/{}", protocol_name(key.protocol), key.server_port),
        hook: hook.name(),
        reason: Reason::from_number(key.reason).map_or("unknown", Reason::name),
        intended: if key.intended == 1 { "allow" } else { "deny" },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use bulkhead_datapath::abi;
    use std::net::{IpAddr, Ipv4Addr};

    struct Two;

    impl Names for Two {
        fn workload(&self, slot: WorkloadSlot, incarnation: u8) -> Option<String> {
            (incarnation == 1).then(|| format!("shop/w{}", slot.0))
        }
        fn peer(&self, address: Address) -> Option<String> {
            (address == Address::from(IpAddr::from([10, 0, 0, 2]))).then(|| "shop/db".to_owned())
        }
    }

    fn key(slot: u32, peer: u32, port: u16) -> TalkKey {
        TalkKey {
            peer: abi::Address::from_octets(
                Address::from(IpAddr::from(Ipv4Addr::from(0x0a00_0000 + peer))).0,
            ),
            slot: WorkloadSlot(slot),
            server_port: port,
            protocol: 6,
            hook: Hook::FromWorkload as u8,
            reason: Reason::EgressDenied as u8,
            incarnation: 1,
            ..TalkKey::default()
        }
    }

    fn value(packets: u64) -> TalkValue {
        TalkValue {
            packets,
            bytes: packets * 60,
        }
    }

    fn packets(reading: &Reading) -> Vec<u64> {
        reading
            .added
            .iter()
            .map(|added| added.value.packets)
            .collect()
    }

    #[test]
    fn only_what_has_come_since_is_added_and_what_is_silent_goes() {
        let mut talks = Talks::default();
        let one = key(0, 2, 5432);
        let first = talks.read(vec![(one, value(3))], 100, &Two);
        assert_eq!((packets(&first), first.over.len()), (vec![3], 0));
        let pair = &first.added[0].pair;
        assert_eq!(
            (
                pair.peer.as_str(),
                pair.port.as_str(),
                pair.reason,
                pair.intended
            ),
            ("shop/db", "tcp/5432", "egress_denied", "deny")
        );
        let second = talks.read(vec![(one, value(10))], 100, &Two);
        assert_eq!((packets(&second), second.over.len()), (vec![7], 0));
        let third = talks.read(vec![(one, value(10))], 100, &Two);
        assert!(third.added.is_empty());
        assert_eq!(third.over, [one]);
        // Two more came before it was taken out; then it came anew.
        let last = talks.taken(&one, value(12), &Two).unwrap();
        assert_eq!(last.value, value(2));
        let fourth = talks.read(vec![(one, value(1))], 100, &Two);
        assert_eq!(packets(&fourth), [1]);
        let anew = talks.read(vec![(one, value(0))], 100, &Two);
        assert!(anew.added.is_empty(), "nothing is negative");
    }

    #[test]
    fn a_scanner_has_few_sums_and_takes_none_of_the_others() {
        let mut talks = Talks::default();
        let mut entries: Vec<_> = (0..1_000).map(|port| (key(0, 7, port), value(1))).collect();
        entries.push((key(0, 7, 1_000), value(2)));
        entries.push((key(1, 2, 5432), value(5)));
        let reading = talks.read(entries, 10_000, &Two);
        let sums: BTreeSet<_> = reading
            .added
            .iter()
            .map(|a| (&a.workload, &a.pair))
            .collect();
        assert_eq!(sums.len(), SUMS_OF_WORKLOAD + 2);
        let all: u64 = packets(&reading).iter().sum();
        assert_eq!(all, 1_000 + 2 + 5, "all is in some sum");
        let other = reading
            .added
            .iter()
            .find(|added| added.workload == "shop/w1")
            .unwrap();
        assert_eq!(
            (other.pair.port.as_str(), other.value.packets),
            ("tcp/5432", 5)
        );
    }

    #[test]
    fn a_table_that_is_half_full_is_emptied_and_who_is_gone_forgotten() {
        let mut talks = Talks::default();
        let entries: Vec<_> = (0..5).map(|port| (key(0, 7, port), value(1))).collect();
        let reading = talks.read(entries, 10, &Two);
        assert_eq!(reading.over.len(), 5);
        let successor = TalkKey {
            incarnation: 2,
            ..key(0, 7, 1)
        };
        let anew = talks.read(vec![(successor, value(1))], 10, &Two);
        assert!(anew.added.is_empty(), "a successor is not charged");
        assert!(talks.keep(|_| true).is_empty());
        assert_eq!(talks.keep(|workload| workload != "shop/w0").len(), 5);
    }
}
