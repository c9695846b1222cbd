//! One decision function for both hooks (I3).
//!
//! [`run`] is the whole life of a packet: parse, judge, count, report. It returns a [`Reason`]; the program's entry
//! turns that into an action, and nothing else does (I4). Errors carry drop reasons, successes pass reasons.

mod answer;
mod budget;
mod connection;
mod entry;
mod fragment;
mod half;
mod link;
mod related;
mod report;
#[cfg(test)]
mod tests;

use crate::abi::{
    ADDRESSES_PER_FAMILY, Address, Class, FlowKey, FlowOwner, Generation, Hook, Lane,
    NODE_ADDRESS_OWN, NodeValue, Reason, RuleSet, WORKLOAD_MAY_ROUTE, WORKLOAD_PENDING,
    WorkloadLane, WorkloadSlot, WorkloadValue,
};
use crate::parse::{Bytes, Content, Packet, Tuple, parse};
use crate::tables::Tables;

pub use answer::{ANSWERS, Answer};

/// Where and how a packet came to the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which hook.
    pub hook: Hook,
    /// The interface that the hook is on.
    pub ifindex: u32,
    /// The interface that the node received the packet on; 0 if on none.
    pub ingress_ifindex: u32,
    /// Whether a socket of this node's host sent it.
    pub socket: Socket,
    /// Whether it carries a VLAN tag that the kernel has taken out of its bytes.
    pub tag: Tag,
}

/// Whether a VLAN tag lies beside the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// It does: the packet goes on with it.
    Some,
    /// It does not.
    None,
}

/// Whether the packet still belongs to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// It does.
    Some,
    /// It does not: it was received, or made by the kernel without one.
    None,
}

/// What a packet needs while it is judged. In the kernel it lies in a per-CPU value, because the stack is small.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Scratch {
    /// What the parser found.
    pub packet: Packet,
    /// What the judgement has to tell.
    pub trace: Trace,
}

/// What events and talks say about a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    /// The revision that judged.
    pub generation: Generation,
    /// When, in monotonic nanoseconds: the packet's only look at the clock.
    pub now_ns: u64,
    /// The flow as its workload sees it, if `keyed`.
    pub key: FlowKey,
    /// The rule set that decided.
    pub rule_set: RuleSet,
    /// The class it decided about.
    pub class: Class,
    /// The local workload.
    pub slot: WorkloadSlot,
    /// Port of the end that was addressed.
    pub server_port: u16,
    /// The slot's incarnation.
    pub incarnation: u8,
    /// Whether the workload is known: nothing is reported otherwise, only counted.
    pub known: bool,
    /// Whether the intended policy allows.
    pub intended: bool,
    /// A flow ended with this packet.
    pub closed: bool,
    /// Whether the packet came as far as the flow table.
    pub keyed: bool,
    /// Why, as a number of [`Reason`]; 0 while nothing is decided.
    pub reason: u8,
    /// Why the packet is put before policy.
    plan: connection::Plan,
    /// In which direction.
    direction: half::Direction,
    /// What policy said.
    outcome: half::Outcome,
    /// What it said of the other direction, where both count.
    earlier: half::Outcome,
}

/// The workload that the packet is judged for, and the revision it is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    slot: WorkloadSlot,
    workload: &'a WorkloadValue,
    node: &'a NodeValue,
    generation: Generation,
    lane: Lane,
}

impl Subject<'_> {
    #[inline(always)]
    fn is_pending(&self) -> bool {
        self.workload.flags & WORKLOAD_PENDING != 0
    }

    #[inline(always)]
    fn rules(&self) -> WorkloadLane {
        self.workload.lane(self.lane)
    }

    /// Which of the workload's own addresses this is.
    #[inline(always)]
    fn own(&self, address: &Address) -> Option<u8> {
        let is_v4 = address.is_v4();
        let own = if is_v4 {
            &self.workload.v4
        } else {
            &self.workload.v6
        };
        // An unused place must not match `::`.
        if *address == Address::UNSPECIFIED {
            return None;
        }
        let mut at = 0;
        while at < ADDRESSES_PER_FAMILY {
            if own[at] == *address {
                return Some(at as u8);
            }
            at += 1;
        }
        if !is_v4 && *address == Address::link_local_of_word(self.workload.mac_word()) {
            Some(FlowOwner::LINK_LOCAL)
        } else {
            None
        }
    }
}

/// As [`process`], for whoever wants the reason itself.
pub fn run<T: Tables, B: Bytes>(
    tables: &T,
    bytes: &B,
    arrival: &Arrival,
    scratch: &mut Scratch,
) -> Reason {
    Reason::from_number(process(tables, bytes, arrival, scratch)).unwrap_or(Reason::Internal)
}

/// Parses, judges, counts and reports one frame; returns the number of the [`Reason`].
///
/// From here on it is a number in memory, and so are plan and outcome further in: the verifier follows every path with
/// what it knows on it, so what it knows has to be little where paths meet again.
#[inline(always)]
pub fn process<T: Tables, B: Bytes>(
    tables: &T,
    bytes: &B,
    arrival: &Arrival,
    scratch: &mut Scratch,
) -> u8 {
    let Scratch { packet, trace } = scratch;
    trace.known = false;
    trace.intended = false;
    trace.closed = false;
    trace.keyed = false;
    trace.rule_set = RuleSet::NONE;
    trace.class = Class::NONE;
    let parsed = parse(bytes, packet);
    let verdict = match parsed {
        Ok(()) if matches!(arrival.tag, Tag::Some) => Err(Reason::Vlan),
        Ok(()) => judge(tables, arrival, packet, trace),
        Err(reason) => Err(reason),
    };
    let reason = match verdict {
        Ok(reason) | Err(reason) => reason,
    };
    trace.reason = reason as u8;
    tables.forget(trace);
    let reason = trace.reason;
    tables.count(arrival.hook, reason, packet.length);
    report::report(tables, arrival.hook, reason, packet, trace);
    reason
}

/// Judges one parsed packet.
#[inline(always)]
fn judge<T: Tables>(
    tables: &T,
    arrival: &Arrival,
    packet: &mut Packet,
    trace: &mut Trace,
) -> Result<Reason, Reason> {
    let Some(node) = tables.node() else {
        return Err(Reason::Internal);
    };
    let generation = node.read_generation();
    let Some(slot) = tables.own_interface(arrival.ifindex) else {
        return Err(Reason::NoInterface);
    };
    let Some(workload) = tables.workload(slot) else {
        return Err(Reason::NoWorkload);
    };
    if workload.ifindex != arrival.ifindex {
        return Err(Reason::NoWorkload);
    }
    let subject = Subject {
        slot,
        workload,
        node,
        generation,
        lane: generation.lane(),
    };
    trace.generation = generation;
    trace.slot = slot;
    trace.known = true;
    trace.incarnation = workload.incarnation;
    trace.server_port = packet.tuple.destination_port;
    trace.now_ns = tables.now_ns();
    match arrival.hook {
        Hook::FromWorkload => from_workload(tables, &subject, packet, trace),
        Hook::ToWorkload => to_workload(tables, arrival, &subject, packet, trace),
    }
}

#[inline(always)]
fn from_workload<T: Tables>(
    tables: &T,
    subject: &Subject<'_>,
    packet: &mut Packet,
    trace: &mut Trace,
) -> Result<Reason, Reason> {
    if packet.source_mac != subject.workload.mac_word() {
        return Err(Reason::SourceMacSpoofed);
    }
    if !matches!(packet.content, Content::Flow | Content::Error) {
        return link::from_workload(subject, packet);
    }
    let may_route = subject.workload.flags & WORKLOAD_MAY_ROUTE != 0;
    let address = match subject.own(&packet.tuple.source) {
        Some(address) => address,
        None if may_route => FlowOwner::FOREIGN_ADDRESS,
        None => return Err(Reason::SourceAddressSpoofed),
    };
    if matches!(packet.content, Content::Error) {
        return related::error(tables, Hook::FromWorkload, 0, subject, packet, trace);
    }
    if subject.own(&packet.tuple.destination).is_some() {
        return if subject.is_pending() {
            Err(Reason::Pending)
        } else {
            Ok(Reason::ToSelf)
        };
    }
    fragment::complete(tables, Hook::FromWorkload, subject, packet)?;
    // A group or broadcast reaches the nodes, too.
    let destination = &packet.tuple.destination;
    if !may_route
        && is_tunnel(&packet.tuple)
        && (destination.is_multicast() || tables.node_address(destination) != 0)
    {
        return Err(Reason::Tunnel);
    }
    connection::judge(
        tables,
        Hook::FromWorkload,
        0,
        subject,
        address,
        packet,
        trace,
    )
}

#[inline(always)]
fn to_workload<T: Tables>(
    tables: &T,
    arrival: &Arrival,
    subject: &Subject<'_>,
    packet: &mut Packet,
    trace: &mut Trace,
) -> Result<Reason, Reason> {
    let host = arrival.ingress_ifindex == 0
        && matches!(arrival.socket, Socket::Some)
        && tables.node_address(&packet.tuple.source) & NODE_ADDRESS_OWN != 0;
    if !matches!(packet.content, Content::Flow | Content::Error) {
        return link::to_workload(host, packet);
    }
    let may_route = subject.workload.flags & WORKLOAD_MAY_ROUTE != 0;
    let address = match subject.own(&packet.tuple.destination) {
        Some(address) => address,
        None if may_route || packet.tuple.destination.is_multicast() => FlowOwner::FOREIGN_ADDRESS,
        None => return Err(Reason::ForeignDestination),
    };
    if host {
        return connection::host(tables, subject, address, packet, trace);
    }
    if matches!(packet.content, Content::Error) {
        let ingress_ifindex = arrival.ingress_ifindex;
        return related::error(
            tables,
            Hook::ToWorkload,
            ingress_ifindex,
            subject,
            packet,
            trace,
        );
    }
    fragment::complete(tables, Hook::ToWorkload, subject, packet)?;
    connection::judge(
        tables,
        Hook::ToWorkload,
        arrival.ingress_ifindex,
        subject,
        address,
        packet,
        trace,
    )
}

/// Whether hooks of local workloads lie behind this interface, so that it may carry any of their packets.
#[inline(always)]
fn is_behind_bridge<T: Tables>(tables: &T, ifindex: u32) -> bool {
    tables.interface(ifindex) == Some(WorkloadSlot::BRIDGE)
}

/// Encapsulations that a node might open behind our back.
#[inline(always)]
fn is_tunnel(tuple: &Tuple) -> bool {
    match tuple.protocol {
        // IPIP, IPv6 in IP, GRE, EtherIP, MPLS in IP.
        4 | 41 | 47 | 97 | 137 => true,
        // VXLAN by both its ports, Geneve, GRE in UDP.
        17 => matches!(tuple.destination_port, 4789 | 8472 | 6081 | 4754),
        _ => false,
    }
}
