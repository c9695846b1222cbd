//! What follows the IP header: TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260), ICMP, or a protocol without ports.

use super::{Bytes, FLAG_FIN, FLAG_OPENER, FLAG_RST, Fragment, Packet, Window, icmp};
use crate::abi::Reason;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;
pub(super) const SCTP: u8 = 132;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const SCTP_INIT: u8 = 1;

/// `payload` is what the IP header says lies from `at` on (of a first fragment: in this fragment).
#[inline(always)]
pub(super) fn parse<B: Bytes>(
    bytes: &B,
    at: u32,
    payload: u32,
    packet: &mut Packet,
) -> Result<(), Reason> {
    match packet.tuple.protocol {
        TCP => tcp(bytes, at, payload, packet),
        UDP => udp(bytes, at, payload, packet),
        SCTP => sctp(bytes, at, payload, packet),
        ICMP if packet.tuple.source.is_v4() => icmp::parse_v4(bytes, at, payload, packet),
        ICMPV6 if !packet.tuple.source.is_v4() => icmp::parse_v6(bytes, at, payload, packet),
        _ => {
            packet.flags = FLAG_OPENER;
            Ok(())
        }
    }
}

#[inline(always)]
fn tcp<B: Bytes>(bytes: &B, at: u32, payload: u32, packet: &mut Packet) -> Result<(), Reason> {
    let Some(header) = bytes.window::<14>(at) else {
        return Err(Reason::Truncated);
    };
    let header_length = ((header.byte(12) >> 4) as u32) << 2;
    if header_length < 20 || header_length > payload {
        return Err(Reason::TcpHeader);
    }
    let flags = header.byte(13);
    let (syn, fin, rst, ack) = (flags & SYN, flags & FIN, flags & RST, flags & ACK);
    if (syn != 0 && (fin | rst) != 0) || (syn | rst | ack) == 0 {
        return Err(Reason::TcpFlags);
    }
    packet.tuple.source_port = header.be16(0);
    packet.tuple.destination_port = header.be16(2);
    if syn != 0 && ack == 0 {
        packet.flags = FLAG_OPENER;
    } else {
        packet.flags =
            (if fin != 0 { FLAG_FIN } else { 0 }) | (if rst != 0 { FLAG_RST } else { 0 });
    }
    Ok(())
}

#[inline(always)]
fn udp<B: Bytes>(bytes: &B, at: u32, payload: u32, packet: &mut Packet) -> Result<(), Reason> {
    let Some(header) = bytes.window::<8>(at) else {
        return Err(Reason::Truncated);
    };
    let length = header.be16(4) as u32;
    let longest = match packet.fragment {
        Fragment::Whole => payload,
        // The header counts the whole datagram, of which this is the beginning.
        Fragment::First | Fragment::Later => 65_535,
    };
    if length < 8 || length > longest || payload < 8 {
        return Err(Reason::UdpHeader);
    }
    packet.tuple.source_port = header.be16(0);
    packet.tuple.destination_port = header.be16(2);
    packet.flags = FLAG_OPENER;
    Ok(())
}

#[inline(always)]
fn sctp<B: Bytes>(bytes: &B, at: u32, payload: u32, packet: &mut Packet) -> Result<(), Reason> {
    // Common header and the header of the first chunk.
    let Some(header) = bytes.window::<16>(at) else {
        return Err(Reason::Truncated);
    };
    if payload < 16 {
        return Err(Reason::Truncated);
    }
    packet.tuple.source_port = header.be16(0);
    packet.tuple.destination_port = header.be16(2);
    packet.flags = if header.byte(12) == SCTP_INIT {
        FLAG_OPENER
    } else {
        0
    };
    Ok(())
}
