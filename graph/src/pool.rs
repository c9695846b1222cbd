//! Buckets of large peer sets, each once.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::PeerSet;
use crate::peers::Bucket;

/// Lets large peer sets share what they have in common: a namespaced selector may match all pods but one, there may be
/// thousands of such selectors, and together they should take what one set takes, and a little for each. Sets that differ all
/// over share nothing.
#[derive(Debug, Default)]
pub struct PeerSetPool {
    /// By content. Those that nobody has any more are forgotten from time to time.
    buckets: BTreeMap<[u8; 16], Weak<Bucket>>,
    /// Pieces that were asked for since it was looked through.
    asked: usize,
}

impl PeerSetPool {
    /// The same set, made of pieces that other sets have too. Those that it has from `old` are such pieces already.
    pub fn share(&mut self, set: PeerSet, old: &PeerSet) -> PeerSet {
        let set = set.of_pieces(old, |bucket| self.shared(bucket));
        if self.asked > 2 * self.buckets.len() + 1024 {
            self.buckets.retain(|_, bucket| bucket.strong_count() > 0);
            self.asked = 0;
        }
        set
    }

    fn shared(&mut self, bucket: &Arc<Bucket>) -> Arc<Bucket> {
        self.asked += 1;
        let known = self.buckets.entry(bucket.hash).or_default();
        known.upgrade().unwrap_or_else(|| {
            *known = Arc::downgrade(bucket);
            bucket.clone()
        })
    }

    /// How many buckets are in use.
    pub fn len(&self) -> usize {
        let alive = |bucket: &&Weak<Bucket>| bucket.strong_count() > 0;
        self.buckets.values().filter(alive).count()
    }

    /// Whether none is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::Address;

    fn all_but(left_out: u32) -> PeerSet {
        let address = |n: u32| Address::from(IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n)));
        let members = (0..2_000).filter(|n| *n != left_out).map(address);
        members.collect()
    }

    #[test]
    fn sets_share_what_they_have_in_common_and_what_is_gone_is_forgotten() {
        let mut pool = PeerSetPool::default();
        for round in 0..4 {
            let sets: Vec<PeerSet> = (0..100)
                .map(|n| {
                    let set = all_but(round * 100 + n);
                    let shared = pool.share(set.clone(), &PeerSet::default());
                    assert!(shared == set && shared.iter().eq(set.iter()));
                    shared
                })
                .collect();
            // All of one set, and one of each of the others.
            let buckets = pool.len();
            assert!((256..=256 + 100).contains(&buckets), "{buckets} buckets");
            drop(sets);
            assert!(pool.is_empty());
        }
        assert!(pool.buckets.len() < 2_000, "they are forgotten");
    }
}
