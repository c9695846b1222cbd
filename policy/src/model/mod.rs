//! The model: what the manifests say, normalised, with every "missing", "empty" and "unresolved" told apart.

mod event;
mod name;
mod object;
mod peer_limits;
mod policy;
mod selector;
mod service_limits;
mod workload;

pub use bulkhead_graph::{
    Action, Address, Direction, Lease, Mode, Moment, Network, Protocol, SortedMap, SortedSet,
    Timestamp,
};
pub use event::{Event, Kind, Object};
pub use name::{Interned, ObjectRef};
pub use object::{Endpoint, EndpointSlice, Namespace, Node, Service, ServicePort};
pub use peer_limits::{ListOf, ListedPort, PeerLimits, PeerList, PeerLists, PeerRoom, longest_for};
pub use policy::{
    Fault, Isolation, Membership, Peer, Peers, Policy, Port, Ports, Rule, Segment, Strength,
    Subject, Tier,
};
pub use selector::{LabelSelector, NamespaceScope, Operator, Requirement, WorkloadSelector};
pub use service_limits::{Admitted, Beyond, LeftOut, ServiceLimits};
pub use workload::{NamedPort, Phase, Workload, owner};
