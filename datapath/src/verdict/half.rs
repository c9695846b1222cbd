//! Policy: the halves of an edge that this node knows, each a decision (rule set of one side, class of the other).
//!
//! Whatever is missing denies. The other end's own rule set is consulted only where the node has it; its own node
//! always judges that half.

use super::{Subject, Trace};
use crate::abi::{
    Address, Class, DecisionKey, ExpiryId, FlowLife, PortClass, PortTable, Reason, RuleSet,
    WorkloadSlot,
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
}

/// What one rule set says.
#[derive(Clone, Copy)]
struct Half {
    enforced: bool,
    intended: bool,
    expiry: ExpiryId,
    expires_ns: u64,
}

/// Judges a flow between the subject and `peer`. `number` is the port of the end that did not open it (ICMP: type and
/// code). `ingress` is where the packet came in, for peers on this node; 0 while the subject itself sends.
#[inline(always)]
pub(super) fn decide<T: Tables>(
    tables: &T,
    subject: &Subject<'_>,
    direction: Direction,
    peer: &Address,
    protocol: u8,
    number: u16,
    trace: &mut Trace,
) -> Result<Outcome, Reason> {
    let own = subject.rules();
    let (rule_set, denied, other_denied) = match direction {
        Direction::Egress => (own.egress, Reason::EgressDenied, Reason::IngressDenied),
        Direction::Ingress => (own.ingress, Reason::IngressDenied, Reason::EgressDenied),
    };
    trace.rule_set = rule_set;
    trace.intended = false;
    if rule_set.is_none() {
        return Err(Reason::NoRuleSet);
    }
    let Some(other) = find(tables, subject, peer) else {
        return Err(Reason::NoClass);
    };
    trace.class = other.class;
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
    let other_rule_set = match direction {
        Direction::Egress => other.ingress,
        Direction::Ingress => other.egress,
    };
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
    trace.intended = verdict.intended;
    if verdict.enforced {
        Ok(Outcome {
            expires_ns: verdict.expires_ns,
            expiry: verdict.expiry,
            denied: 0,
            intended: verdict.intended,
            peer_is_local: other.local.is_some(),
            both_ways: false,
        })
    } else if first.enforced {
        Err(other_denied)
    } else {
        Err(denied)
    }
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
    if let Some(value) = tables.peer(address).and_then(|slot| tables.class(slot)) {
        let lane = value.lane(subject.lane);
        // The slot may belong to another address by now (I5).
        if value.address == *address && !lane.class.is_none() {
            let local = value.local_workload();
            return Some(Peer {
                class: lane.class,
                egress: lane.egress,
                ingress: lane.ingress,
                local,
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
            expires_ns: u64::MAX,
        });
    }
    // A deadline that is not there is over.
    let expires_ns = tables.expiry(decision.expiry).unwrap_or(0);
    if now_ns >= expires_ns {
        return Some(Half {
            enforced: decision.enforced_after & bit != 0,
            intended: decision.intended_after & bit != 0,
            expiry: ExpiryId::NONE,
            expires_ns: u64::MAX,
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
