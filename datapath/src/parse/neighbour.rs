//! Neighbour discovery (RFC 4861): solicitations and advertisements of neighbours and routers. They pass without policy,
//! so they carry what they need and nothing else.

use super::{Bytes, Content, Fragment, Packet, SHORTEST_FRAME, Window};
use crate::abi::Reason;

const OPTION_SOURCE_LINK: u8 = 1;
const OPTION_TARGET_LINK: u8 = 2;
/// Of duplicate address detection (RFC 7527).
const OPTION_NONCE: u8 = 14;
const OPTIONS_LIMIT: u32 = 4;

#[inline(always)]
pub(super) fn parse<B: Bytes>(
    bytes: &B,
    at: u32,
    payload: u32,
    kind: u8,
    code: u8,
    packet: &mut Packet,
) -> Result<(), Reason> {
    // Hop limit 255 proves that nobody forwarded it; fragments of it are forbidden (RFC 6980).
    if packet.hop_limit != 255 || code != 0 || !matches!(packet.fragment, Fragment::Whole) {
        return Err(Reason::NeighbourHeader);
    }
    let fixed = match kind {
        133 => {
            packet.content = Content::RouterSolicitation;
            8
        }
        134 => {
            // Only its being one matters.
            packet.content = Content::RouterAdvertisement;
            return Ok(());
        }
        135 => {
            packet.content = Content::Solicitation;
            24
        }
        _ => {
            packet.content = Content::Advertisement;
            24
        }
    };
    if payload < fixed {
        return Err(Reason::Truncated);
    }
    if fixed == 24 {
        let Some(target) = bytes.window::<16>(at + 8) else {
            return Err(Reason::Truncated);
        };
        packet.target = target.address_v6(0);
        if packet.target.is_v4() {
            return Err(Reason::NeighbourHeader);
        }
    }
    if packet.length > SHORTEST_FRAME && packet.length > at + payload {
        return Err(Reason::NeighbourHeader);
    }
    options(bytes, at + fixed, at + payload, packet)
}

/// Remembers the link-layer address; two that differ are a lie in any case.
#[inline(always)]
fn options<B: Bytes>(bytes: &B, start: u32, end: u32, packet: &mut Packet) -> Result<(), Reason> {
    let mut at = start;
    let mut count = 0;
    while count < OPTIONS_LIMIT {
        count += 1;
        if at >= end {
            return Ok(());
        }
        let Some(option) = bytes.window::<8>(at) else {
            return Err(Reason::Truncated);
        };
        let length = (option.byte(1) as u32) << 3;
        if length == 0 || at + length > end {
            return Err(Reason::NeighbourHeader);
        }
        match option.byte(0) {
            OPTION_SOURCE_LINK | OPTION_TARGET_LINK => {
                let link = option.mac(2);
                if length != 8 || link == 0 || (packet.link != 0 && packet.link != link) {
                    return Err(Reason::NeighbourHeader);
                }
                packet.link = link;
            }
            OPTION_NONCE if length == 8 => {}
            _ => return Err(Reason::NeighbourHeader),
        }
        at += length;
    }
    if at >= end {
        Ok(())
    } else {
        Err(Reason::NeighbourHeader)
    }
}
