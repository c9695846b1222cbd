//! The packet that an ICMP error quotes: its IP header and eight bytes of what follows (RFC 792, RFC 4443).

use super::transport::{ICMP, ICMPV6, SCTP, TCP, UDP};
use super::{Bytes, Content, Packet, Query, Window, icmp};
use crate::abi::Reason;

const FRAGMENT_OFFSET: u16 = 0x1fff;
const FRAGMENT: u8 = 44;

#[inline(always)]
pub(super) fn parse_v4<B: Bytes>(bytes: &B, at: u32, packet: &mut Packet) -> Result<(), Reason> {
    let Some(header) = bytes.window::<20>(at) else {
        return Err(Reason::Truncated);
    };
    let header_length = ((header.byte(0) & 0xf) as u32) << 2;
    if header.byte(0) >> 4 != 4 || header_length < 20 || header.be16(6) & FRAGMENT_OFFSET != 0 {
        return Err(Reason::UnrelatedError);
    }
    packet.inner.protocol = header.byte(9);
    packet.inner.source = header.address_v4(12);
    packet.inner.destination = header.address_v4(16);
    ports(bytes, at + header_length, packet)
}

#[inline(always)]
pub(super) fn parse_v6<B: Bytes>(bytes: &B, at: u32, packet: &mut Packet) -> Result<(), Reason> {
    let Some(header) = bytes.window::<40>(at) else {
        return Err(Reason::Truncated);
    };
    if header.byte(0) >> 4 != 6 {
        return Err(Reason::UnrelatedError);
    }
    packet.inner.source = header.address_v6(8);
    packet.inner.destination = header.address_v6(24);
    if packet.inner.source.is_v4() || packet.inner.destination.is_v4() {
        return Err(Reason::UnrelatedError);
    }
    packet.inner.protocol = header.byte(6);
    let mut start = at + 40;
    // A quoted first fragment is ordinary (packet too big); longer chains in a quotation are not worth the risk.
    if header.byte(6) == FRAGMENT {
        let Some(fragment) = bytes.window::<8>(start) else {
            return Err(Reason::Truncated);
        };
        if fragment.be16(2) & 0xfff8 != 0 {
            return Err(Reason::UnrelatedError);
        }
        packet.inner.protocol = fragment.byte(0);
        start += 8;
    }
    ports(bytes, start, packet)
}

#[inline(always)]
fn ports<B: Bytes>(bytes: &B, at: u32, packet: &mut Packet) -> Result<(), Reason> {
    packet.content = Content::Error;
    packet.inner.query = Query::None;
    let Some(header) = bytes.window::<8>(at) else {
        return Err(Reason::Truncated);
    };
    let is_v4 = packet.inner.source.is_v4();
    match packet.inner.protocol {
        TCP | UDP | SCTP => {
            packet.inner.source_port = header.be16(0);
            packet.inner.destination_port = header.be16(2);
        }
        ICMP if is_v4 => return icmp::inner_query(&header, is_v4, packet),
        ICMPV6 if !is_v4 => return icmp::inner_query(&header, is_v4, packet),
        _ => {
            packet.inner.source_port = 0;
            packet.inner.destination_port = 0;
        }
    }
    Ok(())
}
