//! Flows: a packet belongs to one that was judged, opens one that policy allows, or is dropped.
//!
//! A flow is judged in the direction in which it was opened, and again after every change of revision, so that a
//! revocation cuts live connections and a grant disturbs none. Nothing passes because its reverse would be allowed.

use super::half::{Allowed, Direction, decide};
use super::{Subject, Trace, is_behind_bridge};
use crate::abi::{
    ExpiryId, FlowJudged, FlowKey, FlowLife, FlowOwner, FlowState, FlowTraffic, FlowValue,
    FragmentKey, FragmentValue, Hook, NODE_ADDRESS_OWN, Opener, Reason,
};
use crate::flow::{advance, is_by_opener, is_stream, key, tick};
use crate::parse::{Content, FLAG_OPENER, Fragment, Packet, Query};
use crate::tables::{Budget, Flow, Inserted, Tables};

/// Why a packet is put before policy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// It opens a flow.
    Open,
    /// Its flow was judged by an older revision, or its deadline is over.
    Again,
    /// It opens, against the direction of a flow with the same ports.
    Against,
    /// Flows to this workload can no longer be remembered: each packet stands for itself.
    Unremembered,
    /// It may belong to a connection older than the programs.
    Adopt,
}

/// Judges a packet that belongs to a flow or opens one. `address` says which of the workload's own it uses.
#[inline(always)]
pub(super) fn judge<T: Tables>(
    tables: &T,
    hook: Hook,
    ingress_ifindex: u32,
    subject: &Subject<'_>,
    address: u8,
    packet: &Packet,
    trace: &mut Trace,
) -> Result<Reason, Reason> {
    let owner = FlowOwner::new(
        subject.slot,
        subject.workload.incarnation,
        address,
        packet.tuple.protocol,
    );
    trace.key = key(hook, &packet.tuple, owner);
    trace.keyed = true;
    let reason = connect(tables, hook, ingress_ifindex, subject, packet, trace)?;
    if matches!(packet.fragment, Fragment::First) {
        remember_fragment(tables, hook, subject, packet, trace.now_ns)?;
    }
    Ok(reason)
}

#[inline(always)]
fn connect<T: Tables>(
    tables: &T,
    hook: Hook,
    ingress_ifindex: u32,
    subject: &Subject<'_>,
    packet: &Packet,
    trace: &mut Trace,
) -> Result<Reason, Reason> {
    let key = trace.key;
    let protocol = packet.tuple.protocol;
    let tag = key.tag();
    let now_ns = trace.now_ns;
    let toward = match hook {
        Hook::FromWorkload => Direction::Egress,
        Hook::ToWorkload => Direction::Ingress,
    };
    let found = tables
        .flow(&key)
        .map(|flow| (flow.judged(), flow))
        .filter(|(judged, _)| judged.has_tag(tag));
    let (plan, direction) = if let Some((judged, flow)) = &found {
        let life = flow.life();
        let opener = life.opener();
        if opener != Opener::Host && subject.is_pending() {
            return Err(Reason::Pending);
        }
        if matches!(hook, Hook::ToWorkload) && life.flags() & FlowLife::PEER_IS_LOCAL != 0 {
            check_local_source(tables, ingress_ifindex, &key)?;
        }
        if packet.flags & FLAG_OPENER != 0 && is_stream(protocol) && !is_by_opener(hook, opener) {
            (Plan::Against, toward)
        } else if opener == Opener::Host || is_in_force(tables, subject, *judged, now_ns) {
            pass(tables, hook, flow, life, packet, now_ns, trace);
            return Ok(Reason::Established);
        } else {
            (
                Plan::Again,
                if opener == Opener::Workload {
                    Direction::Egress
                } else {
                    Direction::Ingress
                },
            )
        }
    } else if subject.is_pending() {
        return Err(Reason::Pending);
    } else if subject.own(&key.peer).is_some() {
        return to_self(tables, hook, ingress_ifindex, subject);
    } else {
        plan_for_unknown(tables, hook, subject, packet, &key, now_ns)?
    };
    // Nobody knows who opened a connection that is older than the programs.
    let both_ways = match (&plan, &found) {
        (Plan::Adopt, _) => true,
        (Plan::Again, Some((_, flow))) => flow.life().flags() & FlowLife::ADOPTED != 0,
        _ => false,
    };
    let mut attempt = (plan, direction);
    let mut earlier = None;
    let mut left = 2;
    let verdict = loop {
        let number = server_port(attempt.1, &key);
        trace.server_port = number;
        let verdict = decide(
            tables, subject, attempt.1, &key.peer, protocol, number, trace,
        );
        left -= 1;
        match (verdict, earlier) {
            (Ok(allowed), None) if both_ways && left > 0 => {
                earlier = Some(allowed);
                attempt.1 = attempt.1.reversed();
            }
            (Ok(allowed), None) => break Ok(allowed),
            (Ok(allowed), Some(earlier)) => break Ok(allowed.and(earlier)),
            (Err(reason), _) => match second_attempt(tables, hook, subject, attempt) {
                Some(next) if left > 0 => attempt = next,
                Some(_) | None => break Err(reason),
            },
        }
    };
    if both_ways {
        attempt.1 = direction;
    }
    let (plan, direction) = attempt;
    match (verdict, found) {
        (Ok(allowed), Some((judged, flow))) if plan == Plan::Again => {
            // Lost races are fine: somebody else has judged it by this revision or a newer one.
            flow.restamp(
                judged,
                FlowJudged::new(subject.generation, allowed.expiry, tag),
            );
            let life = flow.life();
            pass(tables, hook, &flow, life, packet, now_ns, trace);
            Ok(Reason::Rejudged)
        }
        (Ok(allowed), Some((_, flow))) => {
            let life = flow.life();
            if matches!(life.state(), FlowState::Closing | FlowState::Closed) {
                remove(tables, subject, &key, life.opener());
                return open(
                    tables,
                    hook,
                    ingress_ifindex,
                    subject,
                    packet,
                    &key,
                    direction,
                    allowed,
                    now_ns,
                );
            }
            // Both ends open at once: the flow stays its first opener's.
            pass(tables, hook, &flow, life, packet, now_ns, trace);
            Ok(Reason::Opened)
        }
        (Ok(allowed), None) => match plan {
            Plan::Unremembered => Ok(Reason::Unremembered),
            Plan::Open | Plan::Adopt | Plan::Again | Plan::Against => open(
                tables,
                hook,
                ingress_ifindex,
                subject,
                packet,
                &key,
                direction,
                allowed,
                now_ns,
            )
            .map(|reason| if both_ways { Reason::Adopted } else { reason }),
        },
        (Err(reason), Some((_, flow))) if plan == Plan::Again => {
            // The host may still be talking: an entry that is denied remembers who opened it, and so keeps it from
            // being taken for one in the other direction.
            if tables.node_address(&key.peer) & NODE_ADDRESS_OWN == 0 {
                trace.closed = remove(tables, subject, &key, flow.life().opener());
            }
            Err(reason)
        }
        (Err(reason), _) => Err(reason),
    }
}

/// From a workload to its own address. No flow is made of it, so it is only asked where there is none.
#[inline(always)]
fn to_self<T: Tables>(
    tables: &T,
    hook: Hook,
    ingress_ifindex: u32,
    subject: &Subject<'_>,
) -> Result<Reason, Reason> {
    let came_from_itself =
        ingress_ifindex == subject.workload.ifindex || is_behind_bridge(tables, ingress_ifindex);
    if matches!(hook, Hook::FromWorkload) || came_from_itself {
        Ok(Reason::ToSelf)
    } else {
        Err(Reason::LocalSourceSpoofed)
    }
}

/// A packet that belongs to no flow: may it open one, or is it one of the two exceptions?
#[inline(always)]
fn plan_for_unknown<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    packet: &Packet,
    key: &FlowKey,
    now_ns: u64,
) -> Result<(Plan, Direction), Reason> {
    if matches!(hook, Hook::ToWorkload) && key.peer.is_no_source() {
        return Err(Reason::SourceAddressInvalid);
    }
    if packet.flags & FLAG_OPENER != 0 {
        return Ok(match hook {
            Hook::FromWorkload => (Plan::Open, Direction::Egress),
            Hook::ToWorkload if to_workload_is_used_up(tables, subject) => {
                (Plan::Unremembered, Direction::Ingress)
            }
            Hook::ToWorkload => (Plan::Open, Direction::Ingress),
        });
    }
    if to_workload_is_used_up(tables, subject) {
        return Ok((Plan::Unremembered, Direction::Ingress));
    }
    if packet.tuple.protocol == 6 && now_ns < subject.node.adopt_until_ns {
        // Ports are chosen by whoever opens, so they prove nothing: both readings have to be allowed. The lower one is
        // more likely the server's, and only tells whose budget pays.
        let egress = key.peer_port < key.local_port;
        return Ok((
            Plan::Adopt,
            if egress {
                Direction::Egress
            } else {
                Direction::Ingress
            },
        ));
    }
    Err(Reason::NoFlow)
}

/// What else a refused packet may be.
#[inline(always)]
fn second_attempt<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    first: (Plan, Direction),
) -> Option<(Plan, Direction)> {
    match first {
        // Datagrams say nothing about who asked: it may be the answer to one that was not remembered.
        (Plan::Open, Direction::Egress)
            if matches!(hook, Hook::FromWorkload) && to_workload_is_used_up(tables, subject) =>
        {
            Some((Plan::Unremembered, Direction::Ingress))
        }
        _ => None,
    }
}

#[inline(always)]
fn to_workload_is_used_up<T: Tables>(tables: &T, subject: &Subject<'_>) -> bool {
    match tables.used(subject.slot, Budget::ToWorkload) {
        Some(used) => used >= u64::from(subject.node.flows_to_workload),
        None => false,
    }
}

/// Remembers a flow that is allowed.
#[inline(always)]
#[allow(
    clippy::too_many_arguments,
    reason = "all of it is what an entry is made of, and the stack has no room for more structs"
)]
fn open<T: Tables>(
    tables: &T,
    hook: Hook,
    ingress_ifindex: u32,
    subject: &Subject<'_>,
    packet: &Packet,
    key: &FlowKey,
    direction: Direction,
    allowed: Allowed,
    now_ns: u64,
) -> Result<Reason, Reason> {
    if allowed.peer_is_local && matches!(hook, Hook::ToWorkload) {
        check_local_source(tables, ingress_ifindex, key)?;
    }
    let (opener, budget, limit) = match direction {
        Direction::Egress => (
            Opener::Workload,
            Budget::ByWorkload,
            subject.node.flows_by_workload,
        ),
        Direction::Ingress => (
            Opener::Peer,
            Budget::ToWorkload,
            subject.node.flows_to_workload,
        ),
    };
    let Some(used) = tables.used(subject.slot, budget) else {
        return Err(Reason::Internal);
    };
    if used >= u64::from(limit) {
        return match direction {
            Direction::Egress => Err(Reason::BudgetByWorkload),
            Direction::Ingress => Ok(Reason::Unremembered),
        };
    }
    let flags = (if allowed.peer_is_local {
        FlowLife::PEER_IS_LOCAL
    } else {
        0
    }) | (if allowed.intended {
        0
    } else {
        FlowLife::AUDITED
    }) | (if allowed.both_ways {
        FlowLife::ADOPTED
    } else {
        0
    });
    let state = if allowed.both_ways {
        FlowState::Established
    } else {
        FlowState::New
    };
    insert(
        tables,
        hook,
        subject,
        packet,
        key,
        FlowLife::new(opener, state, flags, tick(now_ns)),
        allowed.expiry,
        budget,
    )
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "as above")]
fn insert<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    packet: &Packet,
    key: &FlowKey,
    life: FlowLife,
    expiry: ExpiryId,
    budget: Budget,
) -> Result<Reason, Reason> {
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
    };
    match tables.insert_flow(key, &value) {
        Inserted::New => {
            tables.charge(subject.slot, budget);
            Ok(Reason::Opened)
        }
        // Another processor was faster; its packet is counted there, this one in COUNTERS only.
        Inserted::Present => Ok(Reason::Opened),
        Inserted::Full => Err(Reason::FlowTableFull),
    }
}

/// What the node's own host sends passes, and its flow is remembered so that the answer passes too.
#[inline(always)]
pub(super) fn host<T: Tables>(
    tables: &T,
    subject: &Subject<'_>,
    address: u8,
    packet: &Packet,
    trace: &mut Trace,
) -> Result<Reason, Reason> {
    if matches!(packet.content, Content::Error) || matches!(packet.fragment, Fragment::Later) {
        return Ok(Reason::HostOriginated);
    }
    let owner = FlowOwner::new(
        subject.slot,
        subject.workload.incarnation,
        address,
        packet.tuple.protocol,
    );
    let key = key(Hook::ToWorkload, &packet.tuple, owner);
    trace.key = key;
    trace.keyed = true;
    trace.intended = true;
    let now_ns = trace.now_ns;
    if let Some(flow) = tables.flow(&key) {
        let life = flow.life();
        pass(tables, Hook::ToWorkload, &flow, life, packet, now_ns, trace);
        return Ok(Reason::HostOriginated);
    }
    let opens = packet.flags & FLAG_OPENER != 0 && !matches!(packet.tuple.query, Query::Reply);
    let within = match tables.used(subject.slot, Budget::ByHost) {
        Some(used) => used < u64::from(subject.node.flows_by_host),
        None => false,
    };
    if opens && within {
        let life = FlowLife::new(Opener::Host, FlowState::New, 0, tick(now_ns));
        // A full table costs the answer, never the packet itself.
        let _ = insert(
            tables,
            Hook::ToWorkload,
            subject,
            packet,
            &key,
            life,
            ExpiryId::NONE,
            Budget::ByHost,
        );
    }
    Ok(Reason::HostOriginated)
}

/// An ICMP error passes when the packet that it quotes belongs to a flow in force. (While its flow waits to be judged
/// again it does not; the flow's next packet settles that.)
#[inline(always)]
pub(super) fn error<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    packet: &Packet,
    trace: &mut Trace,
) -> Result<Reason, Reason> {
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
    let Some(flow) = tables.flow(&key) else {
        return Err(Reason::UnrelatedError);
    };
    let judged = flow.judged();
    if !judged.has_tag(key.tag()) {
        return Err(Reason::UnrelatedError);
    }
    let by_host = flow.life().opener() == Opener::Host;
    if subject.is_pending() && !by_host {
        return Err(Reason::Pending);
    }
    if by_host || is_in_force(tables, subject, judged, trace.now_ns) {
        Ok(Reason::Related)
    } else {
        Err(Reason::UnrelatedError)
    }
}

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
fn remember_fragment<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    packet: &Packet,
    now_ns: u64,
) -> Result<(), Reason> {
    let Some(used) = tables.used(subject.slot, Budget::Fragments) else {
        return Err(Reason::Internal);
    };
    if used >= u64::from(subject.node.fragments) {
        return Err(Reason::FragmentBudget);
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
    match tables.insert_fragment(&key, &value) {
        Inserted::New => tables.charge(subject.slot, Budget::Fragments),
        // Identifications come round again; the entry now means the new datagram.
        Inserted::Present => {
            let removed = tables.remove_fragment(&key);
            let inserted = tables.insert_fragment(&key, &value) == Inserted::New;
            if removed && !inserted {
                tables.release(subject.slot, Budget::Fragments);
            }
        }
        Inserted::Full => return Err(Reason::FragmentBudget),
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

/// Counts a packet that passes, and moves its flow on.
#[inline(always)]
fn pass<T: Tables>(
    tables: &T,
    hook: Hook,
    flow: &T::Flow<'_>,
    life: FlowLife,
    packet: &Packet,
    now_ns: u64,
    trace: &mut Trace,
) {
    let _ = tables;
    flow.count(hook, packet.length);
    let next = advance(
        life,
        hook,
        packet.flags,
        packet.tuple.protocol,
        tick(now_ns),
    );
    if next != life {
        trace.closed = next.state() == FlowState::Closed && life.state() != FlowState::Closed;
        flow.set_life(next);
    }
    trace.intended = life.flags() & FlowLife::AUDITED == 0;
}

/// Whether a judgement holds: made by this revision (or a newer one), and before its deadline.
#[inline(always)]
fn is_in_force<T: Tables>(
    tables: &T,
    subject: &Subject<'_>,
    judged: FlowJudged,
    now_ns: u64,
) -> bool {
    if judged.is_before(subject.generation) {
        return false;
    }
    let expiry = judged.expiry();
    expiry.is_none() || now_ns < tables.expiry(expiry).unwrap_or(0)
}

/// A packet with a local workload's source address has to come from that workload's interface.
#[inline(always)]
fn check_local_source<T: Tables>(
    tables: &T,
    ingress_ifindex: u32,
    key: &FlowKey,
) -> Result<(), Reason> {
    if is_behind_bridge(tables, ingress_ifindex) {
        return Ok(());
    }
    let Some(sender) = tables.interface(ingress_ifindex) else {
        return Err(Reason::LocalSourceSpoofed);
    };
    let Some(value) = tables.peer(&key.peer).and_then(|slot| tables.class(slot)) else {
        return Err(Reason::LocalSourceSpoofed);
    };
    if value.address == key.peer && value.local_workload() == Some(sender) {
        Ok(())
    } else {
        Err(Reason::LocalSourceSpoofed)
    }
}

#[inline(always)]
fn remove<T: Tables>(tables: &T, subject: &Subject<'_>, key: &FlowKey, opener: Opener) -> bool {
    let removed = tables.remove_flow(key);
    if removed {
        tables.release(
            subject.slot,
            match opener {
                Opener::Workload => Budget::ByWorkload,
                Opener::Peer => Budget::ToWorkload,
                Opener::Host => Budget::ByHost,
            },
        );
    }
    removed
}

/// Port of the end that did not open the flow.
#[inline(always)]
fn server_port(direction: Direction, key: &FlowKey) -> u16 {
    match direction {
        Direction::Egress => key.peer_port,
        Direction::Ingress => key.local_port,
    }
}
