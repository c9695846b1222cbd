//! G15: the thread that owns the tables acknowledges what the kernel took, and nothing else. Tables are filled by somebody else
//! behind its back, so that the real kernel refuses.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_agent::enforce::{Enforcer, Input, Outputs, Rhythm, State};
use bulkhead_agent::kernel::{Kernel, KernelError, Skb, attached};
use bulkhead_agent::store::Store;
use bulkhead_datapath::abi::{
    self, Action as Fate, Class, DecisionKey, DecisionValue, Generation, Hook, Mac, NetworkKey,
    NetworkSlot, PeerSlot, WorkloadSlot,
};
use bulkhead_datapath::frame::{IpFrame, Payload, SYN};
use bulkhead_graph::{
    Action, Address, Delta, Digest, Direction, Entry, LocalWorkload, Mode, Network, NodeGraph,
    PeerMatch, PeerSetId, PortMatch, RuleSet, Stage, WorkloadUid, Workloads,
};
use bulkhead_wire::{Ack, Frontier, Refusal, Refused, Revision};
use tokio::sync::{broadcast, mpsc, watch};

use crate::node;
use crate::place::{Place, alone};
use crate::thread::rest;

const LIMIT: Duration = Duration::from_secs(60);
const NEVER: Duration = Duration::from_secs(3_600);

/// An agent's inner half: the thread that owns the tables, and what goes in and comes out.
struct Agent {
    /// Its clock; ends after the thread.
    _runtime: tokio::runtime::Runtime,
    inputs: mpsc::Sender<Input>,
    acks: watch::Receiver<Option<Ack>>,
    refusals: mpsc::Receiver<Refused>,
    thread: Option<std::thread::JoinHandle<()>>,
    state: PathBuf,
    version: u64,
}

impl Agent {
    fn start(place: &Place, workloads: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        // The folder that its place has for pins is the test's own, too.
        let state = place.pins().with_extension("state");
        std::fs::create_dir_all(&state).unwrap();
        let (acks_sender, acks) = watch::channel(None);
        let (refusals_sender, refusals) = mpsc::channel(16);
        let outputs = Outputs {
            acks: acks_sender,
            refusals: refusals_sender,
            events: broadcast::channel(16).0,
            waiting: watch::channel(false).0,
            metrics: Arc::default(),
        };
        let rhythm = Rhythm {
            sweep: NEVER,
            audit: NEVER,
        };
        let kernel = crate::kernel(&place.options(node::CAPACITY));
        let store = Store::in_directory(&state);
        let (inputs, mut inbox) = mpsc::channel(4);
        let handle = runtime.handle().clone();
        let thread = std::thread::spawn(move || {
            let opened = State::open(kernel, node::links(workloads)).unwrap();
            Enforcer::new(opened, store, outputs, rhythm).run(&handle, &mut inbox);
        });
        Self {
            _runtime: runtime,
            inputs,
            acks,
            refusals,
            thread: Some(thread),
            state,
            version: 0,
        }
    }

    fn send(&mut self, graph: &NodeGraph) {
        self.version += 1;
        let revision = Revision {
            delta: Delta::snapshot(graph),
            frontier: Frontier {
                versions: [("folder".to_owned(), self.version)].into(),
                ..Frontier::default()
            },
        };
        self.inputs
            .blocking_send(Input::Revision(Box::new(revision)))
            .unwrap();
    }

    fn acked(&self) -> Option<Digest> {
        self.acks.borrow().as_ref().map(|ack| ack.digest)
    }

    /// The outcome of the revision that was sent.
    fn outcome(&mut self, of: Digest) -> Result<(), Refused> {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            if self.acked() == Some(of) {
                rest(&self.inputs);
                return Ok(());
            }
            if let Ok(refused) = self.refusals.try_recv() {
                rest(&self.inputs);
                return Err(refused);
            }
            std::thread::yield_now();
        }
        panic!("neither acknowledged nor refused");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.inputs.blocking_send(Input::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

/// Workloads that admit a number of peers, each by a rule of its own, and one network.
fn graph(workloads: usize, peers: u8) -> NodeGraph {
    let entry = |action, peers| Entry {
        stage: Stage::Namespace,
        action,
        mode: Mode::Enforce,
        peers,
        ports: PortMatch::Any,
        until: None,
        lease: None,
    };
    let set = |number: u8| PeerSetId([number + 1; 16]);
    let admitted = |number| PeerMatch::Of {
        workloads: Workloads::Sets(vec![set(number)]),
        networks: vec![Network::new(
            format!("192.0.{number}.0/24").parse().unwrap(),
            [],
        )],
    };
    let mut entries: Vec<Entry> = (0..peers)
        .map(|number| entry(Action::Allow, admitted(number)))
        .collect();
    entries.push(entry(Action::Deny, PeerMatch::Any));
    let ingress = RuleSet {
        direction: Direction::Ingress,
        entries,
    };
    let egress = RuleSet {
        direction: Direction::Egress,
        entries: vec![],
    };
    let workload = |number: usize| LocalWorkload {
        namespace: "ns".into(),
        name: format!("w{number}").into(),
        addresses: [IpAddr::from(node::own(number)).into()].into(),
        interface: None,
        egress: egress.id(),
        ingress: ingress.id(),
    };
    let member = |number: u8| Address::from(IpAddr::from([10, 9, 0, number]));
    let nobody = NodeGraph::default();
    NodeGraph::new(
        (0..workloads)
            .map(|n| (WorkloadUid(format!("uid-{n}").into()), workload(n).into()))
            .collect(),
        [&egress, &ingress]
            .map(|rules| (rules.id(), Arc::new(rules.clone())))
            .into(),
        (0..peers)
            .map(|n| (set(n), Arc::new([member(n)].into_iter().collect())))
            .collect(),
        nobody.known.clone(),
        Arc::from([]),
        nobody.services.clone(),
    )
}

/// One of the tables that can be full, filled and emptied behind the agent's back.
struct Table {
    name: &'static str,
    insert: fn(&mut Kernel, u32) -> Result<bool, KernelError>,
    remove: fn(&mut Kernel, u32) -> Result<bool, KernelError>,
}

const fn decision(number: u32) -> DecisionKey {
    DecisionKey {
        rule_set: abi::RuleSet(u32::MAX),
        class: Class(number),
        block: 0,
    }
}

fn stranger(number: u32) -> abi::Address {
    IpAddr::from(Ipv4Addr::from(0x0afa_0000 + number)).into()
}

fn prefix(number: u32) -> NetworkKey {
    NetworkKey::new(stranger(number), 128)
}

const TABLES: [Table; 4] = [
    Table {
        name: "DECISIONS",
        insert: |kernel, n| {
            kernel
                .maps
                .decisions
                .insert(&decision(n), &DecisionValue::default())
        },
        remove: |kernel, n| kernel.maps.decisions.remove(&decision(n)),
    },
    Table {
        name: "PEERS",
        insert: |kernel, n| kernel.maps.peers.insert(&stranger(n), &PeerSlot(255)),
        remove: |kernel, n| kernel.maps.peers.remove(&stranger(n)),
    },
    Table {
        name: "NETWORKS",
        insert: |kernel, n| kernel.maps.networks.insert(&prefix(n), NetworkSlot(127)),
        remove: |kernel, n| kernel.maps.networks.remove(&prefix(n)),
    },
    Table {
        name: "INTERFACES",
        insert: |kernel, n| {
            kernel
                .maps
                .interfaces
                .insert(&(n + 1_000), &WorkloadSlot(15))
        },
        remove: |kernel, n| kernel.maps.interfaces.remove(&(n + 1_000)),
    },
];

/// Fills a table; returns how many entries that took.
fn fill(kernel: &mut Kernel, table: &Table) -> u32 {
    for number in 0.. {
        match (table.insert)(kernel, number) {
            Ok(_) => {}
            Err(KernelError::Full { .. }) => return number,
            Err(error) => panic!("{}: {error}", table.name),
        }
    }
    unreachable!("tables end")
}

#[test]
fn g15_what_a_full_table_refused_is_not_acknowledged() {
    alone(|| {
        let place = Place::new("acks");
        node::wire(2);
        let mut agent = Agent::start(&place, 2);
        let mut beside = crate::kernel(&place.options(node::CAPACITY));
        let modest = graph(1, 1);
        for table in &TABLES {
            agent.send(&modest);
            agent.outcome(modest.digest()).unwrap();
            let generation = beside.maps.node.generation();
            let junk = fill(&mut beside, table);
            let more = graph(2, 9);
            agent.send(&more);
            let refused = agent.outcome(more.digest()).unwrap_err();
            assert_eq!(
                (refused.refusal, refused.digest),
                (Refusal::Kernel, more.digest()),
                "{}",
                refused.reason
            );
            assert!(
                refused
                    .reason
                    .contains(&format!("map {} is full", table.name)),
                "{}: {}",
                table.name,
                refused.reason
            );
            assert_eq!(agent.acked(), Some(modest.digest()), "{}", table.name);
            assert!(
                is_of(&beside, generation),
                "{}: packets are judged by another revision",
                table.name
            );
            // What is not ours is taken out when the agent goes back to what is in force; the next try finds room.
            agent.send(&more);
            agent
                .outcome(more.digest())
                .unwrap_or_else(|refused| panic!("{}: {}", table.name, refused.reason));
            for number in 0..junk {
                assert!(
                    !(table.remove)(&mut beside, number).unwrap(),
                    "{}: entry {number} is still there",
                    table.name
                );
            }
        }
    });
}

#[test]
fn g8_an_agent_without_a_graph_makes_room_for_its_first_one() {
    for table in &TABLES {
        alone(move || {
            let place = Place::new("room");
            node::wire(2);
            let mut agent = Agent::start(&place, 2);
            // As an apply that broke off left it, whose graph is lost.
            let mut beside = crate::kernel(&place.options(node::CAPACITY));
            fill(&mut beside, table);
            let first = graph(2, 9);
            agent.send(&first);
            agent
                .outcome(first.digest())
                .unwrap_or_else(|refused| panic!("{}: {}", table.name, refused.reason));
        });
    }
}

/// What the programs say about a packet of a workload in both directions.
fn fates(kernel: &Kernel, number: usize) -> [Fate; 2] {
    let (own, peer) = (IpAddr::from(node::own(number)), IpAddr::from([10, 9, 0, 0]));
    let ifindex = node::ifindex(number);
    [
        (Hook::FromWorkload, node::mac(number), own, peer, ifindex),
        (Hook::ToWorkload, Mac::default(), peer, own, 2),
    ]
    .map(|(hook, mac, from, to, ingress_ifindex)| {
        let syn = Payload::Tcp {
            source: 40_000,
            destination: 80,
            flags: SYN,
        };
        let skb = Skb {
            ifindex,
            ingress_ifindex,
        };
        let frame = IpFrame::new(mac, from, to, syn).build();
        kernel.run(hook, &frame, skb).unwrap().action
    })
}

#[test]
fn g2_a_workload_that_comes_while_no_revision_can_be_taken_is_guarded_and_closed() {
    alone(|| {
        let place = Place::new("comes");
        node::wire(2);
        let mut agent = Agent::start(&place, 1);
        let mut beside = crate::kernel(&place.options(node::CAPACITY));
        let one = graph(1, 1);
        agent.send(&one);
        agent.outcome(one.digest()).unwrap();
        let programs = |number: usize| {
            Hook::ALL.map(|hook| {
                let there = attached(&format!("near{number}"), hook, 0).unwrap();
                there.programs.len()
            })
        };
        assert_eq!((programs(0), programs(1)), ([1, 1], [0, 0]));
        assert_eq!(fates(&beside, 0), [Fate::Pass, Fate::Pass]);
        fill(&mut beside, &TABLES[0]);
        let links = Input::Links(Box::new(node::links(2)));
        agent.inputs.blocking_send(links).unwrap();
        let two = graph(2, 9);
        agent.send(&two);
        agent.outcome(two.digest()).unwrap_err();
        assert_eq!(programs(1), [1, 1], "it is not guarded");
        assert_eq!(fates(&beside, 1), [Fate::Drop, Fate::Drop]);
        assert_eq!(fates(&beside, 0), [Fate::Pass, Fate::Pass]);
        // Its rules come with the next revision that fits.
        agent.send(&two);
        agent.outcome(two.digest()).unwrap();
        assert_eq!(fates(&beside, 1), [Fate::Pass, Fate::Pass]);
    });
}

/// Whether packets read the lanes of a revision, or of one that says the same.
fn is_of(kernel: &Kernel, before: Generation) -> bool {
    let now = kernel.maps.node.generation();
    now == before || now.0 == before.0 + 1
}
