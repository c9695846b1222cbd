//! From a node graph to what the kernel's tables hold.
//!
//! [`Desired`] says it in terms of content: which classes of peers and ports the node's rule sets tell apart, which
//! address and prefix belongs to which, and, through a [`Judge`], what each rule set decides about each. It is a
//! function of the graph and the time alone (I2). Numbers, slots and lanes are the business of whoever writes the
//! tables: the agent's planner, or [`Memory`] for judging on the host.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod address;
mod class;
mod clock;
mod deadline;
mod desired;
mod explain;
mod fit;
mod judge;
mod layout;
mod limits;
mod memory;
mod peer_match;
mod ports;
mod queue;
mod regions;
mod rule_set;
mod service;
mod steps;
mod update;

pub use address::table_address;
pub use class::{Class, ClassKey};
pub use clock::Clock;
pub use deadline::Deadline;
pub use desired::Desired;
pub use explain::{Explanation, explain};
pub use fit::{Fitted, Unfit, fit};
pub use judge::{ClassIndex, Judge, Row};
pub use layout::PortLayout;
pub use limits::{Limits, Need};
pub use memory::{Half, Memory, half};
pub use ports::{PortClass, PortClassKey, table_of};
pub use regions::Region;
pub use rule_set::{EffectiveRules, RuleSetKey};
pub use update::Changes;
