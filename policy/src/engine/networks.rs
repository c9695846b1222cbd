//! A list of networks that many selectors share, and in which an address is found without a walk along it.

use std::hash::Hash;
use std::sync::Arc;

use bulkhead_graph::{Address, Hasher, Network, Prefix};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Any of these networks; shared, because whoever names ports beside networks has a selector for each of the numbers.
#[derive(Debug, Clone)]
pub(super) struct Networks(Arc<Listed>);

#[derive(Debug)]
struct Listed {
    /// Sorted, once each.
    networks: Box<[Network]>,
    /// Where in the list a prefix stands: more than once with other holes.
    places: FxHashMap<Prefix, SmallVec<[u32; 1]>>,
    /// Of the prefixes, once each.
    lengths: Vec<u8>,
    /// Of the whole list.
    content: [u8; 16],
}

impl Networks {
    /// `networks` are sorted, without repetition.
    pub(super) fn new(networks: &[Network]) -> Self {
        let mut places: FxHashMap<Prefix, SmallVec<[u32; 1]>> = FxHashMap::default();
        for (at, network) in (0..).zip(networks) {
            places.entry(network.cidr.into()).or_default().push(at);
        }
        let mut lengths: Vec<u8> = places.keys().map(|prefix| prefix.length).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut h = Hasher::new("networks/1");
        for network in networks {
            h.bytes(network.cidr.to_string().as_bytes());
            h.number(network.except.len() as u64);
            for hole in &network.except {
                h.bytes(hole.to_string().as_bytes());
            }
        }
        Self(Arc::new(Listed {
            networks: networks.into(),
            places,
            lengths,
            content: h.finish(),
        }))
    }

    /// A hash of the list, computed once.
    pub(super) fn content(&self) -> &[u8; 16] {
        &self.0.content
    }

    pub(super) fn contains(&self, address: Address) -> bool {
        let Listed {
            networks,
            places,
            lengths,
            ..
        } = &*self.0;
        lengths.iter().any(|length| {
            let around = Prefix::host(address).shortened(*length);
            let at = places.get(&around).into_iter().flatten();
            at.copied()
                .any(|at| networks[at as usize].contains(address))
        })
    }
}

impl PartialEq for Networks {
    fn eq(&self, other: &Self) -> bool {
        self.0.content == other.0.content
    }
}
impl Eq for Networks {}

impl Hash for Networks {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.content.hash(state);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn an_address_is_in_the_list_exactly_if_it_is_in_one_of_the_networks() {
        let network = |cidr: &str, holes: &[&str]| {
            let holes = holes.iter().map(|hole| hole.parse().unwrap());
            Network::new(cidr.parse().unwrap(), holes)
        };
        let mut list = vec![
            network("10.0.0.0/8", &["10.1.0.0/16", "10.2.0.0/16"]),
            network("10.0.0.0/8", &["10.2.0.0/15"]),
            network("10.2.3.0/24", &[]),
            network("192.0.2.7/32", &[]),
            network("::/0", &["2001:db8::/32"]),
            network("2001:db8:1::/48", &["2001:db8:1::/64"]),
        ];
        list.sort();
        let networks = Networks::new(&list);
        let mut inside = 0;
        for text in [
            "10.0.0.1",
            "10.1.0.1",
            "10.2.0.1",
            "10.2.3.1",
            "10.3.0.1",
            "11.0.0.1",
            "192.0.2.7",
            "192.0.2.8",
            "::1",
            "2001:db8::1",
            "2001:db8:1::1",
            "2001:db8:1:1::1",
        ] {
            let address = Address::from(text.parse::<IpAddr>().unwrap());
            let expected = list.iter().any(|network| network.contains(address));
            assert_eq!(networks.contains(address), expected, "{text}");
            inside += u32::from(expected);
        }
        assert_eq!(inside, 7);
    }
}
