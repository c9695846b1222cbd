//! Policy: the halves of an edge that this node knows, each a decision (rule set of one side, class of the other).
//!
//! Whatever is missing denies. The other end's own rule set is consulted only where the node has it; its own node
//! always judges that half.

use super::answer::{Question, keep, recall};
use super::{Subject, Trace};
use crate::abi::{
    Address, Class, DecisionKey, ExpiryId, FlowLife, Hook, PeerSlot, PortClass, PortTable, Reason,
    RuleSet, WorkloadLane, WorkloadSlot,
};
use crate::tables::Tables;

/// In which direction a flow was opened, as seen by the workload.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Direction {
    /// By the workload: its egress rules and the other end's ingress rules speak.
    #[default]
    Egress,
    /// To the workload: its ingress rules and the other end's egress rules speak.
    Ingress,
}

impl Direction {
    /// The other one.
    pub(super) const fn reversed(self) -> Self {
        match self {
            Direction::Egress => Direction::Ingress,
            Direction::Ingress => Direction::Egress,
        }
    }

    /// Which of the subject's rule sets speaks.
    #[inline(always)]
    pub(super) const fn rule_set(self, own: WorkloadLane) -> RuleSet {
        match self {
            Direction::Egress => own.egress,
            Direction::Ingress => own.ingress,
        }
    }
}

/// What policy says of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// When `expiry` is.
    pub(super) expires_ns: u64,
    /// Until when it is allowed; none = as long as the revision.
    pub(super) expiry: ExpiryId,
    /// Why it is denied, as a number of [`Reason`]; 0 = it is allowed.
    pub(super) denied: u8,
    /// What the intended policy says.
    pub(super) intended: bool,
    /// Whether the other end is a workload of this node.
    pub(super) peer_is_local: bool,
    /// Whether it is allowed whoever opened it.
    pub(super) both_ways: bool,
}

impl Outcome {
    /// What its entry keeps of it.
    #[inline(always)]
    pub(super) const fn flags(self) -> u8 {
        let local = if self.peer_is_local {
            FlowLife::PEER_IS_LOCAL
        } else {
            0
        };
        let audited = if self.intended { 0 } else { FlowLife::AUDITED };
        let adopted = if self.both_ways { FlowLife::ADOPTED } else { 0 };
        local | audited | adopted
    }

    /// Allowed in both directions: until the earlier deadline.
    #[inline(always)]
    pub(super) const fn and(self, other: Outcome) -> Outcome {
        let earlier = if other.expires_ns < self.expires_ns {
            other
        } else {
            self
        };
        Outcome {
            expires_ns: earlier.expires_ns,
            expiry: earlier.expiry,
            denied: 0,
            intended: self.intended && other.intended,
            peer_is_local: self.peer_is_local || other.peer_is_local,
            both_ways: true,
        }
    }
}

/// What is known about the other end.
struct Peer {
    class: Class,
    egress: RuleSet,
    ingress: RuleSet,
    local: Option<WorkloadSlot>,
    slot: Option<PeerSlot>,
}

/// What one rule set says.
#[derive(Clone, Copy)]
struct Half {
    enforced: bool,
    intended: bool,
    expiry: ExpiryId,
    /// When `expiry` is; [`NEVER`] and [`PAST`] where there is none.
    expires_ns: u64,
}

/// There is no deadline.
pub(super) const NEVER: u64 = u64::MAX;

/// The deadline is over, unless the agent moves it.
const PAST: u64 = NEVER - 1;

/// Judges a flow between the subject and `peer`. `number` is the port of the end that did not open it (ICMP: type and
/// code).
#[inline(always)]
#[allow(
    clippy::too_many_arguments,
    reason = "all of it is what the judgement follows from, and the stack has no room for more structs"
)]
pub(super) fn decide<T: Tables>(
    tables: &T,
    hook: Hook,
    subject: &Subject<'_>,
    direction: Direction,
    peer: &Address,
    protocol: u8,
    number: u16,
    trace: &mut Trace,
) -> Result<Outcome, Reason> {
    let own = subject.rules();
    let rule_set = direction.rule_set(own);
    trace.rule_set = rule_set;
    trace.intended = false;
    if rule_set.is_none() {
        return Err(Reason::NoRuleSet);
    }
    let question = Question::new(subject, own, direction, peer, protocol, number);
    if let Some(answer) = recall(tables, hook, &question) {
        return Ok(answer.tell(tables, trace));
    }
    let Some(other) = find(tables, subject, peer) else {
        return Err(Reason::NoClass);
    };
    trace.class = other.class;
    let verdict = halves(
        tables, subject, own, direction, &other, peer, protocol, number, trace,
    )?;
    trace.intended = verdict.intended;
    if verdict.expires_ns == NEVER {
        keep(tables, hook, question, other.slot, &verdict, trace);
    }
    Ok(verdict)
}

/// What the halves say together; `other` is who `peer` is.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "as above")]
fn halves<T: Tables>(
    tables: &T,
    subject: &Subject<'_>,
    own: WorkloadLane,
    direction: Direction,
    other: &Peer,
    peer: &Address,
    protocol: u8,
    number: u16,
    trace: &mut Trace,
) -> Result<Outcome, Reason> {
    let rule_set = direction.rule_set(own);
    let (denied, other_rule_set, other_denied) = match direction {
        Direction::Egress => (Reason::EgressDenied, other.ingress, Reason::IngressDenied),
        Direction::Ingress => (Reason::IngressDenied, other.egress, Reason::EgressDenied),
    };
    let table = port_table(protocol, peer);
    let index = if matches!(table, PortTable::Other) {
        protocol as u16
    } else {
        number
    };
    let Some(port_class) = tables.port_class(table, subject.lane, index) else {
        return Err(Reason::Internal);
    };
    let Some(first) = half(tables, rule_set, other.class, port_class, trace.now_ns) else {
        return Err(Reason::NoDecision);
    };
    let mut verdict = first;
    if !other_rule_set.is_none() && !own.class.is_none() {
        let Some(second) = half(tables, other_rule_set, own.class, port_class, trace.now_ns) else {
            (trace.rule_set, trace.class) = (other_rule_set, own.class);
            return Err(Reason::NoDecision);
        };
        if first.enforced && !second.enforced {
            (trace.rule_set, trace.class) = (other_rule_set, own.class);
        }
        verdict = both(first, second);
    }
    Ok(Outcome {
        expires_ns: verdict.expires_ns,
        expiry: verdict.expiry,
        denied: if verdict.enforced {
            0
        } else if first.enforced {
            other_denied as u8
        } else {
            denied as u8
        },
        intended: verdict.intended,
        peer_is_local: other.local.is_some(),
        both_ways: false,
    })
}

/// The table of a protocol. ICMP of the other family is a protocol like any other.
#[inline(always)]
const fn port_table(protocol: u8, peer: &Address) -> PortTable {
    let table = PortTable::of_protocol(protocol);
    let foreign = if peer.is_v4() {
        matches!(table, PortTable::Icmpv6)
    } else {
        matches!(table, PortTable::Icmp)
    };
    if foreign { PortTable::Other } else { table }
}

/// Who is behind an address: by exact address first, then by the longest prefix.
#[inline(always)]
fn find<T: Tables>(tables: &T, subject: &Subject<'_>, address: &Address) -> Option<Peer> {
    if let Some(slot) = tables.peer(address)
        && let Some(value) = tables.class(slot)
    {
        let lane = value.lane(subject.lane);
        // The slot may belong to another address by now (I5).
        if value.address == *address && !lane.class.is_none() {
            let local = value.local_workload();
            return Some(Peer {
                class: lane.class,
                egress: lane.egress,
                ingress: lane.ingress,
                local,
                slot: Some(slot),
            });
        }
    }
    let value = tables.network_class(tables.network(address)?)?;
    let class = value.lanes.read(subject.lane);
    if class.is_none() || !address.is_within(value.prefix, value.prefix_length) {
        return None;
    }
    Some(Peer {
        class,
        egress: RuleSet::NONE,
        ingress: RuleSet::NONE,
        local: None,
        slot: None,
    })
}

#[inline(always)]
fn half<T: Tables>(
    tables: &T,
    rule_set: RuleSet,
    class: Class,
    port_class: PortClass,
    now_ns: u64,
) -> Option<Half> {
    if port_class.is_none() {
        return None;
    }
    let decision = tables.decision(&DecisionKey::new(rule_set, class, port_class))?;
    let bit = 1_u64 << (port_class.0 & 63);
    if decision.expiry.is_none() {
        return Some(Half {
            enforced: decision.enforced & bit != 0,
            intended: decision.intended & bit != 0,
            expiry: ExpiryId::NONE,
            expires_ns: NEVER,
        });
    }
    // A deadline that is not there is over, and one beyond all time is still one.
    let expires_ns = tables.expiry(decision.expiry).unwrap_or(0).min(PAST - 1);
    if now_ns >= expires_ns {
        return Some(Half {
            enforced: decision.enforced_after & bit != 0,
            intended: decision.intended_after & bit != 0,
            expiry: ExpiryId::NONE,
            expires_ns: PAST,
        });
    }
    Some(Half {
        enforced: decision.enforced & bit != 0,
        intended: decision.intended & bit != 0,
        expiry: decision.expiry,
        expires_ns,
    })
}

/// Both halves have to allow, and the earlier deadline counts.
#[inline(always)]
fn both(first: Half, second: Half) -> Half {
    let earlier = if second.expires_ns < first.expires_ns {
        second
    } else {
        first
    };
    Half {
        enforced: first.enforced && second.enforced,
        intended: first.intended && second.intended,
        expiry: earlier.expiry,
        expires_ns: earlier.expires_ns,
    }
}
