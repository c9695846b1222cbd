//! G8: a tenant fills the tables of policy to the brim, and beyond. On the same node a quarantine and a revocation come into force
//! within the usual bound all the same, and only the tenant who asked for too much is cut off, with the counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_agent::kernel::{Kernel, Options, Skb};
use bulkhead_agent::lanes::{self, Planner};
use bulkhead_datapath::abi::{Action as Fate, Hook, Mac};
use bulkhead_datapath::frame::{IpFrame, Payload, SYN};
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_encode::{Fitted, Limits, fit};
use bulkhead_graph::{
    Action, Address, Direction, Entry, LocalWorkload, Mode, Network, NodeGraph, PeerMatch, PeerSet,
    PeerSetId, PortMatch, PortRange, Protocol, RuleSet, RuleSetId, SharedWorkload, Stage,
    Timestamp, WorkloadUid, Workloads,
};

use nix::time::{ClockId, clock_gettime};

use crate::node;
use crate::place::{Place, alone};

/// What a processor does from the graph to the read-back, without optimisation.
const BOUND: Duration = Duration::from_secs(2);

/// The same by the clock on the wall, however busy the machine is: grace periods are long there.
const BUSY_BOUND: Duration = Duration::from_secs(30);

const SHOP: [u8; 4] = [10, 0, 0, 1];
const PET: [u8; 4] = [10, 0, 0, 2];
const CLIENT: [u8; 4] = [10, 9, 0, 1];

/// What a hostile tenant has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hoard {
    Peers,
    Networks,
    Decisions,
    PortClasses,
    Deadlines,
    /// Networks that all hold each other's holes: little to write, the square of it to think about.
    Nested,
}

/// What the others on the node have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// A client may reach the shop, everybody the pet.
    Calm,
    /// The client's edge is revoked, and the pet is in quarantine.
    Acted,
}

fn address(octets: [u8; 4]) -> Address {
    std::net::IpAddr::from(octets).into()
}

fn numbered(first: u32, number: usize) -> Address {
    let octets = (first + u32::try_from(number).unwrap()).to_be_bytes();
    address(octets)
}

fn set(number: usize) -> PeerSetId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    PeerSetId(id)
}

fn entry(stage: Stage, action: Action, peers: PeerMatch, ports: PortMatch) -> Entry {
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

fn of_sets(sets: Vec<PeerSetId>) -> PeerMatch {
    PeerMatch::Of {
        workloads: Workloads::Sets(sets),
        networks: vec![],
    }
}

fn of_networks(networks: Vec<Network>) -> PeerMatch {
    PeerMatch::Of {
        workloads: Workloads::Sets(vec![]),
        networks,
    }
}

fn tcp(port: usize) -> PortMatch {
    let port = u16::try_from(port).unwrap();
    PortMatch::of(vec![PortRange {
        protocol: Protocol::Tcp,
        from: port,
        to: port,
    }])
}

/// A node in the making.
#[derive(Default)]
struct Node {
    workloads: BTreeMap<WorkloadUid, SharedWorkload>,
    rule_sets: BTreeMap<RuleSetId, Arc<RuleSet>>,
    peer_sets: BTreeMap<PeerSetId, Arc<PeerSet>>,
}

impl Node {
    fn workload(&mut self, number: usize, name: (&str, &str), own: Address, entries: Vec<Entry>) {
        let egress = RuleSet {
            direction: Direction::Egress,
            entries: vec![],
        };
        let ingress = RuleSet {
            direction: Direction::Ingress,
            entries,
        };
        let workload = LocalWorkload {
            namespace: name.0.into(),
            name: name.1.into(),
            addresses: [own].into(),
            interface: None,
            egress: egress.id(),
            ingress: ingress.id(),
        };
        let uid = WorkloadUid(format!("uid-{number}").into());
        self.workloads.insert(uid, workload.into());
        for rules in [egress, ingress] {
            self.rule_sets.insert(rules.id(), Arc::new(rules));
        }
    }

    fn hog(&mut self, number: usize, mut allowed: Vec<Entry>) {
        allowed.push(entry(
            Stage::Namespace,
            Action::Deny,
            PeerMatch::Any,
            PortMatch::Any,
        ));
        let name = format!("hog{number}");
        self.workload(
            100 + number,
            ("hog", &name),
            numbered(0x0a00_0100, number),
            allowed,
        );
    }

    /// A set with some members of its own.
    fn peers(&mut self, number: usize, first: usize, members: usize) -> PeerSetId {
        let members = (first..first + members).map(|member| numbered(0x0a40_0000, member));
        self.peer_sets
            .insert(set(number), Arc::new(members.collect()));
        set(number)
    }

    fn hoard(&mut self, what: Hoard, size: usize) {
        let allow = |peers, ports| entry(Stage::Namespace, Action::Allow, peers, ports);
        match what {
            Hoard::Peers => {
                let all = self.peers(1, 0, size);
                self.hog(0, vec![allow(of_sets(vec![all]), PortMatch::Any)]);
            }
            Hoard::Networks => {
                // Every other one, so that none joins its neighbour.
                let network = |n: usize| {
                    let cidr = format!("{}/28", numbered(0x0b00_0000, n * 32));
                    Network::new(cidr.parse().unwrap(), [])
                };
                let networks = (0..size).map(network).collect();
                self.hog(0, vec![allow(of_networks(networks), PortMatch::Any)]);
            }
            Hoard::Decisions => {
                let sets: Vec<PeerSetId> = (0..SETS).map(|n| self.peers(n + 1, n, 1)).collect();
                for number in 0..size.div_ceil(SETS) {
                    let rules = sets
                        .iter()
                        .map(|set| allow(of_sets(vec![*set]), tcp(1_000 + number)));
                    self.hog(number, rules.collect());
                }
            }
            Hoard::PortClasses => {
                let rules = (1..=size).map(|port| allow(PeerMatch::Any, tcp(port)));
                self.hog(0, rules.collect());
            }
            Hoard::Deadlines => {
                let rule = |n: usize| Entry {
                    until: Some(Timestamp(1_000_000 + i64::try_from(n).unwrap() * 1_000)),
                    ..allow(PeerMatch::Any, tcp(1_000 + n))
                };
                self.hog(0, (0..size).map(rule).collect());
            }
            Hoard::Nested => {
                let rule = |n: usize| {
                    let hole = format!("11.{}.{}.1/32", n / 256, n % 256).parse().unwrap();
                    let network = Network::new("0.0.0.0/0".parse().unwrap(), [hole]);
                    allow(of_networks(vec![network]), PortMatch::Any)
                };
                self.hog(0, (0..size).map(rule).collect());
            }
        }
    }

    fn graph(self) -> Arc<NodeGraph> {
        let nobody = NodeGraph::default();
        Arc::new(NodeGraph::new(
            self.workloads.into(),
            self.rule_sets.into(),
            self.peer_sets.into(),
            nobody.known.clone(),
            Arc::from([]),
            nobody.services.clone(),
        ))
    }
}

/// Peers of each workload that hoards decisions: each has a decision about each.
const SETS: usize = 511;

fn graph(hoard: Option<(Hoard, usize)>, order: Order) -> Arc<NodeGraph> {
    let mut made = Node::default();
    let deny = |stage| entry(stage, Action::Deny, PeerMatch::Any, PortMatch::Any);
    made.peer_sets
        .insert(set(0), Arc::new([address(CLIENT)].into_iter().collect()));
    let open = entry(
        Stage::Namespace,
        Action::Allow,
        of_sets(vec![set(0)]),
        PortMatch::Any,
    );
    let (shop, pet) = match order {
        Order::Calm => (vec![open, deny(Stage::Namespace)], vec![]),
        Order::Acted => (vec![deny(Stage::Namespace)], vec![deny(Stage::Quarantine)]),
    };
    made.workload(0, ("blue", "shop"), address(SHOP), shop);
    made.workload(1, ("zoo", "pet"), address(PET), pet);
    if let Some((what, size)) = hoard {
        made.hoard(what, size);
    }
    made.graph()
}

/// The tables of one node, led as an agent leads them.
struct Led {
    kernel: Kernel,
    planner: Planner,
    fitted: Fitted,
}

impl Led {
    fn new(mut kernel: Kernel, start: &Arc<NodeGraph>) -> Self {
        kernel.fill(&MemoryTables::default()).unwrap();
        let limits = Limits::of(&kernel.maps.capacity);
        let mut led = Self {
            planner: Planner::new(lanes::Kernel::read(&mut kernel).unwrap()),
            fitted: fit(start, &limits, Timestamp(0)),
            kernel,
        };
        led.lead_to(start);
        led
    }

    /// Leads to a graph; returns how long that took up to the read-back, by this thread's processor and by the clock.
    fn lead_to(&mut self, graph: &Arc<NodeGraph>) -> (Duration, Duration) {
        let (start, worked) = (Instant::now(), processor_time());
        let clock = node::still();
        let changes = self.fitted.update(graph, clock.wall);
        let attached = node::attached(self.fitted.desired.graph());
        let plan = self
            .planner
            .plan(&self.fitted.desired, &attached, &changes, clock)
            .expect("what fits finds room");
        let committed = lanes::commit(&mut self.kernel, &mut self.planner, plan).unwrap();
        let took = (processor_time() - worked, start.elapsed());
        lanes::settle(&mut self.kernel, &mut self.planner, committed).unwrap();
        took
    }

    fn denied(&self) -> Vec<String> {
        let unfit = self.fitted.unfit.iter();
        unfit
            .map(|unfit| format!("{}/{}", unfit.namespace, unfit.name))
            .collect()
    }

    /// Whether the client reaches the shop, and the pet.
    fn reached(&self) -> [bool; 2] {
        [(0, SHOP), (1, PET)].map(|(number, own)| {
            let syn = Payload::Tcp {
                source: 40_000,
                destination: 80,
                flags: SYN,
            };
            let frame = IpFrame::new(Mac::default(), CLIENT.into(), own.into(), syn).build();
            let skb = Skb {
                ifindex: node::ifindex(number),
                ingress_ifindex: 2,
            };
            self.kernel
                .run(Hook::ToWorkload, &frame, skb)
                .unwrap()
                .action
                == Fate::Pass
        })
    }
}

/// Of this thread.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// How much of it is just not too much, and what the status calls it.
fn brim(what: Hoard, limits: &Limits) -> (usize, &'static str) {
    let limits = limits.0;
    match what {
        Hoard::Peers => (limits.peers - 8, "peers"),
        Hoard::Networks => (limits.networks - 8, "networks"),
        // Every workload may answer everybody, which takes some, too.
        Hoard::Decisions => ((limits.decisions - 4_096) / SETS * SETS, "decisions"),
        Hoard::PortClasses => (limits.port_blocks * 64 - 64, "port blocks"),
        Hoard::Deadlines => (limits.deadlines, "deadlines"),
        Hoard::Nested => (1_000, "steps of rules over rules"),
    }
}

fn play(mut led: Led, what: Hoard, size: usize, fits: bool) -> Led {
    assert_eq!(led.reached(), [true, true], "{what:?}");
    let came = led.lead_to(&graph(Some((what, size)), Order::Calm));
    let (_, called) = brim(what, &Limits::of(&led.kernel.maps.capacity));
    let denied = led.denied();
    if fits {
        assert!(denied.is_empty(), "{what:?} {size}: {denied:?}");
    } else {
        assert!(
            !denied.is_empty(),
            "{what:?} {size}: {} fits",
            led.fitted.need
        );
        assert!(
            denied.iter().all(|name| name.starts_with("hog/")),
            "{what:?}: {denied:?}"
        );
        let limits = Limits::of(&led.kernel.maps.capacity);
        let told = led.fitted.unfit[0].needed.excess(&limits);
        assert!(
            told.contains(&format!("{called} of ")),
            "{what:?}: {told:?}"
        );
    }
    assert_eq!(led.reached(), [true, true], "{what:?}: others notice");
    let acted = led.lead_to(&graph(Some((what, size)), Order::Acted));
    assert_eq!(led.reached(), [false, false], "{what:?}: not in force");
    println!("{what:?} {size}: fills in {came:?}; quarantine and revocation in {acted:?}");
    assert!(acted.0 < BOUND, "{what:?}: {acted:?}");
    assert!(acted.1 < BUSY_BOUND, "{what:?}: {acted:?}");
    led.lead_to(&graph(None, Order::Calm));
    assert!(led.denied().is_empty());
    assert_eq!(led.reached(), [true, true], "{what:?}: modest again");
    led
}

#[test]
fn g8_a_hoarding_tenant_holds_nobody_up() {
    alone(|| {
        let _place = Place::new("hoard");
        node::wire(2);
        let mut led = Led::new(
            crate::kernel(&Options::default()),
            &graph(None, Order::Calm),
        );
        let limits = Limits::of(&led.kernel.maps.capacity);
        for what in [
            Hoard::Peers,
            Hoard::Networks,
            Hoard::Decisions,
            Hoard::PortClasses,
            Hoard::Deadlines,
            Hoard::Nested,
        ] {
            let (most, _) = brim(what, &limits);
            let beyond = most + most / 8 + 128;
            led = play(led, what, most, true);
            led = play(led, what, beyond, false);
        }
    });
}
