//! The answer, and the rule that gave it.

use std::fmt;

use bulkhead_graph::Stage;
use serde::{Deserialize, Serialize};

use crate::model::{Address, Direction, Interned, LeftOut, ObjectRef};

/// Both verdicts of one flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What the kernel acts on: objects in Audit are absent.
    pub enforced: Outcome,
    /// As if every object were enforced.
    pub intended: Outcome,
}

impl Verdict {
    /// Whether the flow passes.
    pub fn allowed(&self) -> bool {
        self.enforced.allowed()
    }

    /// Whether it would pass if every object were enforced.
    pub fn intended(&self) -> bool {
        self.intended.allowed()
    }
}

/// The two halves of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the sender's policies say.
    pub egress: Half,
    /// What the receiver's policies say.
    pub ingress: Half,
}

impl Outcome {
    /// Whether both halves allow.
    pub fn allowed(&self) -> bool {
        self.egress.allowed && self.ingress.allowed
    }
}

/// What one side says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Half {
    /// Whether the flow may pass this side.
    pub allowed: bool,
    /// Why.
    pub rule: Provenance,
}

impl Half {
    pub(super) fn allowed(rule: Provenance) -> Self {
        Self {
            allowed: true,
            rule,
        }
    }

    pub(super) fn denied(rule: Provenance) -> Self {
        Self {
            allowed: false,
            rule,
        }
    }
}

/// Where a half's answer comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Provenance {
    /// A rule that matched.
    Rule(RuleReference),
    /// A default deny: no rule allowed the flow, and these policies or segments isolate the subject.
    Isolated {
        /// The step of the pipeline.
        stage: Stage,
        /// The isolated direction.
        direction: Direction,
        /// Who isolates, in the order of names.
        by: Vec<ObjectRef>,
    },
    /// Both ends are in these segments, and what they say of their inside decides.
    Within {
        /// The step of the pipeline.
        stage: Stage,
        /// The half that was judged.
        direction: Direction,
        /// The segments that decide, in the order of names.
        by: Vec<ObjectRef>,
    },
    /// Nothing speaks of the flow, and nothing isolates the subject.
    Unopposed,
    /// A workload to its own address.
    OwnAddress,
    /// This end is no workload that we know.
    NotOurs,
    /// Several live workloads claim the address of this end.
    Contested,
    /// The flow goes to a Service: the endpoint that it reaches judges this half.
    JudgedAtEndpoint,
    /// Through a Service: what is said of one of its endpoints. Of a flow that is denied, the one that is in the way.
    Endpoint {
        /// Its address.
        address: Address,
        /// The port there.
        port: u16,
        /// Why.
        rule: Box<Provenance>,
    },
    /// The Service has no endpoint.
    NoEndpoint(ObjectRef),
    /// A Service that there was no room for stands behind the destination, or may.
    LeftOut(LeftOut),
}

/// Names one rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleReference {
    /// The object.
    pub object: ObjectRef,
    /// Which of its lists.
    pub direction: Direction,
    /// Position in the list, from 0.
    pub index: usize,
    /// The rule's own name; may be empty.
    pub name: Interned,
}

impl fmt::Display for RuleReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}[{}]",
            self.object,
            word(self.direction),
            self.index
        )?;
        if self.name.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.name)
        }
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(f),
            Self::Isolated { by, .. } => write!(f, "isolated by {}", Listed(by)),
            Self::Within { by, .. } => write!(f, "{} within", Listed(by)),
            Self::Unopposed => f.write_str("no policy isolates it"),
            Self::OwnAddress => f.write_str("own address"),
            Self::NotOurs => f.write_str("no known workload"),
            Self::Contested => f.write_str("address claimed by several workloads"),
            Self::JudgedAtEndpoint => f.write_str("judged at the Service's endpoint"),
            Self::Endpoint {
                address,
                port,
                rule,
            } => write!(f, "{rule}, for the endpoint {address} port {port}"),
            Self::LeftOut(service) => write!(f, "{service}"),
            Self::NoEndpoint(service) => write!(f, "{service} has no endpoint"),
        }
    }
}

const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

struct Listed<'a>(&'a [ObjectRef]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, object)| {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{object}")
        })
    }
}
