//! ICMP errors: related to a flow by the packet that they quote.

use super::connection::{check_local_source, find, is_in_force};
use super::{Subject, Trace};
use crate::abi::{Address, FlowOwner, Hook, Opener, Reason};
use crate::flow::key;
use crate::parse::Packet;
use crate::tables::Tables;

/// An ICMP error passes when the packet that it quotes belongs to a flow in force. (While its flow waits to be judged
/// again it does not; the flow's next packet settles that.)
#[inline(always)]
pub(super) fn error<T: Tables>(
    tables: &T,
    hook: Hook,
    ingress_ifindex: u32,
    subject: &Subject<'_>,
    packet: &Packet,
    trace: &mut Trace,
) -> Result<Reason, Reason> {
    if matches!(hook, Hook::ToWorkload) {
        check_source(tables, ingress_ifindex, &packet.tuple.source)?;
    }
    let inner = &packet.inner;
    // The quoted packet went the other way.
    let (own, travelled) = match hook {
        // Else an error would be a way to reach whomever one likes.
        Hook::FromWorkload if inner.source != packet.tuple.destination => {
            return Err(Reason::UnrelatedError);
        }
        Hook::FromWorkload => (&inner.destination, Hook::ToWorkload),
        Hook::ToWorkload => (&inner.source, Hook::FromWorkload),
    };
    let Some(address) = subject.own(own) else {
        return Err(Reason::UnrelatedError);
    };
    let owner = FlowOwner::new(
        subject.slot,
        subject.workload.incarnation,
        address,
        inner.protocol,
    );
    let key = key(travelled, inner, owner);
    trace.key = key;
    trace.keyed = true;
    let Some(found) = find(tables, &key) else {
        return Err(Reason::UnrelatedError);
    };
    let by_host = found.life.opener() == Opener::Host;
    if subject.is_pending() && !by_host {
        return Err(Reason::Pending);
    }
    if by_host || is_in_force(tables, subject, found.judged, trace.now_ns) {
        Ok(Reason::Related)
    } else {
        Err(Reason::UnrelatedError)
    }
}

/// Routers report from any address, but not from one that nobody may send from, nor from another local workload's.
#[inline(always)]
fn check_source<T: Tables>(
    tables: &T,
    ingress_ifindex: u32,
    source: &Address,
) -> Result<(), Reason> {
    if source.is_no_source() {
        return Err(Reason::SourceAddressInvalid);
    }
    match tables.peer(source).and_then(|slot| tables.class(slot)) {
        Some(value) if value.address == *source && value.local_workload().is_some() => {
            check_local_source(tables, ingress_ifindex, source)
        }
        Some(_) | None => Ok(()),
    }
}
