//! Ethernet frames by hand, for what no socket would send: forged senders, foreign neighbours, rogue routers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::endpoint::internet_checksum;
use super::{Family, Mac};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ICMPV6: u8 = 58;
const HOP_LIMIT_OF_ROUTED: u8 = 64;
/// Neighbour discovery must not have crossed a router (RFC 4861).
const HOP_LIMIT_OF_NEIGHBOURS: u8 = 255;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
const BROADCAST: Mac = Mac([0xff; 6]);

/// One end of a packet, as the frame claims it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Ethernet address.
    pub mac: Mac,
    /// Internet address.
    pub ip: IpAddr,
    /// TCP or UDP port.
    pub port: u16,
}

/// A UDP datagram. Both ends have to be of one family.
pub fn udp(from: End, to: End, payload: &[u8]) -> Vec<u8> {
    let mut datagram = ports(from, to);
    datagram.extend_from_slice(&length_of(payload.len() + 8).to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(payload);
    transport(from, to, PROTOCOL_UDP, datagram, 6)
}

/// A TCP segment without data. Both ends have to be of one family.
pub fn tcp(from: End, to: End, flags: u8) -> Vec<u8> {
    let mut segment = ports(from, to);
    let words_of_header = 5 << 4;
    segment.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, words_of_header, flags, 0xff, 0xff]);
    segment.extend_from_slice(&[0; 4]);
    transport(from, to, PROTOCOL_TCP, segment, 16)
}

/// Where the source port stands in a frame without options; the destination port follows.
pub const fn source_port_offset(family: Family) -> usize {
    match family {
        Family::V4 => 34,
        Family::V6 => 54,
    }
}

fn ports(from: End, to: End) -> Vec<u8> {
    [from.port.to_be_bytes(), to.port.to_be_bytes()].concat()
}

/// Fills in the checksum at `at` and puts the headers before it.
fn transport(from: End, to: End, protocol: u8, mut payload: Vec<u8>, at: usize) -> Vec<u8> {
    let sum = checksum(from.ip, to.ip, protocol, &payload);
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    match (from.ip, to.ip) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ethernet(
            from.mac,
            to.mac,
            ETHERTYPE_IPV4,
            &ipv4(source, destination, protocol, &payload),
        ),
        (source, destination) => {
            let (source, destination) = (as_v6(source), as_v6(destination));
            let packet = ipv6(source, destination, protocol, HOP_LIMIT_OF_ROUTED, &payload);
            ethernet(from.mac, to.mac, ETHERTYPE_IPV6, &packet)
        }
    }
}

/// "`claimed` is at `mac`", told to everybody without having been asked (RFC 826).
pub fn gratuitous_arp(sender: Mac, mac: Mac, claimed: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut arp = vec![0, 1, 0x08, 0, 6, 4, 0, 1];
    arp.extend_from_slice(&mac.0);
    arp.extend_from_slice(&claimed.octets());
    arp.extend_from_slice(&[0; 6]);
    arp.extend_from_slice(&to.octets());
    ethernet(sender, BROADCAST, ETHERTYPE_ARP, &arp)
}

/// "`claimed` is at `mac`", overriding what is known (RFC 4861, 4.4).
pub fn neighbour_advertisement(
    sender: Mac,
    from: Ipv6Addr,
    mac: Mac,
    claimed: Ipv6Addr,
    to: (Mac, Ipv6Addr),
) -> Vec<u8> {
    let override_and_solicited = 0x60;
    let mut message = vec![136, 0, 0, 0, override_and_solicited, 0, 0, 0];
    message.extend_from_slice(&claimed.octets());
    message.extend_from_slice(&[2, 1]);
    message.extend_from_slice(&mac.0);
    icmpv6_of_neighbours(sender, from, to, message)
}

/// "I am your router, and these are your addresses" (RFC 4861, 4.2). The prefix is a /64.
pub fn router_advertisement(sender: Mac, from: Ipv6Addr, prefix: Ipv6Addr) -> Vec<u8> {
    let lifetime_seconds: u16 = 1800;
    let mut message = vec![134, 0, 0, 0, 64, 0];
    message.extend_from_slice(&lifetime_seconds.to_be_bytes());
    message.extend_from_slice(&[0; 8]);
    let on_link_and_autonomous = 0xc0;
    message.extend_from_slice(&[3, 4, 64, on_link_and_autonomous]);
    message.extend_from_slice(&u32::from(lifetime_seconds).to_be_bytes());
    message.extend_from_slice(&u32::from(lifetime_seconds).to_be_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&prefix.octets());
    icmpv6_of_neighbours(sender, from, (ALL_NODES_MAC, ALL_NODES), message)
}

/// The link-local address that a machine makes of its Ethernet address (RFC 4291, appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

fn icmpv6_of_neighbours(
    sender: Mac,
    from: Ipv6Addr,
    to: (Mac, Ipv6Addr),
    mut message: Vec<u8>,
) -> Vec<u8> {
    let sum = checksum(from.into(), to.1.into(), PROTOCOL_ICMPV6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let packet = ipv6(
        from,
        to.1,
        PROTOCOL_ICMPV6,
        HOP_LIMIT_OF_NEIGHBOURS,
        &message,
    );
    ethernet(sender, to.0, ETHERTYPE_IPV6, &packet)
}

fn ethernet(from: Mac, to: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&to.0);
    frame.extend_from_slice(&from.0);
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&length_of(payload.len() + 20).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0x40, 0, HOP_LIMIT_OF_ROUTED, protocol, 0, 0]);
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    let sum = internet_checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&length_of(payload.len()).to_be_bytes());
    packet.extend_from_slice(&[next, hop_limit]);
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(payload);
    packet
}

/// Over the pseudo header of the addresses' family, too (RFC 9293, 3.1; RFC 8200, 8.1).
fn checksum(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> u16 {
    let mut covered = Vec::new();
    for address in [from, to] {
        match address {
            IpAddr::V4(v4) => covered.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => covered.extend_from_slice(&v6.octets()),
        }
    }
    // As sums, the shorter fields of IPv4 are the same.
    covered.extend_from_slice(&u32::from(length_of(payload.len())).to_be_bytes());
    covered.extend_from_slice(&[0, 0, 0, protocol]);
    covered.extend_from_slice(payload);
    internet_checksum(&covered)
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// The frames of the lab are short.
fn length_of(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}
