//! Fragments: the first one stores its ports, for its workload and hook; later ones take them.

use super::{Subject, budget};
use crate::abi::{FragmentKey, FragmentValue, Hook, Reason};
use crate::flow::tick;
use crate::parse::{Fragment, Packet, Query};
use crate::tables::{Budget, Inserted, Tables};

/// Gives a later fragment the ports of its first.
#[inline(always)]
pub(super) fn complete<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    packet: &mut Packet,
) -> Result<(), Reason> {
    if !matches!(packet.fragment, Fragment::Later) {
        return Ok(());
    }
    let Some(first) = tables.fragment(&fragment_key(hook, subject, packet)) else {
        return Err(Reason::FragmentUnknown);
    };
    packet.tuple.source_port = first.source_port;
    packet.tuple.destination_port = first.destination_port;
    packet.tuple.protocol = first.protocol;
    packet.tuple.query = Query::from_number(first.query);
    Ok(())
}

#[inline(always)]
pub(super) fn remember<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    packet: &Packet,
    now_ns: u64,
) -> Result<(), Reason> {
    let limit = subject.node.fragments;
    match budget::has_room(tables, subject, Budget::Fragments, limit) {
        Some(true) => {}
        Some(false) => return Err(Reason::FragmentBudget),
        None => return Err(Reason::Internal),
    }
    let value = FragmentValue {
        source_port: packet.tuple.source_port,
        destination_port: packet.tuple.destination_port,
        seen: tick(now_ns),
        protocol: packet.tuple.protocol,
        query: packet.tuple.query as u8,
        reserved: [0; 2],
    };
    let key = fragment_key(hook, subject, packet);
    // Identifications come round again: the entry then has to mean the new datagram. Whoever takes one out gives back,
    // and whoever puts one in pays, so the sum is right whatever other processors do meanwhile.
    let mut attempt = 0;
    while attempt < 2 {
        match tables.insert_fragment(&key, &value) {
            Inserted::New => {
                tables.charge(subject.slot, Budget::Fragments);
                return Ok(());
            }
            Inserted::Full => return Err(Reason::FragmentBudget),
            Inserted::Present if attempt == 0 => {
                if tables.remove_fragment(&key) {
                    tables.release(subject.slot, Budget::Fragments);
                }
            }
            // Another processor was faster with a first fragment of the same name.
            Inserted::Present => {}
        }
        attempt += 1;
    }
    Ok(())
}

#[inline(always)]
fn fragment_key(hook: Hook, subject: &Subject<'_>, packet: &Packet) -> FragmentKey {
    FragmentKey {
        source: packet.tuple.source,
        destination: packet.tuple.destination,
        identification: packet.identification,
        owner: subject.slot.0 << 16 | (hook as u32) << 8 | packet.fragment_protocol as u32,
    }
}
