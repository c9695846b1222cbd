//! ARP (RFC 826): IPv4 over Ethernet and nothing else.

use super::{Bytes, Content, Packet, be16, be32, wire32};
use crate::abi::{Address, Reason};

const HARDWARE_AND_PROTOCOL: u32 = 0x0001_0800;
const LENGTHS: u16 = 0x0604;

#[inline(always)]
pub(super) fn parse<B: Bytes>(bytes: &B, offset: u32, packet: &mut Packet) -> Result<(), Reason> {
    let Some(header) = bytes.window::<28>(offset) else {
        return Err(Reason::Truncated);
    };
    let operation = be16(header, 6);
    if be32(header, 0) != HARDWARE_AND_PROTOCOL
        || be16(header, 4) != LENGTHS
        || operation == 0
        || operation > 2
    {
        return Err(Reason::ArpHeader);
    }
    packet.content = Content::Arp;
    packet.link = (be32(header, 8) as u64) << 16 | be16(header, 12) as u64;
    packet.tuple.source = Address::from_wire_v4(wire32(header, 14));
    packet.tuple.destination = Address::from_wire_v4(wire32(header, 24));
    packet.tuple.protocol = 0;
    packet.tuple.source_port = 0;
    packet.tuple.destination_port = operation;
    Ok(())
}
