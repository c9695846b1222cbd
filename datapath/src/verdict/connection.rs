//! Flows: a packet belongs to one that was judged, opens one that policy allows, or is dropped.
//!
//! A flow is judged in the direction in which it was opened, and again after every change of revision, so that a
//! revocation cuts live connections and a grant disturbs none. Nothing passes because its reverse would be allowed.

use super::answer::{Question, recall};
use super::half::{Direction, Outcome, decide};
use super::{Subject, Trace, budget, entry, fragment, is_behind_bridge};
use crate::abi::{
    Address, ExpiryId, FlowJudged, FlowKey, FlowLife, FlowOwner, FlowState, Hook, Opener, Reason,
    WorkloadSlot,
};
use crate::flow::{advance, is_by_opener, is_stream, key, tick};
use crate::parse::{Content, FLAG_OPENER, Fragment, Packet, Query};
use crate::tables::{Budget, Flow, Tables};

/// Why a packet is put before policy.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Plan {
    /// It opens a flow.
    #[default]
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
    // What the verifier knows of its parts it would follow through everything below.
    tables.forget(&mut trace.key);
    let key = trace.key;
    let reason = connect(tables, hook, ingress_ifindex, subject, &key, packet, trace)?;
    if matches!(packet.fragment, Fragment::First) {
        fragment::remember(tables, hook, subject, packet, trace.now_ns)?;
    }
    Ok(reason)
}

/// An entry as it was read: parts that belong together.
pub(super) struct Found<F> {
    flow: F,
    pub(super) judged: FlowJudged,
    pub(super) life: FlowLife,
}

/// The flow with this key.
#[inline(always)]
pub(super) fn find<'a, T: Tables>(tables: &'a T, key: &FlowKey) -> Option<Found<T::Flow<'a>>> {
    let tag = key.tag();
    let flow = tables.flow(key)?;
    let judged = flow.judged();
    let life = flow.life();
    // The place may have been given to another flow before the first look, or between the two.
    if judged.has_tag(tag) && flow.judged().has_tag(tag) {
        Some(Found { flow, judged, life })
    } else {
        None
    }
}

#[inline(always)]
fn connect<T: Tables>(
    tables: &T,
    hook: Hook,
    ingress_ifindex: u32,
    subject: &Subject<'_>,
    key: &FlowKey,
    packet: &Packet,
    trace: &mut Trace,
) -> Result<Reason, Reason> {
    let protocol = packet.tuple.protocol;
    let now_ns = trace.now_ns;
    let opens = packet.flags & FLAG_OPENER != 0;
    // A flow towards a group is in the table, but its answers come from its members.
    if matches!(hook, Hook::ToWorkload) && key.peer.is_no_source() {
        return Err(Reason::SourceAddressInvalid);
    }
    let toward = match hook {
        Hook::FromWorkload => Direction::Egress,
        Hook::ToWorkload => Direction::Ingress,
    };
    // Whatever is known of its flow, what opens a stream is judged in its own direction first.
    let recalled = if opens && is_stream(protocol) {
        let own = subject.rules();
        let number = server_port(toward, key);
        let question = Question::new(subject, own, toward, &key.peer, protocol, number);
        if toward.rule_set(own).is_none() {
            None
        } else {
            recall(tables, hook, &question)
        }
    } else {
        None
    };
    if let Some(answer) = recalled
        && !subject.is_pending()
        && !(matches!(hook, Hook::ToWorkload) && subject.own(&key.peer).is_some())
        && entry::open_at_once(tables, hook, subject, packet, key, toward, answer, trace)
    {
        return Ok(Reason::Opened);
    }
    let found = find(tables, key);
    let (plan, direction) = if let Some(found) = &found {
        let opener = found.life.opener();
        let by_host = opener == Opener::Host;
        if subject.is_pending() && !(by_host && matches!(hook, Hook::FromWorkload)) {
            return Err(Reason::Pending);
        }
        if matches!(hook, Hook::ToWorkload) && found.life.flags() & FlowLife::PEER_IS_LOCAL != 0 {
            check_local_source(tables, ingress_ifindex, &key.peer)?;
        }
        if by_host && matches!(hook, Hook::ToWorkload) {
            // The host's own packets do not come this way: somebody else has its address, and by chance its ports.
            if opens {
                (Plan::Against, toward)
            } else {
                plan_for_unknown(tables, hook, subject, packet, key, now_ns)?
            }
        } else if opens && is_stream(protocol) && !is_by_opener(hook, opener) {
            (Plan::Against, toward)
        } else if by_host || is_in_force(tables, subject, found.judged, now_ns) {
            pass(hook, found, found.life, packet, now_ns, trace);
            return Ok(Reason::Established);
        } else if opener == Opener::Workload {
            (Plan::Again, Direction::Egress)
        } else {
            (Plan::Again, Direction::Ingress)
        }
    } else if subject.is_pending() {
        return Err(Reason::Pending);
    } else if matches!(hook, Hook::ToWorkload) && subject.own(&key.peer).is_some() {
        return to_self(tables, hook, ingress_ifindex, subject);
    } else {
        plan_for_unknown(tables, hook, subject, packet, key, now_ns)?
    };
    trace.plan = plan;
    trace.direction = direction;
    tables.forget(trace);
    // Nobody knows who opened a connection that is older than the programs.
    let both_ways = match (trace.plan, &found) {
        (Plan::Adopt, _) => true,
        (Plan::Again, Some(found)) => found.life.flags() & FlowLife::ADOPTED != 0,
        _ => false,
    };
    let mut attempt = 0;
    while attempt < 2 {
        trace.server_port = server_port(trace.direction, key);
        let verdict = match recalled {
            Some(answer) if attempt == 0 => Ok(answer.tell(tables, trace)),
            Some(_) | None => decide(
                tables,
                hook,
                subject,
                trace.direction,
                &key.peer,
                protocol,
                trace.server_port,
                trace,
            ),
        };
        trace.outcome = match verdict {
            Ok(outcome) => outcome,
            Err(reason) => Outcome {
                denied: reason as u8,
                ..Outcome::default()
            },
        };
        tables.forget(trace);
        attempt += 1;
        if both_ways {
            trace.direction = trace.direction.reversed();
            if trace.outcome.denied != 0 {
                break;
            }
            if attempt == 1 {
                trace.earlier = trace.outcome;
            } else {
                trace.outcome = trace.outcome.and(trace.earlier);
            }
        } else if trace.outcome.denied != 0
            && attempt == 1
            && may_be_an_answer(tables, hook, subject, protocol, trace)
        {
            trace.plan = Plan::Unremembered;
            trace.direction = Direction::Ingress;
        } else {
            break;
        }
    }
    let (plan, direction) = (trace.plan, trace.direction);
    let allowed = trace.outcome;
    if let Some(reason) = denied(allowed.denied) {
        if let Some(found) = &found
            && plan == Plan::Again
        {
            refuse(found, now_ns, trace);
        }
        return Err(reason);
    }
    if matches!(hook, Hook::ToWorkload) && allowed.peer_is_local {
        check_local_source(tables, ingress_ifindex, &key.peer)?;
    }
    if let Some(found) = &found {
        let life = found.life;
        if plan == Plan::Again {
            let now = FlowJudged::new(subject.generation, allowed.expiry, key.tag());
            // Lost races are fine: somebody else has judged it by this revision or a newer one.
            found.flow.restamp(found.judged, now);
            let flags = allowed.flags() | life.flags() & FlowLife::ADOPTED;
            pass(hook, found, life.with_flags(flags), packet, now_ns, trace);
            return Ok(Reason::Rejudged);
        }
        let is_over = matches!(
            life.state(),
            FlowState::Closing | FlowState::Closed | FlowState::Denied
        );
        if plan != Plan::Against || (life.opener() == Opener::Host && !is_over) {
            return Ok(Reason::Unremembered);
        }
        if !is_over {
            // Both ends open at once: the flow stays its first opener's.
            pass(hook, found, life, packet, now_ns, trace);
            return Ok(Reason::Opened);
        }
        entry::remove(tables, subject, key, life.opener());
    } else if plan == Plan::Unremembered {
        return Ok(Reason::Unremembered);
    }
    let opened = entry::open(
        tables, hook, subject, packet, key, direction, allowed, now_ns,
    )?;
    Ok(if both_ways { Reason::Adopted } else { opened })
}

/// A flow that is denied when it is judged again stays, and so remembers who opened it: else its ends, who go on, might pass
/// for a flow of the other direction. A packet from the middle of a stream may pass without an entry where a budget is
/// used up, a datagram says nothing about who asked, and the next answer of the host would open a flow that is never judged.
#[inline(always)]
fn refuse<F: Flow>(found: &Found<F>, now_ns: u64, trace: &mut Trace) {
    let life = found.life;
    trace.closed = life.state() != FlowState::Denied;
    let denied = life.advanced(FlowState::Denied, life.finished(), tick(now_ns));
    if denied != life {
        found.flow.set_life(life, denied);
    }
}

/// From a workload to its own address. No flow is made of it, so it is only asked where there is none. What comes *to* a
/// workload from its own address must have left it.
#[inline(always)]
fn to_self<T: Tables>(
    tables: &T,
    hook: Hook,
    ingress_ifindex: u32,
    subject: &Subject<'_>,
) -> Result<Reason, Reason> {
    let came_from_itself = matches!(hook, Hook::FromWorkload)
        || ingress_ifindex == subject.workload.ifindex
        || is_behind_bridge(tables, ingress_ifindex);
    if came_from_itself {
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
    if packet.flags & FLAG_OPENER != 0 {
        return Ok(match hook {
            Hook::FromWorkload => (Plan::Open, Direction::Egress),
            Hook::ToWorkload if is_flooded(tables, subject) => {
                (Plan::Unremembered, Direction::Ingress)
            }
            Hook::ToWorkload => (Plan::Open, Direction::Ingress),
        });
    }
    if is_flooded(tables, subject) {
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

/// Whether a refused packet may be an answer after all. Datagrams say nothing about who asked, and the question may not have
/// been remembered. What opens a stream says who does.
#[inline(always)]
fn may_be_an_answer<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    protocol: u8,
    trace: &Trace,
) -> bool {
    matches!(hook, Hook::FromWorkload)
        && trace.plan == Plan::Open
        && !is_stream(protocol)
        && is_flooded(tables, subject)
}

/// Whether what is opened to the workload can no longer be remembered.
#[inline(always)]
fn is_flooded<T: Tables>(tables: &T, subject: &Subject<'_>) -> bool {
    let limit = subject.node.flows_to_workload;
    budget::has_room(tables, subject, Budget::ToWorkload, limit) == Some(false)
}

/// The reason of a denial by policy, if it is one.
#[inline(always)]
pub(super) const fn denied(number: u8) -> Option<Reason> {
    const NO_RULE_SET: u8 = Reason::NoRuleSet as u8;
    const NO_CLASS: u8 = Reason::NoClass as u8;
    const NO_DECISION: u8 = Reason::NoDecision as u8;
    const EGRESS_DENIED: u8 = Reason::EgressDenied as u8;
    const INGRESS_DENIED: u8 = Reason::IngressDenied as u8;
    Some(match number {
        0 => return None,
        NO_RULE_SET => Reason::NoRuleSet,
        NO_CLASS => Reason::NoClass,
        NO_DECISION => Reason::NoDecision,
        EGRESS_DENIED => Reason::EgressDenied,
        INGRESS_DENIED => Reason::IngressDenied,
        _ => Reason::Internal,
    })
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
    if let Some(found) = find(tables, &key) {
        pass(Hook::ToWorkload, &found, found.life, packet, now_ns, trace);
        return Ok(Reason::HostOriginated);
    }
    let opens = packet.flags & FLAG_OPENER != 0 && !matches!(packet.tuple.query, Query::Reply);
    let limit = subject.node.flows_by_host;
    if opens && budget::has_room(tables, subject, Budget::ByHost, limit) == Some(true) {
        let life = FlowLife::new(Opener::Host, FlowState::New, 0, tick(now_ns));
        // A full table costs the answer, never the packet itself.
        let _ = entry::insert(
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

/// Counts a packet that passes, and moves its flow on from `life`.
#[inline(always)]
fn pass<F: Flow>(
    hook: Hook,
    found: &Found<F>,
    life: FlowLife,
    packet: &Packet,
    now_ns: u64,
    trace: &mut Trace,
) {
    found.flow.count(hook, packet.length);
    let next = advance(
        life,
        hook,
        packet.flags,
        packet.tuple.protocol,
        tick(now_ns),
    );
    if next != found.life {
        trace.closed = next.state() == FlowState::Closed && life.state() != FlowState::Closed;
        found.flow.set_life(found.life, next);
    }
    trace.intended = life.flags() & FlowLife::AUDITED == 0;
}

/// Whether a judgement holds: made by this revision (or a newer one), and before its deadline.
#[inline(always)]
pub(super) fn is_in_force<T: Tables>(
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
pub(super) fn check_local_source<T: Tables>(
    tables: &T,
    ingress_ifindex: u32,
    source: &Address,
) -> Result<(), Reason> {
    let Some(sender) = tables.interface(ingress_ifindex) else {
        return Err(Reason::LocalSourceSpoofed);
    };
    if sender == WorkloadSlot::BRIDGE {
        return Ok(());
    }
    let Some(value) = tables.peer(source).and_then(|slot| tables.class(slot)) else {
        return Err(Reason::LocalSourceSpoofed);
    };
    if value.address == *source && value.local_workload() == Some(sender) {
        Ok(())
    } else {
        Err(Reason::LocalSourceSpoofed)
    }
}

/// Port of the end that did not open the flow.
#[inline(always)]
pub(super) fn server_port(direction: Direction, key: &FlowKey) -> u16 {
    match direction {
        Direction::Egress => key.peer_port,
        Direction::Ingress => key.local_port,
    }
}
