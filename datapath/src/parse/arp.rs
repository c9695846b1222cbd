//! ARP (RFC 826): IPv4 over Ethernet and nothing else. It passes without policy, so nothing may follow it but padding.

use super::{Bytes, Content, Packet, SHORTEST_FRAME, Window};
use crate::abi::Reason;

const HARDWARE_AND_PROTOCOL: u32 = 0x0001_0800;
const LENGTHS: u16 = 0x0604;

#[inline(always)]
pub(super) fn parse<B: Bytes>(bytes: &B, offset: u32, packet: &mut Packet) -> Result<(), Reason> {
    let Some(header) = bytes.window::<28>(offset) else {
        return Err(Reason::Truncated);
    };
    let operation = header.be16(6);
    if header.be32(0) != HARDWARE_AND_PROTOCOL
        || header.be16(4) != LENGTHS
        || operation == 0
        || operation > 2
        || packet.length > SHORTEST_FRAME
    {
        return Err(Reason::ArpHeader);
    }
    packet.content = Content::Arp;
    packet.link = header.mac(8);
    packet.tuple.source = header.address_v4(14);
    packet.tuple.destination = header.address_v4(24);
    packet.tuple.protocol = 0;
    packet.tuple.destination_port = operation;
    Ok(())
}
