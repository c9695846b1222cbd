//! Peer sets: the addresses of the workloads that a selector matches.
//!
//! Members lie in buckets, each with its own hash, so that a change costs one bucket and not the set, and two
//! versions share what did not change. The number of buckets is a function of the number of members.

use std::sync::Arc;

use crate::{Address, Digest, Hasher};

const SPLIT_AT_MEMBERS: usize = 512;
const BUCKETS: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    members: Box<[Address]>,
    pub(crate) hash: [u8; 16],
}

impl Bucket {
    fn new(members: impl Into<Box<[Address]>>) -> Self {
        let members = members.into();
        let mut h = Hasher::new("bucket/1");
        h.number(members.len() as u64);
        members.iter().for_each(|member| {
            h.fixed(&member.0);
        });
        let hash = h.finish();
        Self { members, hash }
    }
}

/// Sorted addresses, cheap to clone, compare and change.
#[derive(Debug, Clone)]
pub struct PeerSet {
    buckets: Buckets,
    len: usize,
    digest: Digest,
}

/// Most sets are small, and there are very many of them.
#[derive(Debug, Clone)]
enum Buckets {
    One(Arc<Bucket>),
    Many(Arc<[Arc<Bucket>]>),
}

impl std::ops::Deref for Buckets {
    type Target = [Arc<Bucket>];
    fn deref(&self) -> &[Arc<Bucket>] {
        match self {
            Self::One(bucket) => std::slice::from_ref(bucket),
            Self::Many(buckets) => buckets,
        }
    }
}

impl PartialEq for PeerSet {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}
impl Eq for PeerSet {}

impl Default for PeerSet {
    fn default() -> Self {
        Self::from_sorted(Vec::new())
    }
}

impl FromIterator<Address> for PeerSet {
    fn from_iter<I: IntoIterator<Item = Address>>(members: I) -> Self {
        let mut members: Vec<Address> = members.into_iter().collect();
        members.sort_unstable();
        members.dedup();
        Self::from_sorted(members)
    }
}

fn bucket_of(address: Address) -> usize {
    usize::from(address.0[15])
}

impl PeerSet {
    fn from_sorted(members: Vec<Address>) -> Self {
        let len = members.len();
        let buckets = if len < SPLIT_AT_MEMBERS {
            Buckets::One(Arc::new(Bucket::new(members)))
        } else {
            let mut split: Vec<Vec<Address>> = vec![Vec::new(); BUCKETS];
            members
                .into_iter()
                .for_each(|member| split[bucket_of(member)].push(member));
            let buckets = split.into_iter().map(|m| Arc::new(Bucket::new(m)));
            Buckets::Many(buckets.collect())
        };
        let digest = digest_of(&buckets);
        Self {
            buckets,
            len,
            digest,
        }
    }

    /// The same set of other pieces with the same content, where there are several. What is in `old` stays as it is.
    pub(crate) fn of_pieces(
        mut self,
        old: &Self,
        mut each: impl FnMut(&Arc<Bucket>) -> Arc<Bucket>,
    ) -> Self {
        if let Buckets::Many(many) = &mut self.buckets {
            let mut old = old.buckets.iter();
            for piece in Arc::make_mut(many) {
                if old.next().is_none_or(|old| !Arc::ptr_eq(old, piece)) {
                    *piece = each(piece);
                }
            }
        }
        self
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Names the present members.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// All members, bucket by bucket (not in the order of addresses).
    pub fn iter(&self) -> impl Iterator<Item = Address> + '_ {
        self.buckets
            .iter()
            .flat_map(|bucket| bucket.members.iter().copied())
    }

    /// Whether the address is a member.
    pub fn contains(&self, address: Address) -> bool {
        let index = if self.buckets.len() == 1 {
            0
        } else {
            bucket_of(address)
        };
        self.buckets[index].members.binary_search(&address).is_ok()
    }

    /// The set with some members more and some fewer. Adding a member twice or removing an absent one is no change.
    pub fn with(&self, added: &[Address], removed: &[Address]) -> Self {
        if added.len() + removed.len() > self.len / 2 + BUCKETS {
            return self.rebuilt_with(added, removed);
        }
        let mut wanted: Vec<(usize, Address, bool)> =
            Vec::with_capacity(added.len() + removed.len());
        wanted.extend(removed.iter().map(|a| (bucket_of(*a), *a, false)));
        wanted.extend(added.iter().map(|a| (bucket_of(*a), *a, true)));
        let single = self.buckets.len() == 1;
        let mut buckets = self.buckets.to_vec();
        let mut len = self.len;
        // Stable sort: within a bucket removals stay before additions.
        wanted.sort_by_key(|(bucket, _, _)| if single { 0 } else { *bucket });
        for group in wanted.chunk_by(|a, b| single || a.0 == b.0) {
            let index = if single { 0 } else { group[0].0 };
            let mut members = buckets[index].members.to_vec();
            for (_, address, present) in group {
                match (members.binary_search(address), present) {
                    (Ok(at), false) => {
                        members.remove(at);
                        len -= 1;
                    }
                    (Err(at), true) => {
                        members.insert(at, *address);
                        len += 1;
                    }
                    (Ok(_), true) | (Err(_), false) => {}
                }
            }
            buckets[index] = Arc::new(Bucket::new(members));
        }
        if (len < SPLIT_AT_MEMBERS) != single {
            let mut members: Vec<Address> = buckets
                .iter()
                .flat_map(|bucket| bucket.members.iter().copied())
                .collect();
            members.sort_unstable();
            return Self::from_sorted(members);
        }
        let digest = digest_of(&buckets);
        let buckets = match <[_; 1]>::try_from(buckets) {
            Ok([one]) => Buckets::One(one),
            Err(many) => Buckets::Many(many.into()),
        };
        Self {
            buckets,
            len,
            digest,
        }
    }

    /// The same, for changes so many that the buckets are better made anew.
    fn rebuilt_with(&self, added: &[Address], removed: &[Address]) -> Self {
        let mut removed = removed.to_vec();
        removed.sort_unstable();
        let kept = self
            .iter()
            .filter(|member| removed.binary_search(member).is_err());
        kept.chain(added.iter().copied()).collect()
    }

    /// `(added, removed)` on the way from `self` to `newer`, both sorted.
    pub fn diff(&self, newer: &Self) -> (Vec<Address>, Vec<Address>) {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        if self.buckets.len() == newer.buckets.len() {
            for (old, new) in self.buckets.iter().zip(newer.buckets.iter()) {
                if old.hash != new.hash {
                    difference(&old.members, &new.members, &mut added, &mut removed);
                }
            }
        } else {
            let sorted = |set: &Self| {
                let mut members: Vec<Address> = set.iter().collect();
                members.sort_unstable();
                members
            };
            difference(&sorted(self), &sorted(newer), &mut added, &mut removed);
        }
        added.sort_unstable();
        removed.sort_unstable();
        (added, removed)
    }
}

fn difference(
    old: &[Address],
    new: &[Address],
    added: &mut Vec<Address>,
    removed: &mut Vec<Address>,
) {
    added.extend(new.iter().filter(|a| old.binary_search(a).is_err()));
    removed.extend(old.iter().filter(|a| new.binary_search(a).is_err()));
}

fn digest_of(buckets: &[Arc<Bucket>]) -> Digest {
    if let [only] = buckets {
        return Digest(only.hash);
    }
    let mut h = Hasher::new("peer-set/1");
    h.number(buckets.len() as u64);
    buckets.iter().for_each(|bucket| {
        h.fixed(&bucket.hash);
    });
    Digest(h.finish())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn address(n: u32) -> Address {
        Address::from(std::net::IpAddr::from(std::net::Ipv4Addr::from(
            0x0a00_0000 + n,
        )))
    }

    #[test]
    fn the_way_to_a_set_does_not_show_in_it() {
        for size in [0_u32, 1, 511, 512, 513, 3000] {
            let at_once: PeerSet = (0..size).map(address).collect();
            let mut grown = PeerSet::default();
            for n in (0..size + 40).rev() {
                grown = grown.with(&[address(n)], &[]);
            }
            let extra: Vec<Address> = (size..size + 40).map(address).collect();
            grown = grown.with(&[], &extra);
            assert_eq!(grown.digest(), at_once.digest(), "{size} members");
            assert_eq!(grown.len(), at_once.len());
        }
    }

    #[test]
    fn diff_leads_from_one_set_to_the_other() {
        let old: PeerSet = (0..600).map(address).collect();
        let new: PeerSet = (100..300).map(address).collect();
        for (a, b) in [(&old, &new), (&new, &old)] {
            let (added, removed) = a.diff(b);
            assert_eq!(&a.with(&added, &removed), b);
        }
        assert!(new.contains(address(100)) && !new.contains(address(99)));
    }
}
