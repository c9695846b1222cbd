//! A few prefixes around many addresses.

use std::collections::BTreeSet;

use crate::{Address, Prefix};

/// At most so many prefixes that hold all of the addresses, with as little around them as so few allow; sorted and
/// disjoint, each of one family. One for each stretch between two families may come on top.
pub fn cover(addresses: &BTreeSet<Address>, at_most: usize) -> Vec<Prefix> {
    let sorted: Vec<Address> = addresses.iter().copied().collect();
    // A gap after `sorted[at]`: the less its two sides have in common, the better is it left out.
    let mut gaps: Vec<(u32, usize)> = sorted
        .windows(2)
        .enumerate()
        .map(|(at, two)| (in_common(two[0], two[1]), at))
        .collect();
    gaps.sort_unstable();
    let is_border = |at: &usize| sorted[*at].is_ipv4() != sorted[*at + 1].is_ipv4();
    let widest = gaps.iter().take(at_most.saturating_sub(1));
    let cuts: BTreeSet<usize> = widest
        .chain(gaps.iter().filter(|(_, at)| is_border(at)))
        .map(|(_, at)| *at)
        .collect();
    let mut prefixes: Vec<Prefix> = Vec::new();
    let mut first = 0;
    let last = sorted.len().checked_sub(1);
    for end in cuts.into_iter().chain(last) {
        let around = around(sorted[first], sorted[end]);
        first = end + 1;
        // Between gaps that are as wide as each other not all are cut, and then neighbours lie around each other.
        while prefixes.last().is_some_and(|before| around.covers(before)) {
            prefixes.pop();
        }
        if !prefixes.last().is_some_and(|before| before.covers(&around)) {
            prefixes.push(around);
        }
    }
    prefixes
}

/// Leading bits that two addresses have in common.
fn in_common(a: Address, b: Address) -> u32 {
    (u128::from_be_bytes(a.0) ^ u128::from_be_bytes(b.0)).leading_zeros()
}

fn around(first: Address, last: Address) -> Prefix {
    let length = in_common(first, last).min(128);
    let host = u128::MAX.checked_shr(length).unwrap_or(0);
    Prefix {
        address: Address((u128::from_be_bytes(first.0) & !host).to_be_bytes()),
        length: u8::try_from(length).unwrap_or(128),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn check(addresses: &[&str], at_most: usize, expected: &[&str]) {
        let parse = |text: &&str| Address::from(text.parse::<IpAddr>().unwrap());
        let prefixes = cover(&addresses.iter().map(parse).collect(), at_most);
        let written: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn few_addresses_are_held_alone_and_many_with_what_lies_between() {
        check(&[], 4, &[]);
        check(
            &["10.0.0.1", "10.0.9.1"],
            4,
            &["10.0.0.1/32", "10.0.9.1/32"],
        );
        check(
            &["10.0.0.1", "10.0.0.2", "10.9.0.1"],
            2,
            &["10.0.0.0/30", "10.9.0.1/32"],
        );
        check(&["10.0.0.1", "10.9.0.1"], 1, &["10.0.0.0/12"]);
    }

    #[test]
    fn families_are_held_apart_however_few_are_asked_for() {
        check(
            &["::1", "10.0.0.1", "fd00::1"],
            1,
            &["::1/128", "10.0.0.1/32", "fd00::1/128"],
        );
    }

    proptest! {
        #[test]
        fn everybody_is_held_by_disjoint_prefixes_of_its_family(
            numbers in prop::collection::btree_set((any::<bool>(), any::<u16>()), 0..40), at_most in 1_usize..8
        ) {
            let address = |(v4, number): (bool, u16)| match v4 {
                true => Address::from(IpAddr::from([10, 0, (number >> 8) as u8, number as u8])),
                false => Address::from(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, number])),
            };
            let addresses: BTreeSet<Address> = numbers.into_iter().map(address).collect();
            let prefixes = cover(&addresses, at_most);
            prop_assert!(prefixes.len() <= at_most + 1);
            prop_assert!(addresses.iter().all(|a| prefixes.iter().any(|p| p.contains(*a))));
            prop_assert!(prefixes.windows(2).all(|two| two[0] < two[1] && !two[0].covers(&two[1])));
        }
    }
}
