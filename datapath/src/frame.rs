//! Frames made by hand: for tests, and for asking the programs about a packet that nobody sent.
//!
//! Headers are as told, also when they contradict each other. Only IPv4's header checksum is computed.

use crate::abi::Mac;
use std::net::IpAddr;

/// TCP flag.
pub const FIN: u8 = 1;
/// TCP flag.
pub const SYN: u8 = 2;
/// TCP flag.
pub const RST: u8 = 4;
/// TCP flag.
pub const ACK: u8 = 16;

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// TCP without data.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Flag bits.
        flags: u8,
    },
    /// UDP with eight bytes of data.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// SCTP with one chunk header.
    Sctp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Type of the chunk.
        chunk: u8,
    },
    /// ICMP or ICMPv6, by the family of the addresses.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The four bytes after the checksum (echo: identifier and sequence number).
        rest: [u8; 4],
        /// What follows.
        body: Vec<u8>,
    },
    /// Anything else.
    Raw {
        /// Protocol number.
        protocol: u8,
        /// What follows the IP header.
        bytes: Vec<u8>,
    },
}

impl Payload {
    /// An ICMP(v6) echo request.
    pub fn echo_request(source: IpAddr, identifier: u16) -> Self {
        Self::echo(if source.is_ipv4() { 8 } else { 128 }, identifier)
    }

    /// An ICMP(v6) echo reply.
    pub fn echo_reply(source: IpAddr, identifier: u16) -> Self {
        Self::echo(if source.is_ipv4() { 0 } else { 129 }, identifier)
    }

    fn echo(kind: u8, identifier: u16) -> Self {
        let [high, low] = identifier.to_be_bytes();
        Payload::Icmp {
            kind,
            code: 0,
            rest: [high, low, 0, 1],
            body: vec![0; 8],
        }
    }

    fn protocol(&self, v4: bool) -> u8 {
        match self {
            Payload::Tcp { .. } => 6,
            Payload::Udp { .. } => 17,
            Payload::Sctp { .. } => 132,
            Payload::Icmp { .. } => {
                if v4 {
                    1
                } else {
                    58
                }
            }
            Payload::Raw { protocol, .. } => *protocol,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Payload::Tcp {
                source,
                destination,
                flags,
            } => {
                let mut bytes = ports(*source, *destination);
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                bytes
            }
            Payload::Udp {
                source,
                destination,
            } => {
                let mut bytes = ports(*source, *destination);
                bytes.extend([0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
                bytes
            }
            Payload::Sctp {
                source,
                destination,
                chunk,
            } => {
                let mut bytes = ports(*source, *destination);
                bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, *chunk, 0, 0, 4]);
                bytes
            }
            Payload::Icmp {
                kind,
                code,
                rest,
                body,
            } => {
                let mut bytes = vec![*kind, *code, 0, 0];
                bytes.extend(rest);
                bytes.extend(body);
                bytes
            }
            Payload::Raw { bytes, .. } => bytes.clone(),
        }
    }
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

/// An IP packet in an Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpFrame {
    /// Source MAC.
    pub source_mac: Mac,
    /// Destination MAC.
    pub destination_mac: Mac,
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Time to live or hop limit.
    pub hop_limit: u8,
    /// Identification, where there is one.
    pub identification: u32,
    /// Offset in units of 8 bytes, and whether more follow; `None` = not fragmented.
    pub fragment: Option<(u16, bool)>,
    /// IPv4 options, padded to 4 bytes here.
    pub options: Vec<u8>,
    /// IPv6 extension headers: kind, and what follows its first two bytes (padded to 8 here).
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// What it carries.
    pub payload: Payload,
}

impl IpFrame {
    /// A plain packet.
    pub fn new(source_mac: Mac, source: IpAddr, destination: IpAddr, payload: Payload) -> Self {
        Self {
            source_mac,
            destination_mac: Mac {
                octets: [0x02, 0, 0, 0, 0, 0xfe],
            },
            source,
            destination,
            hop_limit: 64,
            identification: 1,
            fragment: None,
            options: Vec::new(),
            extensions: Vec::new(),
            payload,
        }
    }

    /// The frame's bytes.
    pub fn build(&self) -> Vec<u8> {
        let (ethertype, packet) = match (self.source, self.destination) {
            (IpAddr::V4(_), _) => (0x0800, self.packet()),
            (IpAddr::V6(_), _) => (0x86dd, self.packet()),
        };
        ethernet(self.source_mac, self.destination_mac, ethertype, &packet)
    }

    /// The IP packet without its Ethernet header: what an ICMP error quotes.
    pub fn packet(&self) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.v4(source.octets(), destination.octets())
            }
            (source, destination) => self.v6(six(source), six(destination)),
        }
    }

    fn v4(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let payload = self.payload.bytes();
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let header_length = 20 + options.len();
        let total = u16::try_from(header_length + payload.len()).unwrap_or(u16::MAX);
        let (offset, more) = self.fragment.unwrap_or((0, false));
        let field = (offset & 0x1fff) | if more { 0x2000 } else { 0 };
        let mut packet = vec![0x40 | (header_length / 4) as u8, 0];
        packet.extend(total.to_be_bytes());
        packet.extend((self.identification as u16).to_be_bytes());
        packet.extend(field.to_be_bytes());
        packet.extend([self.hop_limit, self.payload.protocol(true), 0, 0]);
        packet.extend(source);
        packet.extend(destination);
        packet.extend(options);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        packet
    }

    fn v6(&self, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        let mut chain: Vec<(u8, Vec<u8>)> = self.extensions.clone();
        if let Some((offset, more)) = self.fragment {
            let mut body = (offset << 3 | u16::from(more)).to_be_bytes().to_vec();
            body.extend(self.identification.to_be_bytes());
            chain.push((44, body));
        }
        let kinds: Vec<u8> = chain
            .iter()
            .map(|(kind, _)| *kind)
            .chain([self.payload.protocol(false)])
            .collect();
        let mut rest = Vec::new();
        for (at, (kind, body)) in chain.iter().enumerate() {
            let length = (body.len() + 2).next_multiple_of(8);
            let units = match kind {
                44 => 0,
                51 => length / 4 - 2,
                _ => length / 8 - 1,
            };
            let start = rest.len();
            rest.extend([kinds[at + 1], units as u8]);
            rest.extend(body);
            rest.resize(start + length, 0);
        }
        rest.extend(self.payload.bytes());
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(u16::try_from(rest.len()).unwrap_or(u16::MAX).to_be_bytes());
        packet.extend([kinds[0], self.hop_limit]);
        packet.extend(source);
        packet.extend(destination);
        packet.extend(rest);
        packet
    }
}

fn six(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The Internet checksum (RFC 1071).
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Any frame.
pub fn ethernet(source: Mac, destination: Mac, ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = destination.octets.to_vec();
    frame.extend(source.octets);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(body);
    frame
}

/// An ARP frame: `operation` 1 asks, 2 answers.
pub fn arp(source: Mac, operation: u16, sender: (Mac, [u8; 4]), target: [u8; 4]) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4];
    body.extend(operation.to_be_bytes());
    body.extend(sender.0.octets);
    body.extend(sender.1);
    body.extend([0; 6]);
    body.extend(target);
    ethernet(source, Mac { octets: [0xff; 6] }, 0x0806, &body)
}

/// Body of a neighbour solicitation or advertisement: what follows the first eight bytes.
pub fn neighbour_body(target: [u8; 16], option: Option<(u8, Mac)>) -> Vec<u8> {
    let mut body = target.to_vec();
    if let Some((kind, mac)) = option {
        body.extend([kind, 1]);
        body.extend(mac.octets);
    }
    body
}
