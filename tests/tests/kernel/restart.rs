//! What an agent finds that starts where another was killed, and what it leaves alone (G1, G3, G5).
//!
//! An agent that is killed has done what it had done, and nothing at its end. One that is told to end does no more, but waits for
//! the graph on its way to the disk.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bulkhead_agent::enforce::{Enforcer, Input, Outputs, Rhythm, State, read_tables};
use bulkhead_agent::interfaces::{Far, Link, Links};
use bulkhead_agent::kernel::{Kernel, Maps};
use bulkhead_agent::metrics::Metrics;
use bulkhead_agent::store::{Context, Mark, Store};
use bulkhead_datapath::abi::{ABI_VERSION, ExpiryId, Generation, Mac};
use bulkhead_graph::{
    Action, Address, Delta, Digest, Direction, Entry, Lease, LocalWorkload, Mode, NodeGraph,
    PeerMatch, PortMatch, RuleSet, SortedMap, Stage, WorkloadUid,
};
use bulkhead_wire::{Ack, Answer, Frontier, Refusal, Refused, Revision};
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode as Permissions;
use nix::unistd::mkfifo;
use tokio::sync::{broadcast, mpsc, watch};

use crate::pins::{SIZES, arrives};
use crate::place::Place;
use crate::thread::rest;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const SELDOM: Duration = Duration::from_secs(3_600);

/// The workload's one address; the loopback stands for its interface.
fn address() -> Address {
    Address::from(std::net::IpAddr::from([10, 0, 0, 1]))
}

pub(crate) fn links() -> Links {
    let far = Far {
        mac: Mac::default(),
        addresses: [address()].into(),
    };
    let link = Link {
        name: "lo".to_owned(),
        far: Some(far),
    };
    Links {
        by_index: [(1, link)].into(),
        ..Links::default()
    }
}

/// A workload that everybody or nobody may reach.
pub(crate) fn graph(action: Action) -> NodeGraph {
    graph_with(action, None)
}

/// The same; what is allowed has a lease.
fn graph_with(action: Action, lease: Option<Lease>) -> NodeGraph {
    let entry = |action, lease| Entry {
        stage: Stage::Namespace,
        action,
        mode: Mode::Enforce,
        peers: PeerMatch::Any,
        ports: PortMatch::Any,
        until: None,
        lease,
    };
    // What is allowed for a while is denied else: a list that runs out allows.
    let rules = |direction, action| RuleSet {
        direction,
        entries: match (action, lease) {
            (Action::Allow, Some(_)) => vec![entry(action, lease), entry(Action::Deny, None)],
            (Action::Allow | Action::Deny | Action::Pass, _) => vec![entry(action, None)],
        },
    };
    let (egress, ingress) = (
        rules(Direction::Egress, Action::Deny),
        rules(Direction::Ingress, action),
    );
    let workload = LocalWorkload {
        namespace: "shop".into(),
        name: "web".into(),
        addresses: [address()].into(),
        interface: None,
        egress: egress.id(),
        ingress: ingress.id(),
    };
    NodeGraph::new(
        [(WorkloadUid("u-1".into()), workload.into())].into(),
        [egress, ingress]
            .map(|rules| (rules.id(), Arc::new(rules)))
            .into(),
        SortedMap::new(),
        Arc::default(),
        [].into(),
        Arc::default(),
    )
}

pub(crate) fn frontier(version: u64) -> Frontier {
    Frontier {
        versions: [("folder".to_owned(), version)].into(),
        ..Frontier::default()
    }
}

/// A small disk of the test's own; it ends with the test's thread.
struct Disk(PathBuf);

impl Disk {
    fn new(name: &str, size: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bulkhead-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let none = MsFlags::empty();
        mount(Some("tmpfs"), &path, Some("tmpfs"), none, Some(size)).unwrap();
        Self(path)
    }

    /// The graph reaches it after the ack.
    fn wait_holds(&self, action: Action) {
        let deadline = Instant::now() + LIMIT;
        while !self.holds(action) {
            assert!(Instant::now() < deadline, "the graph is on disk in time");
            std::thread::yield_now();
        }
    }

    fn holds(&self, action: Action) -> bool {
        let stored = Store::in_directory(&self.0).load().unwrap();
        stored.is_some_and(|stored| stored.graph.digest() == graph(action).digest())
    }

    /// From now on the next graph waits for the disk.
    fn hang(&self) {
        mkfifo(&self.0.join("graph.new"), Permissions::S_IRWXU).unwrap();
    }

    /// It waits no more, and fails: such a file cannot be made safe.
    fn go_on(&self) {
        let mut written = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(self.0.join("graph.new"))
            .unwrap();
        let deadline = Instant::now() + LIMIT;
        while !written.read(&mut [0]).is_ok_and(|bytes| bytes > 0) {
            assert!(Instant::now() < deadline, "a graph is written in time");
            std::thread::yield_now();
        }
        // Whatever else it writes has room there.
        while written.read(&mut [0; 4_096]).is_ok_and(|bytes| bytes > 0) {}
    }

    /// From now on no new graph can be written.
    fn fail(&self) {
        std::os::unix::fs::symlink("/dev/full", self.0.join("graph.new")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The thread of an agent that owns the kernel's tables.
struct Agent {
    runtime: tokio::runtime::Runtime,
    inputs: mpsc::Sender<Input>,
    acks: watch::Receiver<Option<Ack>>,
    refusals: mpsc::Receiver<Refused>,
    metrics: Arc<Metrics>,
    thread: JoinHandle<()>,
}

impl Agent {
    fn start(place: &Place, disk: &Disk) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (acks_sender, acks) = watch::channel(None);
        let (refusals_sender, refusals) = mpsc::channel(4);
        let metrics = Arc::new(Metrics::default());
        let outputs = Outputs {
            acks: acks_sender,
            refusals: refusals_sender,
            events: broadcast::channel(4).0,
            waiting: watch::channel(false).0,
            metrics: metrics.clone(),
        };
        let rhythm = Rhythm {
            sweep: SELDOM,
            audit: SELDOM,
        };
        let (inputs, mut inbox) = mpsc::channel(4);
        let handle = runtime.handle().clone();
        let (options, store) = (place.options(SIZES), Store::in_directory(&disk.0));
        let (up, is_up) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let state = State::open(Kernel::open(&options).unwrap(), links()).unwrap();
            let mut enforcer = Enforcer::new(state, store, outputs, rhythm);
            enforcer.resume();
            up.send(()).unwrap();
            enforcer.run(&handle, &mut inbox);
        });
        is_up.recv_timeout(LIMIT).expect("the agent is up in time");
        Self {
            runtime,
            inputs,
            acks,
            refusals,
            metrics,
            thread,
        }
    }

    fn send(&self, action: Action, version: u64) {
        let revision = Revision {
            delta: Delta::snapshot(&graph(action)),
            frontier: frontier(version),
        };
        self.inputs
            .blocking_send(Input::Revision(Box::new(revision)))
            .unwrap();
    }

    /// Sends a revision that is acknowledged.
    fn enforce(&mut self, action: Action, version: u64) -> Ack {
        self.send(action, version);
        let ack = self.wait_acked(action, version);
        rest(&self.inputs);
        ack
    }

    fn wait_acked(&mut self, action: Action, version: u64) -> Ack {
        self.wait_acked_digest(graph(action).digest(), version)
    }

    fn wait_acked_digest(&mut self, digest: Digest, version: u64) -> Ack {
        let is_acked = |ack: &Option<Ack>| {
            ack.as_ref()
                .is_some_and(|ack| ack.digest == digest && ack.frontier.reaches(&frontier(version)))
        };
        let acked = self.runtime.block_on(async {
            let acked = tokio::time::timeout(LIMIT, self.acks.wait_for(is_acked)).await;
            acked.expect("an ack in time").unwrap().clone()
        });
        acked.unwrap()
    }

    /// Sends a revision that is not.
    fn refuse(&mut self, action: Action, version: u64) -> Refusal {
        self.send(action, version);
        let refused = self
            .runtime
            .block_on(async { tokio::time::timeout(LIMIT, self.refusals.recv()).await });
        refused.expect("an answer in time").unwrap().refusal
    }

    fn acked(&self) -> Option<Ack> {
        self.acks.borrow().clone()
    }

    /// What its metrics say of the graph in force.
    fn is_on_disk(&self) -> bool {
        let text = self.metrics.render(&rest(&self.inputs)).unwrap();
        let said = text
            .lines()
            .find_map(|line| line.strip_prefix("bulkhead_agent_graph_on_disk "));
        said.unwrap() == "1"
    }

    fn wait_on_disk(&self) {
        let deadline = Instant::now() + LIMIT;
        while !self.is_on_disk() {
            assert!(Instant::now() < deadline, "the metrics say so in time");
        }
    }

    fn kill(self) {
        self.inputs.blocking_send(Input::End).unwrap();
        self.thread.join().unwrap();
    }
}

pub(crate) fn maps(place: &Place) -> Maps {
    Maps::pinned(&place.pins().join(format!("v{ABI_VERSION}")).join("maps")).unwrap()
}

/// Everything that an agent writes.
fn held(place: &Place) -> (Generation, String) {
    let tables = read_tables(&maps(place)).unwrap();
    (tables.node.generation, format!("{tables:?}"))
}

/// In a thread of its own, which has namespaces of its own.
pub(crate) fn apart(test: impl FnOnce() + Send + 'static) {
    std::thread::spawn(test).join().unwrap();
}

#[test]
fn g1_g5_killed_between_ack_and_save_a_node_stays_at_what_it_has_acked() {
    apart(|| {
        let place = Place::new("ack-save");
        let disk = Disk::new("ack-save-state", "size=1m");
        let mut agent = Agent::start(&place, &disk);
        agent.enforce(Action::Allow, 3);
        disk.wait_holds(Action::Allow);
        disk.fail();
        agent.enforce(Action::Deny, 5);
        agent.kill();
        let revoked = held(&place);

        // The graph on disk would open again what was revoked. The controller is away.
        let mut agent = Agent::start(&place, &disk);
        assert_eq!(
            agent.acked(),
            None,
            "nothing is claimed that was not read back"
        );
        assert_eq!(held(&place), revoked);
        // A controller that lags behind is not believed, although the disk knows of nothing newer than 3.
        assert_eq!(agent.refuse(Action::Allow, 4), Refusal::Older);
        assert_eq!(held(&place), revoked);
        // The right one is, and the kernel has it already.
        let ack = agent.enforce(Action::Deny, 5);
        assert_eq!((ack.writes, held(&place)), (0, revoked));
        agent.enforce(Action::Allow, 6);
        agent.kill();
    });
}

#[test]
fn g1_a_disk_that_hangs_holds_no_revision_up() {
    apart(|| {
        let place = Place::new("hangs");
        let disk = Disk::new("hangs-state", "size=1m");
        let mut agent = Agent::start(&place, &disk);
        disk.hang();
        agent.enforce(Action::Allow, 3);
        let allowed = held(&place);
        agent.enforce(Action::Deny, 5);
        assert_ne!(held(&place), allowed, "it is in force and read back");
        let mark = Store::in_directory(&disk.0).load_mark().unwrap().unwrap();
        assert_eq!(mark.digest, graph(Action::Deny).digest());
        // Told to end, it waits for the one on its way, and writes the newest after it.
        agent.inputs.blocking_send(Input::End).unwrap();
        disk.go_on();
        agent.thread.join().unwrap();
        assert!(disk.holds(Action::Deny));
        let agent = Agent::start(&place, &disk);
        assert_eq!(agent.acked().unwrap().frontier, frontier(5));
        agent.kill();
    });
}

#[test]
fn a_graph_that_another_is_written_over_is_not_said_to_be_on_disk() {
    apart(|| {
        let place = Place::new("over");
        let disk = Disk::new("over-state", "size=1m");
        let mut agent = Agent::start(&place, &disk);
        agent.enforce(Action::Allow, 3);
        disk.wait_holds(Action::Allow);
        agent.wait_on_disk();
        disk.hang();
        agent.enforce(Action::Deny, 4);
        agent.enforce(Action::Allow, 5);
        assert!(!agent.is_on_disk(), "what hangs may still replace it");
        disk.go_on();
        agent.wait_on_disk();
        agent.kill();
        assert!(disk.holds(Action::Allow));
    });
}

#[test]
fn g3_a_restart_with_nothing_changed_leaves_every_byte() {
    apart(|| {
        let place = Place::new("unchanged");
        let disk = Disk::new("unchanged-state", "size=1m");
        let mut agent = Agent::start(&place, &disk);
        agent.enforce(Action::Allow, 3);
        agent.kill();
        let before = held(&place);
        let agent = Agent::start(&place, &disk);
        let ack = agent.acked().unwrap();
        assert_eq!((ack.writes, ack.frontier), (0, frontier(3)));
        assert!(agent.is_on_disk());
        assert_eq!(held(&place), before);
        agent.kill();
    });
}

/// When the one lease ends, by the programs' clock.
fn end_of_lease(place: &Place) -> u64 {
    let tables = read_tables(&maps(place)).unwrap();
    let used = tables.decisions.values().map(|value| value.expiry);
    let used: BTreeSet<ExpiryId> = used.filter(|id| !id.is_none()).collect();
    assert_eq!(used.len(), 1, "{used:?}");
    let ends = used.iter().map(|id| tables.expiries[id]);
    ends.max().unwrap()
}

#[test]
fn a_lease_counts_from_the_answered_question_and_no_restart_makes_it_longer() {
    const LEASE: Lease = Lease(60_000);
    const LEASE_NS: u64 = 60_000_000_000;
    apart(|| {
        let (place, disk) = (Place::new("leased"), Disk::new("leased-state", "size=1m"));
        let mut agent = Agent::start(&place, &disk);
        let leased = graph_with(Action::Allow, Some(LEASE));
        let digest = leased.digest();
        let revision = Revision {
            delta: Delta::snapshot(&leased),
            frontier: frontier(3),
        };
        let revision = Input::Revision(Box::new(revision));
        agent.inputs.blocking_send(revision).unwrap();
        agent.wait_acked_digest(digest, 3);
        rest(&agent.inputs);
        let now = bulkhead_agent::clock::monotonic_ns();
        assert!(end_of_lease(&place) < now, "nothing was heard yet");

        let hear = |agent: &Agent, digest, version, at, age_ms| {
            let confirm = Input::Confirm {
                digest,
                frontier: frontier(version),
                answer: Some(Answer { at, age_ms }),
            };
            agent.inputs.blocking_send(confirm).unwrap();
            rest(&agent.inputs);
        };
        let is_from = |place: &Place, from: u64| {
            let end = end_of_lease(place);
            assert!(end <= from + LEASE_NS, "{end} is later than {from}");
            assert!(
                end + (2 << 20) >= from + LEASE_NS,
                "{end} is earlier than {from}"
            );
        };
        // However late the answer comes, and less what the controller itself had not heard for.
        hear(&agent, digest, 3, now, 2_000);
        is_from(&place, now - 2_000_000_000);
        // What is not about the revision in force, is of older inputs, or answers nothing that was asked counts for nothing.
        let later = bulkhead_agent::clock::monotonic_ns();
        hear(&agent, graph(Action::Deny).digest(), 4, later, 0);
        hear(&agent, digest, 2, later, 0);
        hear(&agent, digest, 3, later + 3_600_000_000_000, 0);
        is_from(&place, now - 2_000_000_000);

        let before = held(&place);
        agent.kill();
        let agent = Agent::start(&place, &disk);
        rest(&agent.inputs);
        assert_eq!(
            held(&place),
            before,
            "a restart without change writes nothing"
        );
        hear(&agent, digest, 3, later, 0);
        is_from(&place, later);
        assert_eq!(held(&place).0, before.0, "a renewal is no revision");
        let before = held(&place);
        agent.kill();
        let agent = Agent::start(&place, &disk);
        rest(&agent.inputs);
        assert_eq!(held(&place), before);
        agent.kill();
    });
}

#[test]
fn g5_what_was_confirmed_survives_a_kill() {
    apart(|| {
        let place = Place::new("confirmed");
        let disk = Disk::new("confirmed-state", "size=1m");
        let mut agent = Agent::start(&place, &disk);
        agent.enforce(Action::Allow, 3);
        disk.wait_holds(Action::Allow);
        let saved = std::fs::metadata(disk.0.join("graph")).unwrap();
        let confirm = Input::Confirm {
            digest: graph(Action::Allow).digest(),
            frontier: frontier(7),
            answer: None,
        };
        agent.inputs.blocking_send(confirm).unwrap();
        agent.wait_acked(Action::Allow, 7);
        rest(&agent.inputs);
        agent.kill();
        let mut agent = Agent::start(&place, &disk);
        assert_eq!(agent.acked().unwrap().frontier, frontier(7));
        assert_eq!(agent.refuse(Action::Deny, 6), Refusal::Older);
        agent.kill();
        // The graph is the same, so it was not written again.
        let modified = std::fs::metadata(disk.0.join("graph")).unwrap().modified();
        assert_eq!(modified.unwrap(), saved.modified().unwrap());
    });
}

#[test]
fn after_a_reboot_without_controller_workloads_are_closed_and_not_open() {
    apart(|| {
        let place = Place::new("reboot");
        let disk = Disk::new("reboot-state", "size=1m");
        let store = Store::in_directory(&disk.0);
        let context = Context {
            boot_id: "an earlier one".to_owned(),
            frontier: frontier(5).to_bytes(),
        };
        store.save(&graph(Action::Allow), &context).unwrap();
        assert!(arrives());
        let agent = Agent::start(&place, &disk);
        assert!(!arrives(), "hooks without rules let nothing pass");
        assert_eq!(agent.acked(), None);
        agent.kill();
        assert!(!arrives());
        let closed = held(&place);
        let mut agent = Agent::start(&place, &disk);
        assert_eq!(held(&place), closed);
        assert_eq!(agent.refuse(Action::Deny, 4), Refusal::Older);
        // Then the controller speaks.
        let ack = agent.enforce(Action::Allow, 5);
        assert_eq!(ack.protected, 1);
        assert_ne!(held(&place), closed);
        agent.kill();
    });
}

#[test]
fn a_full_disk_keeps_no_node_from_noting_how_far_it_has_come() {
    apart(|| {
        let _place = Place::new("full");
        let disk = Disk::new("full-state", "size=64k");
        let store = Store::in_directory(&disk.0);
        store.prepare().unwrap();
        let fill = std::fs::File::create(disk.0.join("fill")).unwrap();
        let filled = std::iter::repeat_with(|| std::io::Write::write(&mut &fill, &[1; 4_096]));
        assert!(
            filled.take(1_000).any(|written| written.is_err()),
            "the disk fills up"
        );
        let context = Context {
            boot_id: String::new(),
            frontier: Vec::new(),
        };
        let error = store.save(&graph(Action::Deny), &context).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("No space left on device"), "{error}");
        assert!(error.contains("make room or mend the directory"), "{error}");
        for version in 1..5 {
            let mark = Mark {
                digest: graph(Action::Deny).digest(),
                frontier: frontier(version).to_bytes(),
            };
            store.save_mark(&mark).unwrap();
            assert_eq!(store.load_mark().unwrap(), Some(mark));
        }
    });
}
