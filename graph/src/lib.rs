//! The node graph: what one node needs to know to enforce its part of the cluster's policy.
//!
//! A graph is made of parts that are named by their content, so that equal parts are shared between
//! nodes and revisions, and two graphs differ exactly where their digests differ. Nothing here has a
//! clock, does IO, or depends on the order in which a graph was put together.
#![forbid(unsafe_code)]

mod address;
mod cover;
mod delta;
mod format;
mod id;
mod judge;
mod node;
mod peers;
mod pool;
mod rules;
mod sorted;
mod time;
mod workload;

pub use address::{Address, Network, Prefix};
pub use cover::cover;
pub use delta::{Delta, DeltaError, MemberChange};
pub use format::FORMAT;
pub use id::{Digest, Hasher, PeerSetId, RuleSetId};
pub use judge::{Judgement, Known, Matched, Peer, Stance, judge};
pub use node::{NodeGraph, ServiceAddress, ServiceBackend, ServicePort};
pub use peers::PeerSet;
pub use pool::PeerSetPool;
pub use rules::{
    Action, Direction, Entry, Mode, PeerMatch, PortMatch, PortRange, Protocol, RuleSet, Stage,
    Workloads,
};
pub use sorted::{SortedMap, SortedSet};
pub use time::{Lease, Moment, Timestamp};
pub use workload::{LocalWorkload, SharedWorkload, WorkloadUid};
