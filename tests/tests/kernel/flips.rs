//! G4: readers on all processors under a stream of revisions see none of them mixed with another. Without the wait for packets
//! under way they do, so this test can fail.
//!
//! Two revisions in turn, each with its own rule set for the workload and its own class for the peer, and in each of them
//! this rule set denies this class. Any other pair is allowed. So a packet that passes saw two revisions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bulkhead_agent::kernel::{Grace, Kernel, KernelError, Options, Skb, Way};
use bulkhead_agent::lanes::{self, Attached, Interface, MapWrite, Planner};
use bulkhead_datapath::abi::{CounterIndex, Generation, Hook, Reason};
use bulkhead_datapath::frame::{IpFrame, Payload, SYN};
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_encode::{Changes, Desired};
use bulkhead_graph::{
    Action, Address, Direction, Entry, LocalWorkload, Mode, NodeGraph, PeerMatch, PeerSetId,
    PortMatch, RuleSet, Stage, WorkloadUid, Workloads,
};

use crate::node;
use crate::place::{Place, alone};

const REVISIONS: usize = 2;
const FLIPS: usize = 2_000;
const READERS: usize = 2;
const RUNS_AT_ONCE: u32 = 5_000;

/// For the wrong way to show; it shows within a second.
const PATIENCE: Duration = Duration::from_secs(120);

const PEER: [u8; 4] = [10, 7, 0, 100];
const OWN: [u8; 4] = [10, 0, 0, 1];

fn address(octets: [u8; 4]) -> Address {
    std::net::IpAddr::from(octets).into()
}

fn set(number: usize) -> PeerSetId {
    PeerSetId([u8::try_from(number).unwrap() + 1; 16])
}

/// Denies one set and allows everybody else.
fn all_but(number: usize) -> RuleSet {
    let entry = |action, peers| Entry {
        stage: Stage::Namespace,
        action,
        mode: Mode::Enforce,
        peers,
        ports: PortMatch::Any,
        until: None,
        lease: None,
    };
    let denied = PeerMatch::Of {
        workloads: Workloads::Sets(vec![set(number)]),
        networks: vec![],
    };
    RuleSet {
        direction: Direction::Egress,
        entries: vec![
            entry(Action::Deny, denied),
            entry(Action::Allow, PeerMatch::Any),
        ],
    }
}

/// Workload `n` has rule set `n + number`, so that all of them always exist, and the peer is in set `number`, in which somebody
/// else always is.
fn revision(number: usize) -> Arc<NodeGraph> {
    let ingress = RuleSet {
        direction: Direction::Ingress,
        entries: vec![],
    };
    let mut rule_sets = BTreeMap::from([(ingress.id(), Arc::new(ingress.clone()))]);
    let mut workloads = BTreeMap::new();
    let mut peer_sets = BTreeMap::new();
    for n in 0..REVISIONS {
        let egress = all_but((n + number) % REVISIONS);
        let octet = u8::try_from(n).unwrap();
        let workload = LocalWorkload {
            namespace: "ns".into(),
            name: format!("w{n}").into(),
            addresses: [address([OWN[0], OWN[1], OWN[2], OWN[3] + octet])].into(),
            interface: None,
            egress: egress.id(),
            ingress: ingress.id(),
        };
        workloads.insert(WorkloadUid(format!("uid-{n}").into()), workload.into());
        rule_sets.insert(egress.id(), Arc::new(egress));
        let resident = address([10, 7, 0, octet]);
        let members = [resident]
            .into_iter()
            .chain((n == number).then(|| address(PEER)));
        peer_sets.insert(set(n), Arc::new(members.collect()));
    }
    let nobody = NodeGraph::default();
    Arc::new(NodeGraph::new(
        workloads.into(),
        rule_sets.into(),
        peer_sets.into(),
        nobody.known.clone(),
        Arc::from([]),
        nobody.services.clone(),
    ))
}

/// Writes down what is written.
struct Recorded<'a> {
    kernel: &'a mut Kernel,
    writes: Vec<MapWrite>,
}

impl lanes::Kernel for Recorded<'_> {
    type Error = KernelError;

    fn write(&mut self, write: &MapWrite) -> Result<(), KernelError> {
        self.writes.push(*write);
        lanes::Kernel::write(self.kernel, write)
    }

    fn grace(&mut self) -> Result<(), KernelError> {
        lanes::Kernel::grace(self.kernel)
    }

    fn holds(&mut self, write: &MapWrite) -> Result<bool, KernelError> {
        lanes::Kernel::holds(self.kernel, write)
    }

    fn read(&mut self) -> Result<MemoryTables, KernelError> {
        lanes::Kernel::read(self.kernel)
    }
}

/// The node under flips.
struct Writer {
    kernel: Kernel,
    planner: Planner,
    revisions: Vec<Desired>,
    attached: Attached,
}

impl Writer {
    fn new(options: &Options, way: Way) -> Self {
        let mut kernel = crate::kernel(options);
        kernel.grace = Grace::by(way).unwrap();
        let planner = Planner::new(lanes::Kernel::read(&mut kernel).unwrap());
        let graphs: Vec<_> = (0..REVISIONS).map(revision).collect();
        let interface = |n| Interface {
            ifindex: node::ifindex(n),
            mac: node::mac(n),
            flags: 0,
        };
        let uids = graphs[0].workloads.keys().cloned();
        Self {
            kernel,
            planner,
            attached: uids.zip((0..).map(interface)).collect(),
            revisions: graphs
                .iter()
                .map(|graph| Desired::build(graph, node::still().wall))
                .collect(),
        }
    }

    /// Begins a revision as the agent does; returns the writes in their order.
    fn flip(&mut self, number: usize) -> Vec<MapWrite> {
        let desired = &self.revisions[number % REVISIONS];
        let plan = self
            .planner
            .plan(desired, &self.attached, &Changes::Everything, node::still())
            .unwrap();
        let mut recorded = Recorded {
            kernel: &mut self.kernel,
            writes: Vec::new(),
        };
        node::perform(&mut recorded, &mut self.planner, plan).unwrap();
        recorded.writes
    }

    /// The same writes once more, under another number, with no wait between the flip and what follows it.
    fn hurry(&mut self, writes: &[MapWrite]) {
        let next = Generation(self.kernel.maps.node.generation().0 + 1);
        let flip = MapWrite::Generation(next);
        for write in writes {
            let is_flip = matches!(write, MapWrite::Generation(_));
            let again = if is_flip { &flip } else { write };
            lanes::Kernel::write(&mut self.kernel, again).unwrap();
        }
    }

    /// Packets that passed, and packets that were denied as they should be.
    fn counted(&self) -> (u64, u64) {
        let count = |reason: &Reason| {
            let index = CounterIndex::new(Hook::FromWorkload, *reason).0;
            let values = self.kernel.maps.counters.get(index).unwrap();
            values.iter().map(|value| value.packets).sum::<u64>()
        };
        let sum = |passes: bool| {
            let reasons = Reason::ALL.iter();
            reasons
                .filter(|reason| reason.passes() == passes)
                .map(count)
                .sum()
        };
        (sum(true), sum(false))
    }
}

/// Runs the same packet over and over, in the kernel.
fn reader(options: &Options, stop: &AtomicBool) {
    let kernel = crate::kernel(options);
    let syn = Payload::Tcp {
        source: 40_000,
        destination: 80,
        flags: SYN,
    };
    let frame = IpFrame::new(node::mac(0), OWN.into(), PEER.into(), syn).build();
    let skb = Skb {
        ifindex: node::ifindex(0),
        ingress_ifindex: node::ifindex(0),
    };
    while !stop.load(Ordering::Relaxed) {
        kernel
            .run_repeatedly(Hook::FromWorkload, &frame, skb, RUNS_AT_ONCE)
            .unwrap();
    }
}

/// Ends the readers, also when the writer panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets readers look on while `work` writes. Returns the packets that passed, and those that were denied.
fn watched(name: &'static str, way: Way, work: impl FnOnce(&mut Writer)) -> (u64, u64) {
    let place = Place::new(name);
    node::wire(1);
    let options = place.options(node::CAPACITY);
    let mut writer = Writer::new(&options, way);
    writer.flip(0);
    assert_eq!(writer.counted(), (0, 0));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&stop);
        for _ in 0..READERS {
            scope.spawn(|| reader(&options, &stop));
        }
        work(&mut writer);
    });
    writer.counted()
}

fn no_mixture(name: &'static str, way: Way, flips: usize) {
    alone(move || {
        let start = Instant::now();
        let (passed, denied) = watched(name, way, |writer| {
            assert_eq!(writer.kernel.grace.way(), way);
            for number in 1..=flips {
                writer.flip(number);
            }
        });
        let took = start.elapsed();
        println!(
            "{flips} flips by {way} in {took:?}: {denied} verdicts of one revision, {passed} of two"
        );
        assert_eq!(passed, 0, "packets saw two revisions");
        assert!(denied > 1_000_000, "the readers saw little: {denied}");
    });
}

#[test]
fn g4_readers_see_no_mixture_of_revisions() {
    no_mixture("flips", Way::Membarrier, FLIPS);
}

#[test]
fn g4_readers_see_none_where_membarrier_is_refused_either() {
    no_mixture("updates", Way::MapUpdate, FLIPS / 8);
}

#[test]
fn g4_without_the_grace_period_readers_do_see_a_mixture() {
    alone(|| {
        let start = Instant::now();
        let mut flips = 0_usize;
        let (passed, denied) = watched("hasty", Way::Membarrier, |writer| {
            writer.flip(1);
            // What each of the two ways writes, once there has been everything.
            let ways = [writer.flip(2), writer.flip(3)];
            while writer.counted().0 == 0 && start.elapsed() < PATIENCE {
                for _ in 0..FLIPS {
                    writer.hurry(&ways[flips % 2]);
                    flips += 1;
                }
            }
        });
        let took = start.elapsed();
        println!(
            "{flips} hasty flips in {took:?}: {denied} verdicts of one revision, {passed} of two"
        );
        assert!(
            passed > 0,
            "the test that looks for mixtures cannot find one"
        );
    });
}
