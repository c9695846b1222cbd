//! What is known of one name, from one answer to the next.
//!
//! Invariant: a name that was known stays known while nobody answers, with the addresses that it had last. An address goes with
//! the first whole answer that comes [`GRACE`] or more after the last one that told it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::Answer;
use super::ranges::Ranges;
use crate::BootTime;

/// How long an address stays that the name's answers tell no more: workloads may go on with an earlier answer.
pub const GRACE: Duration = Duration::from_mins(10);

/// Most addresses of one name. Beyond them the lowest count in an Allow, and in a Deny everybody.
pub const ADDRESSES: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Addresses, and when they were told last.
    told: BTreeMap<IpAddr, BootTime>,
    /// Addresses of the newest answer that no name may stand for.
    refused: BTreeSet<IpAddr>,
    /// All of it was told once.
    was_whole: bool,
    /// When an address was last left out because there were too many.
    beyond_at: Option<BootTime>,
    /// Why the newest answer is none, or not all; `None` before the first one, too.
    failure: Option<String>,
}

/// What comes of it where these are the cluster's ranges.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Those that count.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Those that were told and are not taken.
    pub(super) refused: BTreeSet<IpAddr>,
    /// All of them are known.
    pub(super) is_whole: bool,
    /// There are more than there is room for.
    pub(super) is_beyond: bool,
    /// See [`Known`].
    pub(super) failure: Option<String>,
}

impl Known {
    pub(super) fn take(&mut self, answer: Answer, cluster: &Ranges, now: BootTime) {
        let addresses = answer.addresses.iter().map(IpAddr::to_canonical);
        let (taken, refused): (BTreeSet<IpAddr>, BTreeSet<IpAddr>) =
            addresses.partition(|address| is_outside(*address) && !cluster.contains(*address));
        let is_useless = taken.is_empty() && !refused.is_empty();
        self.told
            .extend(taken.into_iter().map(|address| (address, now)));
        self.refused = refused;
        self.failure = answer.failure.or_else(|| {
            is_useless.then(|| "none of the addresses it is answered with may be taken".to_owned())
        });
        if self.failure.is_none() {
            self.was_whole = true;
            let is_recent = |at: &BootTime| now.since(*at) < GRACE;
            self.told.retain(|_, at| is_recent(at));
            self.beyond_at = self.beyond_at.filter(is_recent);
        }
        while self.told.len() > ADDRESSES {
            self.told.pop_last();
            self.beyond_at = Some(now);
        }
    }

    /// The cluster's ranges may have grown since.
    pub(super) fn read(&self, cluster: &Ranges) -> Reading {
        let told = self.told.keys().copied();
        let (inside, addresses): (BTreeSet<IpAddr>, BTreeSet<IpAddr>) =
            told.partition(|address| cluster.contains(*address));
        Reading {
            is_whole: self.was_whole && self.beyond_at.is_none() && !addresses.is_empty(),
            is_beyond: self.beyond_at.is_some(),
            refused: self.refused.union(&inside).copied().collect(),
            addresses,
            failure: self.failure.clone(),
        }
    }
}

/// Whether a host outside this one can have it, and one alone.
fn is_outside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_loopback()
                || v4.is_unspecified()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unicast_link_local()
                || v6.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn whole(addresses: &[&str]) -> Answer {
        Answer::whole("a.b".into(), addresses.iter().map(|text| address(text)))
    }

    fn failed(addresses: &[&str]) -> Answer {
        let addresses = addresses.iter().map(|text| address(text));
        Answer::failed("a.b".into(), addresses, "SERVFAIL")
    }

    fn addresses(known: &Known) -> Vec<String> {
        let reading = known.read(&Ranges::default());
        reading.addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_stays_for_the_grace_time_after_it_was_told_last() {
        let (mut known, none, start) = (Known::default(), Ranges::default(), BootTime::now());
        known.take(whole(&["203.0.113.1", "203.0.113.2"]), &none, start);
        known.take(whole(&["203.0.113.2"]), &none, start + 9 * MINUTE);
        assert_eq!(addresses(&known), ["203.0.113.1", "203.0.113.2"]);
        known.take(whole(&["203.0.113.3"]), &none, start + 10 * MINUTE);
        assert_eq!(addresses(&known), ["203.0.113.2", "203.0.113.3"]);
    }

    #[test]
    fn what_is_answered_no_more_stays_as_it_was_and_says_so() {
        let (mut known, none, start) = (Known::default(), Ranges::default(), BootTime::now());
        assert!(!known.read(&none).is_whole);
        known.take(failed(&[]), &none, start);
        assert!(!known.read(&none).is_whole);
        known.take(whole(&["203.0.113.1"]), &none, start);
        assert_eq!(known.read(&none).failure, None);
        for later in [whole(&[]), failed(&[]), failed(&["203.0.113.2"])] {
            known.take(later, &none, start + 600 * MINUTE);
            let reading = known.read(&none);
            assert!(reading.is_whole && reading.failure.is_some());
        }
        assert_eq!(addresses(&known), ["203.0.113.1", "203.0.113.2"]);
    }

    #[test]
    fn of_a_part_that_is_answered_the_addresses_count_and_the_name_is_not_known() {
        let (mut known, none) = (Known::default(), Ranges::default());
        known.take(failed(&["203.0.113.1"]), &none, BootTime::now());
        assert_eq!(addresses(&known), ["203.0.113.1"]);
        assert!(!known.read(&none).is_whole);
    }

    #[test]
    fn what_no_host_outside_can_have_is_never_taken() {
        let never = [
            "127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "10.1.2.3",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
        ];
        let cluster: Ranges = ["10.1.0.0/16".parse().unwrap()].into_iter().collect();
        let (mut known, start) = (Known::default(), BootTime::now());
        for text in never {
            known.take(whole(&[text]), &cluster, start);
            let reading = known.read(&cluster);
            assert!(reading.addresses.is_empty() && !reading.is_whole, "{text}");
            assert_eq!(reading.refused, [address(text).to_canonical()].into());
            assert!(reading.failure.is_some());
        }
        known.take(whole(&["::ffff:203.0.113.1", "10.1.2.3"]), &cluster, start);
        let reading = known.read(&cluster);
        assert_eq!(reading.addresses, [address("203.0.113.1")].into());
        assert!(reading.is_whole && reading.failure.is_none());
        // An answer of nothing else is none: the address from before stays, however long.
        known.take(whole(&["10.1.2.3"]), &cluster, start + 60 * MINUTE);
        assert!(known.read(&cluster).is_whole);
    }

    #[test]
    fn a_range_that_the_cluster_has_got_since_counts_for_what_was_told_before() {
        let mut known = Known::default();
        known.take(whole(&["10.1.2.3"]), &Ranges::default(), BootTime::now());
        assert!(known.read(&Ranges::default()).is_whole);
        let cluster: Ranges = ["10.1.0.0/16".parse().unwrap()].into_iter().collect();
        let reading = known.read(&cluster);
        assert!(reading.addresses.is_empty() && !reading.is_whole);
        assert_eq!(reading.refused, [address("10.1.2.3")].into());
    }

    #[test]
    fn beyond_the_limit_the_lowest_count_and_the_name_is_not_known_until_the_grace_time_has_passed()
    {
        let (mut known, none, start) = (Known::default(), Ranges::default(), BootTime::now());
        let many = (0..=u8::MAX).flat_map(|last| [[203, 0, 112, last], [203, 0, 113, last]]);
        let many = Answer::whole("a.b".into(), many.map(IpAddr::from));
        known.take(many, &none, start);
        let reading = known.read(&none);
        assert_eq!(reading.addresses.len(), ADDRESSES);
        assert_eq!(reading.addresses.last(), Some(&address("203.0.112.255")));
        assert!(reading.is_beyond && !reading.is_whole);
        known.take(whole(&["203.0.112.1"]), &none, start + 9 * MINUTE);
        assert!(known.read(&none).is_beyond);
        known.take(whole(&["203.0.112.1"]), &none, start + 10 * MINUTE);
        assert!(known.read(&none).is_whole);
        assert_eq!(addresses(&known), ["203.0.112.1"]);
    }
}
