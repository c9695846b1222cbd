//! Random namespaces, nodes, workloads and Services.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bulkhead_policy::model::{
    Endpoint, EndpointSlice, Interned, Kind, NamedPort, Namespace, Node, Object, Phase, Protocol,
    Service, ServicePort, SortedMap, SortedSet, Workload, owner,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::selector::rarely;
use super::sorted::{sorted_map, sorted_set};
use super::vocabulary::{
    ACCOUNTS, CLUSTER_ADDRESSES, EXTERNAL_ADDRESSES, LABEL_KEYS, LABEL_VALUES, NAMESPACES,
    NODE_ADDRESSES, NODES, OUTSIDE_ADDRESSES, POD_ADDRESSES, PORT_NAMES, PORTS, ip, net, one,
};

const NAMES: &[&str] = &["w0", "w1", "w2"];

const OWNERS: &[&str] = &["o0", "o1"];

fn labels(keys: &'static [&'static str]) -> impl Strategy<Value = SortedMap<Interned, Interned>> {
    let word = |words| one(words).prop_map(Interned::from);
    sorted_map(word(keys), word(LABEL_VALUES), 0..3)
}

/// A namespace that has an object.
pub(super) fn namespace() -> impl Strategy<Value = Object> {
    let closing = prop_oneof![8 => Just(false), 1 => Just(true)];
    (one(NAMESPACES), labels(&["team"]), closing).prop_map(|(name, mut labels, closing)| {
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
        Object::Namespace(Namespace {
            name: name.into(),
            labels,
            closing,
        })
    })
}

/// The nodes that have objects, with their ranges.
pub(super) fn nodes() -> Vec<Object> {
    let node = |number: u8, zone: &str, addresses: &[&str]| {
        Object::Node(Box::new(Node {
            name: NODES[usize::from(number) - 1].into(),
            labels: [("zone".into(), zone.into())].into(),
            pod_ranges: [
                net(&format!("10.0.{number}.0/24")),
                net(&format!("fd00:{number}::/64")),
            ]
            .into(),
            addresses: addresses.iter().map(|text| ip(text)).collect(),
        }))
    };
    let (first, others) = NODE_ADDRESSES.split_at(1);
    vec![node(1, "a", first), node(2, "b", others)]
}

/// The incarnation of some workload.
pub(super) fn uid() -> impl Strategy<Value = Interned> {
    (
        select(&[Kind::Pod, Kind::Workload][..]),
        one(NAMESPACES),
        one(NAMES),
    )
        .prop_map(|(kind, namespace, name)| uid_of(kind, namespace, name))
}

fn uid_of(kind: Kind, namespace: &str, name: &str) -> Interned {
    format!("{}-{namespace}-{name}", kind.name())
        .as_str()
        .into()
}

fn addresses(
    of: &'static [&'static str],
    at_most: usize,
) -> impl Strategy<Value = SortedSet<IpAddr>> {
    sorted_set(one(of).prop_map(ip), 0..=at_most)
}

fn named_port() -> impl Strategy<Value = NamedPort> {
    let protocol = prop_oneof![4 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp)];
    (one(PORT_NAMES), protocol, select(PORTS)).prop_map(|(name, protocol, port)| NamedPort {
        name: name.into(),
        protocol,
        port,
    })
}

/// Names are unique together with the protocol, as in a pod that passed admission.
fn named_ports() -> impl Strategy<Value = SortedSet<NamedPort>> {
    vec(named_port(), 0..3).prop_map(|ports| {
        let unique: BTreeMap<(Interned, Protocol), u16> = ports
            .into_iter()
            .map(|port| ((port.name, port.protocol), port.port))
            .collect();
        unique
            .into_iter()
            .map(|((name, protocol), port)| NamedPort {
                name,
                protocol,
                port,
            })
            .collect()
    })
}

/// Names of up to two, as of a ReplicaSet and its Deployment.
fn owners() -> impl Strategy<Value = Vec<&'static str>> {
    vec(one(OWNERS), 0..3)
}

/// The owner of some workload.
pub(super) fn any_owner() -> impl Strategy<Value = Interned> {
    (one(NAMESPACES), one(OWNERS)).prop_map(|(namespace, name)| owner_of(namespace, name))
}

fn owner_of(namespace: &str, name: &str) -> Interned {
    owner(namespace, "ReplicaSet", name)
}

/// A pod, or a declared workload.
pub(super) fn workload() -> BoxedStrategy<Object> {
    let kind = prop_oneof![9 => Just(Kind::Pod), 1 => Just(Kind::Workload)];
    let phase = prop_oneof![8 => Just(Phase::Running), 1 => Just(Phase::Pending), 1 => Just(Phase::Completed)];
    let node = prop_oneof![9 => one(NODES).prop_map(Some), 1 => Just(None)];
    let name = (kind, one(NAMESPACES), one(NAMES));
    let state = (
        node,
        addresses(POD_ADDRESSES, 2),
        phase,
        rarely(Just(())),
        rarely(Just(())),
    );
    (
        name,
        owners(),
        labels(LABEL_KEYS),
        one(ACCOUNTS),
        named_ports(),
        state,
    )
        .prop_map(
            |(
                (kind, namespace, name),
                owners,
                labels,
                account,
                named_ports,
                (node, addresses, phase, host, also),
            )| {
                let workload = Workload {
                    uid: uid_of(kind, namespace, name),
                    owners: owners
                        .iter()
                        .map(|name| owner_of(namespace, name))
                        .collect(),
                    namespace: namespace.into(),
                    name: name.into(),
                    labels,
                    service_account: account.into(),
                    node: node.map(Interned::from),
                    addresses,
                    named_ports,
                    phase,
                    // Two rare things at once: one pod in twenty-five.
                    host_network: host.is_some() && also.is_some(),
                    interface: None,
                };
                Object::Workload(kind, Box::new(workload))
            },
        )
        .boxed()
}

const SERVICES: &[&str] = &["s0", "s1"];

fn service_ports() -> impl Strategy<Value = Vec<ServicePort>> {
    let protocol = prop_oneof![4 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp)];
    let port =
        (select(&["", "x"][..]), protocol, select(PORTS)).prop_map(|(name, protocol, port)| {
            ServicePort {
                name: name.into(),
                protocol,
                port,
            }
        });
    vec(port, 1..3).prop_map(|ports| {
        // One target for each name and protocol.
        let unique: BTreeMap<(Interned, Protocol), ServicePort> = ports
            .into_iter()
            .map(|port| ((port.name.clone(), port.protocol), port))
            .collect();
        unique.into_values().collect()
    })
}

/// A Service.
pub(super) fn service() -> impl Strategy<Value = Service> {
    let name = (one(NAMESPACES), one(SERVICES));
    let external = prop_oneof![
        2 => Just(SortedSet::new()),
        2 => addresses(EXTERNAL_ADDRESSES, 2),
        1 => addresses(POD_ADDRESSES, 1),
    ];
    let cluster = addresses(CLUSTER_ADDRESSES, 2);
    (name, cluster, external, service_ports()).prop_map(
        |((namespace, name), cluster_addresses, external_addresses, ports)| Service {
            namespace: namespace.into(),
            name: name.into(),
            cluster_addresses,
            external_addresses,
            ports,
        },
    )
}

/// A slice of a Service that may not exist.
pub(super) fn slice() -> impl Strategy<Value = EndpointSlice> {
    let address = prop_oneof![6 => one(POD_ADDRESSES), 1 => one(OUTSIDE_ADDRESSES)].prop_map(ip);
    let endpoint = sorted_set(address, 1..3).prop_map(|addresses| Endpoint { addresses });
    let name = (one(NAMESPACES), one(&["e0", "e1"]), one(SERVICES));
    (name, service_ports(), vec(endpoint, 0..4)).prop_map(
        |((namespace, name, service), ports, endpoints)| EndpointSlice {
            namespace: namespace.into(),
            name: name.into(),
            service: service.into(),
            ports,
            endpoints,
        },
    )
}

/// A Service with a slice that serves its ports, at the same numbers or at others.
pub(super) fn served() -> impl Strategy<Value = Vec<Object>> {
    (service(), slice(), select(PORTS)).prop_map(|(service, slice, target)| {
        let ports = service.ports.iter().enumerate().map(|(number, port)| {
            // The first port leads elsewhere, the others to their own number.
            let port_there = if number == 0 { target } else { port.port };
            ServicePort {
                port: port_there,
                ..port.clone()
            }
        });
        let slice = EndpointSlice {
            namespace: service.namespace.clone(),
            service: service.name.clone(),
            ports: ports.collect(),
            ..slice
        };
        vec![
            Object::Service(Box::new(service)),
            Object::EndpointSlice(Box::new(slice)),
        ]
    })
}
