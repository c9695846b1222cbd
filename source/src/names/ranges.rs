//! Which addresses are workloads' of the cluster.

use std::net::IpAddr;

use ipnet::IpNet;

/// Ranges that do not overlap, by their first address.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<IpNet>);

impl Ranges {
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let after = self.0.partition_point(|range| range.network() <= address);
        let before = after.checked_sub(1).and_then(|at| self.0.get(at));
        before.is_some_and(|range| range.contains(&address))
    }
}

impl FromIterator<IpNet> for Ranges {
    fn from_iter<T: IntoIterator<Item = IpNet>>(ranges: T) -> Self {
        let mut ranges = IpNet::aggregate(&ranges.into_iter().collect());
        ranges.sort_by_key(IpNet::network);
        Self(ranges)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_address_is_found_in_whichever_range_holds_it() {
        let texts = ["10.2.0.0/16", "10.0.0.0/16", "10.0.7.0/24", "fd00::/64"];
        let ranges: Ranges = texts.iter().map(|text| text.parse().unwrap()).collect();
        for (address, is_inside) in [
            ("10.0.0.0", true),
            ("10.0.8.1", true),
            ("10.1.255.255", false),
            ("10.2.3.4", true),
            ("10.3.0.0", false),
            ("9.9.9.9", false),
            ("fd00::7", true),
            ("fd00:0:0:1::", false),
        ] {
            assert_eq!(
                ranges.contains(address.parse().unwrap()),
                is_inside,
                "{address}"
            );
        }
        assert!(!Ranges::default().contains("10.0.0.1".parse().unwrap()));
    }
}
