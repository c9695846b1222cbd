//! What it costs to encode one node: 100 workloads with 200 rule sets, 10,000 peers in 300 sets, 200 Services.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_encode::{Clock, Desired, Limits, Memory, fit};
use bulkhead_graph::{
    Action, Address, Direction, Entry, LocalWorkload, Mode, Network, NodeGraph, PeerMatch, PeerSet,
    PeerSetId, PortMatch, PortRange, Prefix, Protocol, RuleSet, ServiceAddress, ServiceBackend,
    ServicePort, Stage, Timestamp, WorkloadUid, Workloads,
};

const WORKLOADS: u32 = 100;
const PEERS: u32 = 10_000;
const SETS: u32 = 300;
const SERVICES: u32 = 200;

fn address(number: u32) -> Address {
    IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number)).into()
}

fn set(number: u32) -> PeerSetId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_le_bytes());
    PeerSetId(id)
}

fn entry(stage: Stage, action: Action, peers: PeerMatch, ports: &[u16]) -> Entry {
    let range = |port: &u16| PortRange {
        protocol: Protocol::Tcp,
        from: *port,
        to: *port,
    };
    let ports = match ports {
        [] => PortMatch::Any,
        ports => PortMatch::of(ports.iter().map(range).collect()),
    };
    Entry {
        stage,
        action,
        mode: Mode::Enforce,
        peers,
        ports,
        until: None,
        lease: None,
    }
}

fn rules(direction: Direction, number: u32) -> RuleSet {
    let sets = |sets: &[u32]| PeerMatch::Of {
        workloads: Workloads::Sets(sets.iter().map(|number| set(number % SETS)).collect()),
        networks: vec![],
    };
    let network = Network::new(format!("192.0.{}.0/24", number % 50).parse().unwrap(), []);
    let networks = PeerMatch::Of {
        workloads: Workloads::Sets(vec![]),
        networks: vec![network],
    };
    let port = 8_000 + u16::try_from(number % 40).unwrap();
    let entries = vec![
        entry(Stage::Admin, Action::Deny, sets(&[0]), &[22]),
        entry(
            Stage::Namespace,
            Action::Allow,
            sets(&[number, number + 1]),
            &[80, 443],
        ),
        entry(
            Stage::Namespace,
            Action::Allow,
            sets(&[number + 7]),
            &[port],
        ),
        entry(Stage::Namespace, Action::Allow, networks, &[]),
        entry(Stage::Namespace, Action::Deny, PeerMatch::Any, &[]),
    ];
    RuleSet { direction, entries }
}

/// Set `n` holds the peers whose number leaves `n` when divided by the number of sets; `moved` is in set 1 as well.
fn graph(moved: Option<u32>) -> Arc<NodeGraph> {
    let (mut workloads, mut rule_sets) = (BTreeMap::new(), BTreeMap::new());
    for number in 0..WORKLOADS {
        let [egress, ingress] = [
            rules(Direction::Egress, number),
            rules(Direction::Ingress, WORKLOADS + number),
        ];
        let workload = LocalWorkload {
            namespace: format!("ns-{}", number % 10).into(),
            name: format!("w-{number}").into(),
            addresses: [address(number)].into(),
            interface: None,
            egress: egress.id(),
            ingress: ingress.id(),
        };
        workloads.insert(WorkloadUid(format!("uid-{number}").into()), workload.into());
        for rules in [egress, ingress] {
            rule_sets.insert(rules.id(), Arc::new(rules));
        }
    }
    let members = |number: u32| -> PeerSet {
        let own = (0..PEERS).filter(|peer| peer % SETS == number);
        own.chain(moved.filter(|_| number == 1))
            .map(address)
            .collect()
    };
    let peer_sets = (0..SETS)
        .map(|number| (set(number), Arc::new(members(number))))
        .collect();
    let service = |number: u32| {
        let backend = |peer: u32| ServiceBackend {
            address: address(peer),
            port: 8_080,
        };
        let backends = (0..5).map(|n| backend(number * 10 + n)).collect();
        let ports = vec![ServicePort {
            protocol: Protocol::Tcp,
            port: 80,
            backends,
        }];
        (
            address(0x0060_0000 + number),
            ServiceAddress {
                namespaces: vec!["shop".into()],
                external: false,
                closed: false,
                ports,
            },
        )
    };
    let range: Prefix = "10.0.0.0/16".parse::<ipnet::IpNet>().unwrap().into();
    let services = (0..SERVICES).map(service).collect();
    Arc::new(NodeGraph::new(
        workloads.into(),
        rule_sets.into(),
        peer_sets,
        Arc::new((0..PEERS).map(address).collect()),
        Arc::from([range]),
        Arc::new(services),
    ))
}

fn measure<T>(name: &str, rounds: u32, mut work: impl FnMut() -> T) {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(work());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "{name:<40} p50 {:>10.1?}  best {:>10.1?}",
        times[times.len() / 2],
        times[0]
    );
}

fn main() {
    let now = Timestamp(0);
    let (before, after) = (graph(None), graph(Some(4_711)));
    let need = fit(&before, &Limits::default(), now).need;
    println!("{} rule sets: {need}", before.rule_sets.len());
    measure("build", 50, || Desired::build(&before, now));
    let desired = Desired::build(&before, now);
    let layout = desired.compact_layout().unwrap();
    measure("judge every decision", 50, || desired.decisions(&layout));
    measure("build, judge, check capacity", 50, || {
        fit(&before, &Limits::default(), now)
    });
    let clock = Clock {
        wall: now,
        monotonic_ns: 1,
        heard_ns: 1,
    };
    measure("tables in memory", 20, || Memory::new(&desired, clock));
    let mut fitted = fit(&before, &Limits::default(), now);
    let mut turn = 0;
    measure("one peer joins or leaves a set", 1_000, || {
        turn += 1;
        fitted.update(if turn % 2 == 1 { &after } else { &before }, now)
    });
}
