//! Addresses as the kernel's tables hold them: 16 bytes in network order, IPv4 mapped into IPv6.

use super::plain::plain;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of either family; IPv4 is stored as `::ffff:a.b.c.d`.
///
/// Two words, so that comparing costs two instructions; in memory they are the address's bytes in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    high: u64,
    low: u64,
}

impl Address {
    /// `::`, which no table holds and no own address equals.
    pub const UNSPECIFIED: Address = Address { high: 0, low: 0 };

    /// From the 16 bytes in network order.
    #[inline(always)]
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        let value = u128::from_be_bytes(octets);
        Self::from_words((value >> 64) as u64, value as u64)
    }

    /// From the two halves as numbers (most significant first).
    #[inline(always)]
    pub const fn from_words(high: u64, low: u64) -> Self {
        Self {
            high: high.to_be(),
            low: low.to_be(),
        }
    }

    /// From four words as they were loaded from the packet, without changing their byte order.
    #[inline(always)]
    pub const fn from_wire(words: [u32; 4]) -> Self {
        Self {
            high: join(words[0], words[1]),
            low: join(words[2], words[3]),
        }
    }

    /// From an IPv4 address as it was loaded from the packet, without changing its byte order.
    #[inline(always)]
    pub const fn from_wire_v4(word: u32) -> Self {
        Self {
            high: 0,
            low: join(0xffff_u32.to_be(), word),
        }
    }

    /// The two halves as they lie: what they are as numbers depends on the machine.
    #[inline(always)]
    pub const fn halves(self) -> (u64, u64) {
        (self.high, self.low)
    }

    /// The two halves as numbers (most significant first).
    #[inline(always)]
    pub const fn words(self) -> (u64, u64) {
        (u64::from_be(self.high), u64::from_be(self.low))
    }

    /// The 16 bytes in network order.
    pub const fn octets(self) -> [u8; 16] {
        let (high, low) = self.words();
        (((high as u128) << 64) | low as u128).to_be_bytes()
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        let (high, low) = self.words();
        high == 0 && low >> 32 == 0xffff
    }

    /// Whether this is a multicast group, or IPv4's limited broadcast.
    #[inline(always)]
    pub const fn is_multicast(self) -> bool {
        let (high, low) = self.words();
        if self.is_v4() {
            (low as u32) >> 28 == 0xe || low as u32 == u32::MAX
        } else {
            high >> 56 == 0xff
        }
    }

    /// Whether nobody may send from this address: unspecified, loopback, group or broadcast (RFC 6890).
    #[inline(always)]
    pub const fn is_no_source(self) -> bool {
        let (high, low) = self.words();
        let special = if self.is_v4() {
            matches!((low as u32) >> 24, 0 | 127)
        } else {
            high == 0 && low <= 1
        };
        special || self.is_multicast()
    }

    /// The IPv6 link-local address that an interface with this MAC gives itself (RFC 4291, appendix A).
    #[inline(always)]
    pub const fn link_local(mac: Mac) -> Self {
        Self::link_local_of_word(mac.word())
    }

    /// The same from [`Mac::word`].
    #[inline(always)]
    pub const fn link_local_of_word(mac: u64) -> Self {
        let mac = u64::from_be(mac) >> 16;
        let interface = (mac >> 24) << 40 | 0xff_fe00_0000 | mac & 0xff_ffff;
        Self::from_words(0xfe80 << 48, interface ^ 2 << 56)
    }

    /// Whether the first `length` bits (of 128) equal those of `prefix`.
    #[inline(always)]
    pub const fn is_within(self, prefix: Address, length: u32) -> bool {
        let ((high, low), (prefix_high, prefix_low)) = (self.words(), prefix.words());
        let (high_bits, low_bits) = if length > 64 {
            (64, length - 64)
        } else {
            (length, 0)
        };
        (high ^ prefix_high) & leading(high_bits) == 0
            && (low ^ prefix_low) & leading(low_bits) == 0
    }

    /// The address as the standard library's type, IPv4 unmapped.
    pub const fn to_ip(self) -> IpAddr {
        let octets = self.octets();
        if self.is_v4() {
            IpAddr::V4(Ipv4Addr::new(
                octets[12], octets[13], octets[14], octets[15],
            ))
        } else {
            let (high, low) = self.words();
            IpAddr::V6(Ipv6Addr::from_bits(((high as u128) << 64) | low as u128))
        }
    }
}

/// A mask of the `bits` most significant bits; 64 and more mean all of them.
#[inline(always)]
const fn leading(bits: u32) -> u64 {
    if bits == 0 {
        0
    } else if bits >= 64 {
        u64::MAX
    } else {
        u64::MAX << (64 - bits)
    }
}

/// Joins two words that lie beside each other in memory into one, whatever the machine's byte order.
#[inline(always)]
const fn join(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        (first as u64) | ((second as u64) << 32)
    } else {
        ((first as u64) << 32) | (second as u64)
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::from_words(0, 0xffff_0000_0000 | u64::from(address.to_bits()))
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self::from_octets(address.octets())
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.to_ip().fmt(f)
    }
}

/// An Ethernet address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac {
    /// The six bytes in the order of the wire.
    pub octets: [u8; 6],
}

impl Mac {
    /// The address as one number, which compares in one instruction: its bytes as they lie, and two zeroes.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        let [a, b, c, d, e, f] = self.octets;
        u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// The same from the first two bytes and the other four, as they were loaded from the packet.
    #[inline(always)]
    pub const fn word_from_wire(first: u16, rest: u32) -> u64 {
        if cfg!(target_endian = "little") {
            first as u64 | (rest as u64) << 16
        } else {
            (first as u64) << 48 | (rest as u64) << 16
        }
    }

    /// The same from eight bytes of which the first six are the address.
    #[inline(always)]
    pub const fn word_of(bytes: u64) -> u64 {
        bytes & u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0])
    }
}

plain! {
    Address: 16, align 8;
    Mac: 6, align 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_memory_are_network_order() {
        let address = Address::from(Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(
            crate::abi::Plain::as_bytes(&address),
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3]
        );
        assert_eq!(
            address,
            Address::from_wire_v4(u32::from_ne_bytes([10, 1, 2, 3]))
        );
        assert_eq!(address.to_ip().to_string(), "10.1.2.3");
        let six: Ipv6Addr = "2001:db8::1:2".parse().unwrap();
        assert_eq!(Address::from(six).octets(), six.octets());
        assert_eq!(Address::from(six).to_ip(), IpAddr::V6(six));
        assert!(address.is_v4() && !Address::from(six).is_v4());
    }

    #[test]
    fn prefixes_compare_bit_by_bit() {
        let prefix: Ipv4Addr = "10.1.0.0".parse().unwrap();
        let inside: Ipv4Addr = "10.1.255.255".parse().unwrap();
        let outside: Ipv4Addr = "10.2.0.0".parse().unwrap();
        assert!(Address::from(inside).is_within(prefix.into(), 96 + 16));
        assert!(!Address::from(outside).is_within(prefix.into(), 96 + 16));
        assert!(Address::from(outside).is_within(prefix.into(), 96 + 14));
        assert!(Address::from(outside).is_within(Address::UNSPECIFIED, 0));
        assert!(!Address::from(outside).is_within(prefix.into(), 128));
    }

    #[test]
    fn link_local_follows_the_mac() {
        let mac = Mac {
            octets: [0x02, 0x42, 0xac, 0x11, 0x00, 0x02],
        };
        assert_eq!(Address::link_local(mac).to_string(), "fe80::42:acff:fe11:2");
    }

    #[test]
    fn a_mac_is_one_word_wherever_it_was_read() {
        let mac = Mac {
            octets: [1, 2, 3, 4, 5, 6],
        };
        let first = u16::from_ne_bytes([1, 2]);
        let rest = u32::from_ne_bytes([3, 4, 5, 6]);
        let bytes = u64::from_ne_bytes([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Mac::word_from_wire(first, rest), mac.word());
        assert_eq!(Mac::word_of(bytes), mac.word());
        let workload = crate::abi::WorkloadValue {
            mac,
            incarnation: 0xff,
            reserved: 0xff,
            ..Default::default()
        };
        assert_eq!(workload.mac_word(), mac.word());
    }

    #[test]
    fn some_addresses_send_nothing() {
        for (text, expected) in [
            ("0.0.0.0", true),
            ("127.0.0.1", true),
            ("224.0.0.1", true),
            ("10.0.0.1", false),
            ("::", true),
            ("::1", true),
            ("::2", false),
            ("ff02::1", true),
            ("fe80::1", false),
        ] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(Address::from(ip).is_no_source(), expected, "{text}");
        }
    }

    #[test]
    fn groups_and_broadcast_are_multicast() {
        for (text, expected) in [
            ("224.0.0.1", true),
            ("255.255.255.255", true),
            ("10.0.0.255", false),
            ("ff02::1", true),
            ("fe80::1", false),
        ] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(Address::from(ip).is_multicast(), expected, "{text}");
        }
    }
}
