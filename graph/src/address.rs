//! Addresses and networks, both families in one 128-bit form (IPv4 as `::ffff:a.b.c.d`).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// An IPv4 or IPv6 address in 16 bytes, network byte order, IPv4 mapped into IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// The address in the form people write.
    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.0).to_canonical()
    }

    /// Whether this is an IPv4 address.
    pub fn is_ipv4(self) -> bool {
        self.ip().is_ipv4()
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

/// A prefix over the 128-bit form, host bits zero. An IPv4 /24 has `length` 120.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Prefix {
    /// First address.
    pub address: Address,
    /// Leading bits that count, 0–128.
    pub length: u8,
}

impl Prefix {
    /// All IPv4 addresses.
    pub const IPV4: Self = Self {
        address: Address([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]),
        length: 96,
    };
    /// All addresses of either family.
    pub const ALL: Self = Self {
        address: Address([0; 16]),
        length: 0,
    };

    /// The prefix that holds one address and nothing else.
    pub fn host(address: Address) -> Self {
        Self {
            address,
            length: 128,
        }
    }

    /// The prefix of that length, which is at most its own, around this one.
    #[must_use]
    pub fn shortened(self, length: u8) -> Self {
        let bits = u128::from_be_bytes(self.address.0) & mask(length);
        Self {
            address: Address(bits.to_be_bytes()),
            length: length.min(self.length),
        }
    }

    /// Whether it holds IPv4 addresses and nothing else.
    pub fn is_ipv4(&self) -> bool {
        Self::IPV4.covers(self)
    }

    /// Whether `address` lies inside. Families never match each other: `::/0` holds no IPv4 address.
    pub fn contains(&self, address: Address) -> bool {
        self.is_ipv4() == address.is_ipv4() && self.covers(&Self::host(address))
    }

    /// Whether the 128 bits of `other` lie wholly inside. Two prefixes are always nested or disjoint, also across
    /// families: `::/0` covers all of IPv4, of which it contains nothing.
    pub fn covers(&self, other: &Self) -> bool {
        let mask = mask(self.length);
        self.length <= other.length
            && u128::from_be_bytes(other.address.0) & mask == u128::from_be_bytes(self.address.0)
    }
}

fn mask(length: u8) -> u128 {
    if length == 0 {
        0
    } else {
        u128::MAX << (128 - u32::from(length.min(128)))
    }
}

impl From<IpNet> for Prefix {
    fn from(net: IpNet) -> Self {
        let net = net.trunc();
        let length = match net {
            IpNet::V4(v4) => v4.prefix_len() + 96,
            IpNet::V6(v6) => v6.prefix_len(),
        };
        Self {
            address: net.network().into(),
            length,
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.ip() {
            IpAddr::V4(v4) if self.length >= 96 => write!(f, "{v4}/{}", self.length - 96),
            IpAddr::V4(_) | IpAddr::V6(_) => {
                write!(f, "{}/{}", Ipv6Addr::from(self.address.0), self.length)
            }
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A CIDR with holes. Families never match each other: `::/0` holds no IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Network {
    /// What is inside.
    pub cidr: IpNet,
    /// What is cut out again; sorted, inside `cidr`.
    pub except: Vec<IpNet>,
}

impl Network {
    /// Normalised: host bits cleared, exceptions sorted, without repetition.
    pub fn new(cidr: IpNet, except: impl IntoIterator<Item = IpNet>) -> Self {
        let mut except: Vec<IpNet> = except.into_iter().map(|net| net.trunc()).collect();
        except.sort();
        except.dedup();
        Self {
            cidr: cidr.trunc(),
            except,
        }
    }

    /// Whether `address` lies inside and in none of the holes.
    pub fn contains(&self, address: Address) -> bool {
        let ip = address.ip();
        self.cidr.contains(&ip) && !self.except.iter().any(|hole| hole.contains(&ip))
    }
}
