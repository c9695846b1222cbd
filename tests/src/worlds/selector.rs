//! Random selectors, networks, peers and ports.

use bulkhead_policy::model::{
    Interned, LabelSelector, NamespaceScope, Network, Operator, Peer, Peers, Port, Ports, Protocol,
    Requirement, SortedSet, WorkloadSelector,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::sorted::sorted_set;
use super::vocabulary::{
    ACCOUNTS, LABEL_KEYS, LABEL_VALUES, NAMESPACE_KEYS, NAMESPACES, NETWORKS, NODE_KEYS,
    PORT_NAMES, PORTS, SEGMENTS, net, one,
};

/// Where the selectors of an object may look.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reach {
    /// Its own namespace, by structure.
    Namespace(&'static str),
    /// Everywhere.
    Cluster,
}

fn values() -> impl Strategy<Value = SortedSet<Interned>> {
    sorted_set(one(LABEL_VALUES).prop_map(Interned::from), 1..3)
}

fn operator() -> impl Strategy<Value = Operator> {
    prop_oneof![
        4 => values().prop_map(Operator::In),
        2 => values().prop_map(Operator::NotIn),
        1 => Just(Operator::Exists),
        1 => Just(Operator::DoesNotExist),
    ]
}

fn label_selector(keys: &'static [&'static str]) -> impl Strategy<Value = LabelSelector> {
    let requirement = (one(keys), operator()).prop_map(|(key, operator)| Requirement {
        key: key.into(),
        operator,
    });
    prop_oneof![
        2 => Just(LabelSelector::everything()),
        3 => vec(requirement, 1..3).prop_map(LabelSelector::new),
    ]
}

fn accounts() -> impl Strategy<Value = Option<SortedSet<Interned>>> {
    let some = sorted_set(one(ACCOUNTS).prop_map(Interned::from), 0..3);
    prop_oneof![4 => Just(None), 1 => some.prop_map(Some)]
}

/// Workloads anywhere.
pub(super) fn cluster_selector() -> BoxedStrategy<WorkloadSelector> {
    let scope = prop_oneof![
        2 => one(NAMESPACES).prop_map(|name| NamespaceScope::Named(name.into())),
        3 => label_selector(NAMESPACE_KEYS).prop_map(NamespaceScope::Matching),
    ];
    let some = (scope, label_selector(LABEL_KEYS), accounts()).prop_map(
        |(namespaces, labels, service_accounts)| WorkloadSelector {
            namespaces,
            labels,
            service_accounts,
        },
    );
    prop_oneof![1 => Just(WorkloadSelector::everything()), 4 => some].boxed()
}

/// Workloads of one namespace.
pub(super) fn namespace_selector(namespace: &'static str) -> BoxedStrategy<WorkloadSelector> {
    (label_selector(LABEL_KEYS), accounts())
        .prop_map(move |(labels, service_accounts)| WorkloadSelector {
            namespaces: NamespaceScope::Named(namespace.into()),
            labels,
            service_accounts,
        })
        .boxed()
}

/// A network and holes in it: most networks of the vocabulary lie beside each other, so that holes are drawn from those inside.
pub(super) fn network() -> impl Strategy<Value = Network> {
    (one(NETWORKS), vec(any::<Index>(), 0..3)).prop_map(|(cidr, holes)| {
        let cidr = net(cidr);
        let inside: Vec<_> = NETWORKS
            .iter()
            .map(|it| net(it))
            .filter(|it| cidr.contains(it) && *it != cidr)
            .collect();
        let holes = holes.iter().filter(|_| !inside.is_empty());
        Network::new(cidr, holes.map(|hole| *hole.get(&inside)))
    })
}

fn peer(reach: Reach) -> BoxedStrategy<Peer> {
    let workloads = match reach {
        Reach::Namespace(name) => prop_oneof![namespace_selector(name), cluster_selector()].boxed(),
        Reach::Cluster => cluster_selector(),
    };
    prop_oneof![
        8 => workloads.prop_map(Peer::Workloads),
        4 => network().prop_map(Peer::Network),
        3 => one(SEGMENTS).prop_map(|name| Peer::Segment(name.into())),
        2 => label_selector(NODE_KEYS).prop_map(Peer::Nodes),
        1 => Just(Peer::Unresolved),
    ]
    .boxed()
}

/// Peers of a rule.
pub(super) fn peers(reach: Reach) -> BoxedStrategy<Peers> {
    prop_oneof![
        1 => Just(Peers::Any),
        4 => vec(peer(reach), 0..4).prop_map(Peers::Of),
    ]
    .boxed()
}

pub(super) fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![
        6 => Just(Protocol::Tcp),
        3 => Just(Protocol::Udp),
        3 => select(&Protocol::ALL[..]),
    ]
}

fn port() -> BoxedStrategy<Port> {
    // Ports, types of ICMP and numbers of protocols lie in one space.
    let number = || {
        prop_oneof![
            6 => select(PORTS),
            1 => select(&[0, u16::MAX][..]),
            2 => select(&[8 << 8, 13 << 8, 128 << 8, 200 << 8, 2, 47, 50][..]),
        ]
    };
    let message = (
        select(&[Protocol::Icmp, Protocol::Icmpv6][..]),
        select(&[8_u16, 13, 128, 200][..]),
        select(&[0_u16, 255][..]),
    )
        .prop_map(|(protocol, kind, codes)| Port::Range {
            protocol,
            from: kind << 8,
            to: kind << 8 | codes,
        });
    let range = (protocol(), number(), number()).prop_map(|(protocol, a, b)| Port::Range {
        protocol,
        from: a.min(b),
        to: a.max(b),
    });
    let single = (protocol(), number()).prop_map(|(protocol, port)| Port::Range {
        protocol,
        from: port,
        to: port,
    });
    let named = (protocol(), one(PORT_NAMES)).prop_map(|(protocol, name)| Port::Named {
        protocol,
        name: name.into(),
    });
    prop_oneof![
        2 => protocol().prop_map(Port::Protocol),
        4 => single,
        2 => range,
        2 => message,
        4 => named,
        1 => Just(Port::Unresolved),
    ]
    .boxed()
}

/// Ports of a rule.
pub(super) fn ports() -> BoxedStrategy<Ports> {
    prop_oneof![
        1 => Just(Ports::Any),
        1 => vec(port(), 0..4).prop_map(Ports::Of),
    ]
    .boxed()
}

/// Sometimes a value, mostly none.
pub(super) fn rarely<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>>
where
    S::Value: Clone,
{
    option::weighted(0.2, strategy)
}
