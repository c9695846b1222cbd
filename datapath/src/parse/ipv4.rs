//! IPv4 (RFC 791), options and fragments included.

use super::{Bytes, Fragment, Packet, Window, transport};
use crate::abi::Reason;

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;
const OPTION_END: u8 = 0;
const OPTION_NOTHING: u8 = 1;
const OPTION_LOOSE_SOURCE_ROUTE: u8 = 131;
const OPTION_STRICT_SOURCE_ROUTE: u8 = 137;
const OPTIONS_LIMIT: u32 = 12;
const TCP: u8 = 6;

#[inline(always)]
pub(super) fn parse<B: Bytes>(bytes: &B, offset: u32, packet: &mut Packet) -> Result<(), Reason> {
    let Some(header) = bytes.window::<20>(offset) else {
        return Err(Reason::Truncated);
    };
    let header_length = ((header.byte(0) & 0xf) as u32) << 2;
    let total_length = header.be16(2) as u32;
    if header.byte(0) >> 4 != 4 || header_length < 20 || total_length < header_length {
        return Err(Reason::Ipv4Header);
    }
    if offset + total_length > packet.length {
        return Err(Reason::Truncated);
    }
    let protocol = header.byte(9);
    packet.hop_limit = header.byte(8);
    packet.tuple.protocol = protocol;
    packet.tuple.source = header.address_v4(12);
    packet.tuple.destination = header.address_v4(16);
    if header_length > 20 {
        options(bytes, offset + 20, offset + header_length)?;
    }
    let payload = total_length - header_length;
    let fragment = header.be16(6);
    if fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0 {
        packet.identification = header.be16(4) as u32;
        packet.fragment_protocol = protocol;
        let position = (fragment & FRAGMENT_OFFSET) as u32;
        packet.fragment = place(position, fragment & MORE_FRAGMENTS != 0, payload, protocol)?;
        if position != 0 {
            return Ok(());
        }
    }
    transport::parse(bytes, offset + header_length, payload, packet)
}

/// Where a fragment belongs, if it can belong anywhere. `position` counts units of 8 bytes.
#[inline(always)]
pub(super) fn place(
    position: u32,
    more: bool,
    payload: u32,
    protocol: u8,
) -> Result<Fragment, Reason> {
    let beyond_the_end = position * 8 + payload > 65_535;
    let odd = more && payload & 7 != 0;
    let over_the_header = protocol == TCP && (position == 1 || position == 2);
    if beyond_the_end || odd || over_the_header || payload == 0 {
        return Err(Reason::FragmentInvalid);
    }
    Ok(if position == 0 {
        Fragment::First
    } else {
        Fragment::Later
    })
}

/// Walks the options: they have to be well formed, and none may change the route.
#[inline(always)]
fn options<B: Bytes>(bytes: &B, start: u32, end: u32) -> Result<(), Reason> {
    let mut at = start;
    let mut count = 0;
    while count < OPTIONS_LIMIT {
        count += 1;
        if at >= end {
            return Ok(());
        }
        let Some(kind) = bytes.window::<1>(at) else {
            return Err(Reason::Truncated);
        };
        match kind.byte(0) {
            OPTION_END => return Ok(()),
            OPTION_NOTHING => at += 1,
            OPTION_LOOSE_SOURCE_ROUTE | OPTION_STRICT_SOURCE_ROUTE => {
                return Err(Reason::SourceRoute);
            }
            _ => {
                let Some(length) = bytes.window::<1>(at + 1) else {
                    return Err(Reason::Truncated);
                };
                let length = length.byte(0) as u32;
                if length < 2 || at + length > end {
                    return Err(Reason::Ipv4Header);
                }
                at += length;
            }
        }
    }
    if at >= end {
        Ok(())
    } else {
        Err(Reason::Ipv4Header)
    }
}
