//! One parser for every packet, generic over where the bytes lie (I3).
//!
//! Whatever is not fully understood is an error with a reason, never a guess. Nothing is read beyond
//! [`HEADER_LIMIT`], on the host as in the kernel, so both give the same answer for every frame.

mod arp;
mod icmp;
mod inner;
mod ipv4;
mod ipv6;
mod neighbour;
mod transport;

use crate::abi::{Address, Mac, Reason};

/// Headers end before this offset; the program pulls so many bytes into the linear part of the packet.
pub const HEADER_LIMIT: u32 = 256;

/// What Ethernet pads frames to, its checksum not counted.
const SHORTEST_FRAME: u32 = 60;

const ETHERNET_LENGTH: u32 = 14;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;

/// Where a frame's bytes are read from.
pub trait Bytes {
    /// Bytes of the frame that are known to be there.
    type Window<'a>: Window
    where
        Self: 'a;

    /// Length of the whole frame.
    fn length(&self) -> u32;

    /// `N` bytes at `offset`; `None` where they reach beyond the frame or [`HEADER_LIMIT`].
    fn window<const N: usize>(&self, offset: u32) -> Option<Self::Window<'_>>;
}

/// Bytes that are known to be there. `at` is a constant inside the window.
pub trait Window {
    /// One byte.
    fn byte(&self, at: usize) -> u8;
    /// Two bytes as they lie.
    fn wire16(&self, at: usize) -> u16;
    /// Four bytes as they lie.
    fn wire32(&self, at: usize) -> u32;

    /// Two bytes as a number in host order.
    #[inline(always)]
    fn be16(&self, at: usize) -> u16 {
        u16::from_be(self.wire16(at))
    }

    /// Four bytes as a number in host order.
    #[inline(always)]
    fn be32(&self, at: usize) -> u32 {
        u32::from_be(self.wire32(at))
    }

    /// Six bytes as [`Mac::word`] has them.
    #[inline(always)]
    fn mac(&self, at: usize) -> u64 {
        Mac::word_from_wire(self.wire16(at), self.wire32(at + 2))
    }

    /// Four bytes as an address.
    #[inline(always)]
    fn address_v4(&self, at: usize) -> Address {
        Address::from_wire_v4(self.wire32(at))
    }

    /// Sixteen bytes as an address.
    #[inline(always)]
    fn address_v6(&self, at: usize) -> Address {
        Address::from_wire([
            self.wire32(at),
            self.wire32(at + 4),
            self.wire32(at + 8),
            self.wire32(at + 12),
        ])
    }
}

/// A frame in memory.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a>(pub &'a [u8]);

impl Bytes for Frame<'_> {
    type Window<'a>
        = &'a [u8]
    where
        Self: 'a;

    fn length(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    fn window<const N: usize>(&self, offset: u32) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(N)?;
        if end > HEADER_LIMIT as usize {
            return None;
        }
        self.0.get(start..end)
    }
}

impl Window for &[u8] {
    fn byte(&self, at: usize) -> u8 {
        self[at]
    }

    fn wire16(&self, at: usize) -> u16 {
        u16::from_ne_bytes([self[at], self[at + 1]])
    }

    fn wire32(&self, at: usize) -> u32 {
        u32::from_ne_bytes([self[at], self[at + 1], self[at + 2], self[at + 3]])
    }
}

/// What a packet is to the decision function.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// Part of a flow: TCP, UDP, SCTP, ICMP queries, other protocols.
    #[default]
    Flow,
    /// ICMP error; `inner` is the packet it is about.
    Error,
    /// ARP; `tuple` holds sender and target address, `link` the sender's MAC.
    Arp,
    /// Neighbour solicitation; `target`, and `link` if it carries its sender's MAC.
    Solicitation,
    /// Neighbour advertisement; `target`, and `link` if it carries the target's MAC.
    Advertisement,
    /// Router solicitation; `link` if it carries its sender's MAC.
    RouterSolicitation,
    /// Router advertisement.
    RouterAdvertisement,
    /// Multicast listener report or done.
    ListenerReport,
    /// Multicast listener query.
    ListenerQuery,
    /// ICMP redirect of either family.
    Redirect,
}

/// Whether a packet of a protocol without ports asks or answers.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Query {
    /// Neither: the protocol has ports, or nothing that tells.
    #[default]
    None = 0,
    /// A request: the identifier is the source port, type and code the destination port.
    Request = 1,
    /// A reply: type and code *of the request* are the source port, the identifier the destination port.
    Reply = 2,
}

impl Query {
    /// The query with this number; unknown numbers are none.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Query::Request,
            2 => Query::Reply,
            _ => Query::None,
        }
    }
}

/// Which part of a datagram a packet is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fragment {
    /// All of it.
    #[default]
    Whole,
    /// The first fragment: it has the ports.
    First,
    /// Another one: the ports have to be looked up.
    Later,
}

/// Addresses, protocol and ports in the direction of the packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Who sent it.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// Port, or see [`Query`]; 0 where the protocol has none.
    pub source_port: u16,
    /// Port, or see [`Query`]; 0 where the protocol has none.
    pub destination_port: u16,
    /// IP protocol number of the transport header.
    pub protocol: u8,
    /// Asks or answers.
    pub query: Query,
}

/// TCP: the packet opens a connection (SYN without ACK); SCTP: INIT. Other protocols open with any packet.
pub const FLAG_OPENER: u8 = 1;
/// TCP: the sender has said all it had to say.
pub const FLAG_FIN: u8 = 2;
/// TCP: the connection is dead.
pub const FLAG_RST: u8 = 4;

/// What the parser found. Which fields mean something follows from `content` and `fragment`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// The packet itself.
    pub tuple: Tuple,
    /// The packet that an ICMP error is about.
    pub inner: Tuple,
    /// Neighbour discovery: whose address it is about.
    pub target: Address,
    /// Source MAC of the frame, as [`crate::abi::Mac::word`].
    pub source_mac: u64,
    /// MAC inside ARP or neighbour discovery; 0 where there is none.
    pub link: u64,
    /// Identification of a fragmented datagram.
    pub identification: u32,
    /// Length of the frame.
    pub length: u32,
    /// What it is.
    pub content: Content,
    /// Which part of a datagram it is.
    pub fragment: Fragment,
    /// What follows the fragment header: the same in all fragments of a datagram.
    pub fragment_protocol: u8,
    /// `FLAG_*` bits.
    pub flags: u8,
    /// Hop limit or time to live.
    pub hop_limit: u8,
}

/// Reads a frame into `packet`, which is overwritten as far as the frame's kind needs.
#[inline(always)]
pub fn parse<B: Bytes>(bytes: &B, packet: &mut Packet) -> Result<(), Reason> {
    packet.length = bytes.length();
    packet.content = Content::Flow;
    packet.fragment = Fragment::Whole;
    packet.flags = 0;
    packet.link = 0;
    // The scratch value still holds the packet before: no field may be told that this one does not have.
    packet.tuple.source_port = 0;
    packet.tuple.destination_port = 0;
    packet.tuple.query = Query::None;
    let Some(ethernet) = bytes.window::<14>(0) else {
        return Err(Reason::Truncated);
    };
    packet.source_mac = ethernet.mac(6);
    match ethernet.be16(12) {
        ETHERTYPE_IPV4 => ipv4::parse(bytes, ETHERNET_LENGTH, packet),
        ETHERTYPE_IPV6 => ipv6::parse(bytes, ETHERNET_LENGTH, packet),
        ETHERTYPE_ARP => arp::parse(bytes, ETHERNET_LENGTH, packet),
        ETHERTYPE_VLAN | ETHERTYPE_QINQ => Err(Reason::Vlan),
        _ => Err(Reason::EtherType),
    }
}

#[cfg(test)]
mod tests;
