//! Policies and segments.

use serde::{Deserialize, Serialize};

use super::{
    Action, Direction, Interned, LabelSelector, Lease, Mode, Network, ObjectRef, Protocol,
    SortedSet, Timestamp, WorkloadSelector,
};

/// Where in the pipeline a policy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// Its rules are the exceptions (Allow); everything else of its subjects is denied.
    Quarantine,
    /// Strongest first: 0 comes before 1000.
    Admin(u16),
    /// `NetworkPolicy` and `SegmentationPolicy`.
    Namespace,
    /// As `Admin`, after the namespace tier.
    Baseline(u16),
}

/// Whom a policy protects: the union. An empty list is nobody.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// By selector.
    Selected(WorkloadSelector),
    /// One incarnation.
    Workload(Interned),
    /// Whatever has this owner, now and later.
    Owner(Interned),
    /// All members of a segment.
    Segment(Interned),
}

/// One of the ends a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Peer {
    /// Workloads by identity.
    Workloads(WorkloadSelector),
    /// Whatever has such an address, workloads included.
    Network(Network),
    /// Whatever has an address of such a node, by its labels: the host itself, never the workloads on it.
    Nodes(LabelSelector),
    /// Members and networks of a segment; no such segment is an unresolved reference.
    Segment(Interned),
    /// Something this version cannot read or resolve: nobody in an `Allow`, everybody in a `Deny`; a `Pass` with it is a
    /// `Deny`.
    Unresolved,
}

/// The peers of a rule. Missing and empty are not the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Peers {
    /// Everybody, outside included.
    Any,
    /// The union; an empty list is nobody.
    Of(Vec<Peer>),
}

/// One port condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Port {
    /// Every port of a protocol (for `Other`: every protocol without a table of its own).
    Protocol(Protocol),
    /// Inclusive range; for ICMP `type << 8 | code`, for `Other` the protocol number.
    Range {
        /// Transport.
        protocol: Protocol,
        /// First.
        from: u16,
        /// Last.
        to: u16,
    },
    /// Whatever number the *destination* workload gives to this name. Of a workload that does not give it, it is no port in
    /// an `Allow`, every port of the protocol in a `Deny`, and any of them perhaps in a `Pass`.
    Named {
        /// Transport.
        protocol: Protocol,
        /// The name.
        name: Interned,
    },
    /// Something this version cannot read: no port in an `Allow`, every port in a `Deny`; a `Pass` with it is a `Deny`.
    Unresolved,
}

/// The ports of a rule. Missing and empty are not the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ports {
    /// Every protocol and port.
    Any,
    /// The union; an empty list is no port.
    Of(Vec<Port>),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// For people; may be empty.
    pub name: Interned,
    /// What to do.
    pub action: Action,
    /// With whom.
    pub peers: Peers,
    /// On which ports.
    pub ports: Ports,
}

/// A policy of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The object it comes from.
    pub object: ObjectRef,
    /// Where it speaks.
    pub tier: Tier,
    /// Whom it protects; the union.
    pub subjects: Vec<Subject>,
    /// Directions in which nothing else is allowed by the namespace tier.
    pub isolates: SortedSet<Direction>,
    /// Acting, or reported only.
    pub mode: Mode,
    /// Absent before.
    pub active_from: Option<Timestamp>,
    /// Absent from then on.
    pub expires_at: Option<Timestamp>,
    /// On a node that has not heard its controller for so long, what this policy allows ends, and nobody can tell whether its
    /// `Pass` still holds. What it denies stays.
    pub max_staleness: Option<Lease>,
    /// In order.
    pub ingress: Vec<Rule>,
    /// In order.
    pub egress: Vec<Rule>,
}

impl Policy {
    /// The rules of one direction.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// Whether it is in force at an instant.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.active_from.is_none_or(|from| from <= now)
            && self.expires_at.is_none_or(|until| now < until)
    }
}

/// How strong a segment's isolation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Strength {
    /// The last step: every policy can open it.
    Default,
    /// Before the tenants' own policies, which cannot open it.
    Boundary,
}

/// What a segment does for its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Isolation {
    /// Allow or Deny what no rule speaks of, towards members.
    pub ingress: Action,
    /// The same from members.
    pub egress: Action,
    /// Between members; decided before the two above.
    pub within: Action,
    /// Where in the pipeline.
    pub strength: Strength,
}

/// Who is in a segment, by identity; the union.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Membership {
    /// Any of these.
    pub selectors: Vec<WorkloadSelector>,
    /// Outside addresses; as peers they are matched by address, they are never subjects.
    pub networks: Vec<Network>,
    /// A part of it cannot be read, or a name of it has no answer yet: whoever is not in it for certain may be.
    pub partial: bool,
    /// Names of the outside world. Their addresses are among the networks as far as somebody has asked for them, and
    /// `partial` stays until all are known.
    #[serde(default)]
    pub domains: Vec<Interned>,
    /// A part of it cannot be read, so that it is partial whatever its names come to.
    #[serde(default)]
    pub unread: bool,
}

impl Membership {
    /// Says that a part of it cannot be read.
    pub fn leave_unread(&mut self) {
        self.unread = true;
        self.partial = true;
    }
}

/// A named set. Its mode concerns its isolation; what refers to its members finds them in either mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its name.
    pub name: Interned,
    /// Who is in it.
    pub members: Membership,
    /// What that means; `None` if it is a name only.
    pub isolation: Option<Isolation>,
    /// Acting, or reported only.
    pub mode: Mode,
}

/// Something in an object that cannot be understood or resolved. The object stays in force as far as it is
/// understood, failing closed, and is reported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fault {
    /// Where in the object, as a path: `spec.ingress[0].from[1]`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl LabelSelector {
    /// A selector for every label set, spelled out where a reader would wonder.
    pub fn everything() -> Self {
        Self::default()
    }
}
