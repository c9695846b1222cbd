//! Entries of the flow table: put in where policy allows and the budget has room, and taken out.

use super::answer::Answer;
use super::connection::server_port;
use super::half::{Direction, Outcome};
use super::{Subject, Trace, budget};
use crate::abi::{
    ExpiryId, FlowJudged, FlowKey, FlowLife, FlowState, FlowTraffic, FlowValue, Hook, Opener,
    Reason,
};
use crate::flow::tick;
use crate::parse::Packet;
use crate::tables::{Budget, Inserted, Tables};

/// What opens a stream is mostly the first of its flow. Where policy has said lately that it may, the entry is put in without a
/// look at the table first: whether there is one already, that finds out too. Says whether the flow is new and all is done.
#[inline(always)]
#[allow(
    clippy::too_many_arguments,
    reason = "all of it is what an entry is made of, and the stack has no room for more structs"
)]
pub(super) fn open_at_once<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    packet: &Packet,
    key: &FlowKey,
    direction: Direction,
    answer: &Answer,
    trace: &mut Trace,
) -> bool {
    if !answer.allows() || answer.peer_is_local(tables) {
        return false;
    }
    let (opener, budget, limit) = budget::of(subject, direction);
    if budget::has_room(tables, subject, budget, limit) != Some(true) {
        return false;
    }
    let life = FlowLife::new(opener, FlowState::New, answer.flags(), tick(trace.now_ns));
    let none = ExpiryId::NONE;
    let inserted = insert(tables, hook, subject, packet, key, life, none, budget);
    if inserted != Inserted::New {
        return false;
    }
    answer.tell(tables, trace);
    trace.server_port = server_port(direction, key);
    true
}

/// Remembers a flow that is allowed.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "as above")]
pub(super) fn open<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    packet: &Packet,
    key: &FlowKey,
    direction: Direction,
    allowed: Outcome,
    now_ns: u64,
) -> Result<Reason, Reason> {
    let (opener, budget, limit) = budget::of(subject, direction);
    match budget::has_room(tables, subject, budget, limit) {
        Some(true) => {}
        Some(false) => {
            return match direction {
                Direction::Egress => Err(Reason::BudgetByWorkload),
                Direction::Ingress => Ok(Reason::Unremembered),
            };
        }
        None => return Err(Reason::Internal),
    }
    let state = if allowed.both_ways {
        FlowState::Established
    } else {
        FlowState::New
    };
    let life = FlowLife::new(opener, state, allowed.flags(), tick(now_ns));
    let expiry = allowed.expiry;
    match insert(tables, hook, subject, packet, key, life, expiry, budget) {
        // Where another processor was faster, its packet is counted there, and this one in COUNTERS only.
        Inserted::New | Inserted::Present => Ok(Reason::Opened),
        Inserted::Full => Err(Reason::FlowTableFull),
    }
}

/// Puts an entry in, never over another, and pays for it.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "as above")]
pub(super) fn insert<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    packet: &Packet,
    key: &FlowKey,
    life: FlowLife,
    expiry: ExpiryId,
    budget: Budget,
) -> Inserted {
    let one = FlowTraffic(FlowTraffic::one(packet.length));
    let (sent, received) = match hook {
        Hook::FromWorkload => (one, FlowTraffic(0)),
        Hook::ToWorkload => (FlowTraffic(0), one),
    };
    let value = FlowValue {
        judged: FlowJudged::new(subject.generation, expiry, key.tag()),
        life,
        sent,
        received,
        padding: [0; 3],
    };
    let inserted = tables.insert_flow(key, &value);
    if inserted == Inserted::New {
        tables.charge(subject.slot, budget);
    }
    inserted
}

/// Takes a flow out, and gives back what it used.
#[inline(always)]
pub(super) fn remove<T: Tables>(
    tables: &T,
    subject: &Subject<'_>,
    key: &FlowKey,
    opener: Opener,
) -> bool {
    let removed = tables.remove_flow(key);
    if removed {
        let budget = match opener {
            Opener::Workload => Budget::ByWorkload,
            Opener::Peer => Budget::ToWorkload,
            Opener::Host => Budget::ByHost,
        };
        tables.release(subject.slot, budget);
    }
    removed
}
