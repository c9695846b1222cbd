//! IPv6 (RFC 8200) with its chain of extension headers.

use super::{Bytes, Fragment, Packet, Window, ipv4, transport};
use crate::abi::Reason;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;
const CHAIN_LIMIT: u32 = 6;

#[inline(always)]
pub(super) fn parse<B: Bytes>(bytes: &B, offset: u32, packet: &mut Packet) -> Result<(), Reason> {
    let Some(header) = bytes.window::<40>(offset) else {
        return Err(Reason::Truncated);
    };
    let payload = header.be16(4) as u32;
    // A jumbogram says 0: whoever may have to judge its length cannot.
    if header.byte(0) >> 4 != 6 || payload == 0 {
        return Err(Reason::Ipv6Header);
    }
    let end = offset + 40 + payload;
    if end > packet.length {
        return Err(Reason::Truncated);
    }
    packet.hop_limit = header.byte(7);
    packet.tuple.source = header.address_v6(8);
    packet.tuple.destination = header.address_v6(24);
    // On the wire a mapped address is nobody's; in the tables it would be an IPv4 address.
    if packet.tuple.source.is_v4() || packet.tuple.destination.is_v4() {
        return Err(Reason::Ipv6Header);
    }
    let at = chain(bytes, header.byte(6), offset + 40, end, packet)?;
    match packet.fragment {
        Fragment::Later => Ok(()),
        Fragment::Whole | Fragment::First => transport::parse(bytes, at, end - at, packet),
    }
}

/// Walks to the transport header and returns where it begins; its protocol is in `packet.tuple`.
#[inline(always)]
fn chain<B: Bytes>(
    bytes: &B,
    first: u8,
    start: u32,
    end: u32,
    packet: &mut Packet,
) -> Result<u32, Reason> {
    let mut next = first;
    let mut at = start;
    let mut count = 0;
    loop {
        match next {
            HOP_BY_HOP if count > 0 => return Err(Reason::ExtensionHeaders),
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS => {}
            MOBILITY | HOST_IDENTITY | SHIM6 => return Err(Reason::ExtensionHeaders),
            _ => break,
        }
        if count == CHAIN_LIMIT {
            return Err(Reason::ExtensionHeaders);
        }
        count += 1;
        let Some(header) = bytes.window::<8>(at) else {
            return Err(Reason::Truncated);
        };
        let kind = next;
        next = header.byte(0);
        let length = match kind {
            FRAGMENT => 8,
            AUTHENTICATION => ((header.byte(1) as u32) + 2) << 2,
            _ => ((header.byte(1) as u32) + 1) << 3,
        };
        // Segments left: the destination in the header is not where the packet will end.
        if kind == ROUTING && header.byte(3) != 0 {
            return Err(Reason::SourceRoute);
        }
        at += length;
        if at > end {
            return Err(Reason::Ipv6Header);
        }
        if kind == FRAGMENT {
            let field = header.be16(2);
            if field & 0xfff9 != 0 {
                if matches!(packet.fragment, Fragment::First) {
                    return Err(Reason::FragmentInvalid);
                }
                packet.identification = header.be32(4);
                packet.fragment_protocol = next;
                packet.fragment = ipv4::place((field >> 3) as u32, field & 1 != 0, end - at, next)?;
                if matches!(packet.fragment, Fragment::Later) {
                    break;
                }
            }
        }
    }
    packet.tuple.protocol = next;
    Ok(at)
}
