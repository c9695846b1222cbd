//! ICMP (RFC 792) and ICMPv6 (RFC 4443): queries become flows, errors show what they are about, the rest of IPv6's
//! link control goes to its own file.

use super::{Bytes, Content, FLAG_OPENER, Packet, Query, Window, inner, neighbour};
use crate::abi::Reason;

/// What a type is to us.
enum Kind {
    /// A request that has a reply.
    Request,
    /// The reply to this type of request.
    Reply(u8),
    /// Neither.
    Other,
}

#[inline(always)]
pub(super) fn parse_v4<B: Bytes>(
    bytes: &B,
    at: u32,
    payload: u32,
    packet: &mut Packet,
) -> Result<(), Reason> {
    let Some(header) = bytes.window::<8>(at) else {
        return Err(Reason::Truncated);
    };
    if payload < 8 {
        return Err(Reason::Truncated);
    }
    match header.byte(0) {
        3 | 4 | 11 | 12 => return inner::parse_v4(bytes, at + 8, packet),
        5 => packet.content = Content::Redirect,
        _ => query(&header, kind_v4(header.byte(0)), packet),
    }
    Ok(())
}

#[inline(always)]
pub(super) fn parse_v6<B: Bytes>(
    bytes: &B,
    at: u32,
    payload: u32,
    packet: &mut Packet,
) -> Result<(), Reason> {
    let Some(header) = bytes.window::<8>(at) else {
        return Err(Reason::Truncated);
    };
    if payload < 8 {
        return Err(Reason::Truncated);
    }
    match header.byte(0) {
        1..=4 => return inner::parse_v6(bytes, at + 8, packet),
        130 => packet.content = Content::ListenerQuery,
        131 | 132 | 143 => packet.content = Content::ListenerReport,
        133..=136 => {
            return neighbour::parse(bytes, at, payload, header.byte(0), header.byte(1), packet);
        }
        137 => packet.content = Content::Redirect,
        _ => query(&header, kind_v6(header.byte(0)), packet),
    }
    Ok(())
}

#[inline(always)]
fn kind_v4(kind: u8) -> Kind {
    match kind {
        8 | 13 | 15 | 17 => Kind::Request,
        0 => Kind::Reply(8),
        14 | 16 | 18 => Kind::Reply(kind - 1),
        _ => Kind::Other,
    }
}

#[inline(always)]
fn kind_v6(kind: u8) -> Kind {
    match kind {
        128 => Kind::Request,
        129 => Kind::Reply(128),
        _ => Kind::Other,
    }
}

/// Puts type, code and identifier where ports would be, the same for a request and its reply.
#[inline(always)]
fn query(header: &impl Window, kind: Kind, packet: &mut Packet) {
    let identifier = header.be16(4);
    let code = header.byte(1) as u16;
    match kind {
        Kind::Request => {
            packet.tuple.query = Query::Request;
            packet.tuple.source_port = identifier;
            packet.tuple.destination_port = (header.byte(0) as u16) << 8 | code;
            packet.flags = FLAG_OPENER;
        }
        Kind::Reply(request) => {
            packet.tuple.query = Query::Reply;
            packet.tuple.source_port = (request as u16) << 8 | code;
            packet.tuple.destination_port = identifier;
        }
        Kind::Other => {
            packet.tuple.query = Query::Request;
            packet.tuple.source_port = 0;
            packet.tuple.destination_port = (header.byte(0) as u16) << 8 | code;
            packet.flags = FLAG_OPENER;
        }
    }
}

/// The tuple of a query that lies inside an error.
#[inline(always)]
pub(super) fn inner_query(
    header: &impl Window,
    is_v4: bool,
    packet: &mut Packet,
) -> Result<(), Reason> {
    let kind = if is_v4 {
        kind_v4(header.byte(0))
    } else {
        kind_v6(header.byte(0))
    };
    let (identifier, code) = (header.be16(4), header.byte(1) as u16);
    match kind {
        Kind::Request => {
            packet.inner.query = Query::Request;
            packet.inner.source_port = identifier;
            packet.inner.destination_port = (header.byte(0) as u16) << 8 | code;
        }
        Kind::Reply(request) => {
            packet.inner.query = Query::Reply;
            packet.inner.source_port = (request as u16) << 8 | code;
            packet.inner.destination_port = identifier;
        }
        Kind::Other => return Err(Reason::UnrelatedError),
    }
    Ok(())
}
