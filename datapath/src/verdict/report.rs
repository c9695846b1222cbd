//! What observers get to know: sums of denials, and events at a bounded rate for each workload (I12).

use super::Trace;
use crate::abi::{
    EventKind, EventRecord, FlowOwner, Hook, LossIndex, Reason, SWITCH_REPORT_OPENED, TalkKey,
};
use crate::flow::key;
use crate::parse::Packet;
use crate::tables::Tables;

#[inline(always)]
pub(super) fn report<T: Tables>(
    tables: &T,
    hook: Hook,
    reason: u8,
    packet: &Packet,
    trace: &mut Trace,
) {
    // Nearly all packets.
    if reason == ESTABLISHED && !trace.closed {
        return;
    }
    if !trace.known {
        return;
    }
    let Some(node) = tables.node() else {
        return;
    };
    let passes = Reason::number_passes(reason);
    if !trace.keyed && !passes {
        // Dropped before it came to the flow table; told as if it had.
        let (foreign, protocol) = (FlowOwner::FOREIGN_ADDRESS, packet.tuple.protocol);
        let owner = FlowOwner::new(trace.slot, trace.incarnation, foreign, protocol);
        trace.key = key(hook, &packet.tuple, owner);
    }
    let kind = if !passes {
        talk(tables, hook, reason, packet, trace);
        if trace.closed {
            EventKind::Closed
        } else if trace.intended {
            EventKind::WouldAllow
        } else {
            EventKind::Denied
        }
    } else if matches!(reason, OPENED | ADOPTED) {
        if !trace.intended {
            EventKind::WouldDeny
        } else if node.switches & SWITCH_REPORT_OPENED != 0 {
            EventKind::Opened
        } else {
            return;
        }
    } else if trace.closed {
        EventKind::Closed
    } else {
        return;
    };
    if tables.charge_event(trace.slot, trace.now_ns >> 30) >= u64::from(node.events_per_tick) {
        tables.lose(LossIndex::EventRateLimited);
        return;
    }
    if !tables.event(&record(hook, reason, kind, packet, trace)) {
        tables.lose(LossIndex::EventRingFull);
    }
}

#[inline(always)]
fn talk<T: Tables>(tables: &T, hook: Hook, reason: u8, packet: &Packet, trace: &Trace) {
    let key = TalkKey {
        peer: trace.key.peer,
        slot: trace.slot,
        server_port: trace.server_port,
        protocol: packet.tuple.protocol,
        hook: hook as u8,
        reason,
        incarnation: trace.incarnation,
        intended: u16::from(trace.intended),
        reserved: 0,
    };
    tables.talk(&key, packet.length);
}

const ESTABLISHED: u8 = Reason::Established as u8;
const OPENED: u8 = Reason::Opened as u8;
const ADOPTED: u8 = Reason::Adopted as u8;

#[inline(always)]
fn record(hook: Hook, reason: u8, kind: EventKind, packet: &Packet, trace: &Trace) -> EventRecord {
    EventRecord {
        time_ns: trace.now_ns,
        generation: trace.generation,
        peer: trace.key.peer,
        local: match hook {
            Hook::FromWorkload => packet.tuple.source,
            Hook::ToWorkload => packet.tuple.destination,
        },
        slot: trace.slot,
        rule_set: trace.rule_set,
        class: trace.class,
        length: packet.length,
        local_port: trace.key.local_port,
        peer_port: trace.key.peer_port,
        protocol: packet.tuple.protocol,
        kind: kind as u8,
        reason,
        hook: hook as u8,
    }
}
