//! G9: eight workloads flood the flow table at once, in every direction, and the ninth and the host still have their share. What
//! an agent that was killed has leaked of a budget is given back. What was denied is added up to the packet.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bulkhead_agent::clock;
use bulkhead_agent::enforce::{Note, State};
use bulkhead_agent::interfaces::Links;
use bulkhead_agent::kernel::{Kernel, Ran, Skb, Timeouts};
use bulkhead_datapath::abi::{
    Action as Fate, AllowanceValue, Capacity, CounterIndex, Hook, Mac, Reason,
};
use bulkhead_datapath::frame::{IpFrame, Payload};
use bulkhead_graph::{
    Action, Address, Direction, Entry, LocalWorkload, Mode, NodeGraph, PeerMatch, PortMatch,
    PortRange, Protocol, RuleSet, SortedMap, Stage, WorkloadUid,
};
use bulkhead_wire::Frontier;

use crate::node;
use crate::place::{Place, alone};

const CAPACITY: Capacity = Capacity {
    workloads: 32,
    ..node::CAPACITY
};
const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 1);
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const FLOODING: usize = 8;
pub(crate) const OPEN: u16 = 80;
pub(crate) const CLOSED: u16 = 22;
const LIMIT: Duration = Duration::from_secs(60);

/// As many packets as the whole table has room for, from each of eight: eight times its capacity.
const FLOOD: u16 = 4_096;

/// What an agent would read, with an address of the host.
fn links(workloads: usize) -> Links {
    Links {
        own: [Address::from(IpAddr::from(HOST))].into(),
        ..node::links(workloads)
    }
}

/// Workloads that may do and be done everything but one port.
fn graph(workloads: usize) -> Arc<NodeGraph> {
    let rules = |direction| RuleSet {
        direction,
        entries: vec![Entry {
            stage: Stage::Admin,
            action: Action::Deny,
            mode: Mode::Enforce,
            peers: PeerMatch::Any,
            ports: PortMatch::of(vec![PortRange {
                protocol: Protocol::Udp,
                from: CLOSED,
                to: CLOSED,
            }]),
            until: None,
            lease: None,
        }],
    };
    let (egress, ingress) = (rules(Direction::Egress), rules(Direction::Ingress));
    let workload = |number: usize| LocalWorkload {
        namespace: "ns".into(),
        name: format!("w{number}").into(),
        addresses: [IpAddr::from(node::own(number)).into()].into(),
        interface: None,
        egress: egress.id(),
        ingress: ingress.id(),
    };
    let uid = |number| WorkloadUid(format!("uid-{number}").into());
    Arc::new(NodeGraph::new(
        (0..workloads)
            .map(|number| (uid(number), workload(number).into()))
            .collect(),
        [&egress, &ingress]
            .map(|rules| (rules.id(), Arc::new(rules.clone())))
            .into(),
        SortedMap::new(),
        Arc::default(),
        [].into(),
        Arc::default(),
    ))
}

/// A node's agent, and another hand on the same tables.
pub(crate) struct Node {
    pub(crate) state: State,
    pub(crate) beside: Kernel,
    place: Place,
}

impl Node {
    pub(crate) fn new(name: &str, workloads: usize) -> Self {
        let place = Place::new(name);
        node::wire(workloads);
        let options = place.options(CAPACITY);
        let mut state = State::open(crate::kernel(&options), links(workloads)).unwrap();
        let graph = graph(workloads);
        let note = Note {
            digest: Some(graph.digest()),
            frontier: Frontier::default(),
        };
        let done = state.commit(graph, &note, node::still()).unwrap();
        state.settle(done).unwrap();
        Self {
            state,
            beside: crate::kernel(&options),
            place,
        }
    }

    fn allowances(&self, number: usize) -> AllowanceValue {
        let slot = self.beside.maps.interfaces.get(&node::ifindex(number));
        let slot = slot.unwrap().expect("a workload's interface");
        self.beside.maps.allowances.read(slot.0).unwrap()
    }

    /// Sweeps as the agent does; returns how many budgets were put right.
    fn sweep(&mut self, timeouts: &Timeouts) -> usize {
        let tick = clock::tick(clock::monotonic_ns());
        self.state.sweep(timeouts, tick).unwrap().corrected
    }

    fn dropped(&self, reason: Reason) -> u64 {
        let hooks = Hook::ALL.iter();
        let values = hooks.flat_map(|hook| {
            let index = CounterIndex::new(*hook, reason).0;
            self.beside.maps.counters.get(index).unwrap()
        });
        values.map(|value| value.packets).sum()
    }
}

fn datagram(source: u16, destination: u16) -> Payload {
    Payload::Udp {
        source,
        destination,
    }
}

/// From a workload to somebody far away.
fn out(kernel: &Kernel, number: usize, payload: Payload) -> Ran {
    let frame = IpFrame::new(
        node::mac(number),
        node::own(number).into(),
        FAR.into(),
        payload,
    );
    let skb = Skb {
        ifindex: node::ifindex(number),
        ingress_ifindex: node::ifindex(number),
    };
    kernel.run(Hook::FromWorkload, &frame.build(), skb).unwrap()
}

/// To a workload: from somebody far away, or from the node's host.
fn into(kernel: &Kernel, number: usize, from: Ipv4Addr, payload: Payload) -> Ran {
    let frame = IpFrame::new(
        Mac::default(),
        from.into(),
        node::own(number).into(),
        payload,
    );
    let skb = Skb {
        ifindex: node::ifindex(number),
        ingress_ifindex: if from == HOST { 0 } else { 2 },
    };
    kernel.run(Hook::ToWorkload, &frame.build(), skb).unwrap()
}

#[test]
fn g9_eight_floods_at_once_leave_the_ninth_workload_and_the_host_their_share() {
    alone(|| {
        let node = Node::new("shares", FLOODING + 1);
        let kernel = &node.beside;
        let (mut refused, mut unremembered) = (0, 0);
        for port in 0..FLOOD {
            for number in 0..FLOODING {
                let by_it = out(kernel, number, datagram(port, OPEN)).reason;
                refused += u32::from(by_it == Reason::BudgetByWorkload);
                let to_it = into(kernel, number, FAR, datagram(port, OPEN)).reason;
                unremembered += u32::from(to_it == Reason::Unremembered);
                let by_host = into(kernel, number, HOST, datagram(port, 53));
                assert_eq!(by_host.reason, Reason::HostOriginated);
                for reason in [by_it, to_it] {
                    assert_ne!(reason, Reason::FlowTableFull, "at packet {port}");
                }
            }
        }
        assert!(refused > 0 && unremembered > 0, "these are no floods");
        let limits = kernel.maps.node.read(0).unwrap();
        let share = CAPACITY.flows / 64;
        assert!(limits.flows_by_workload >= share, "{limits:?}");
        for port in 0..u16::try_from(limits.flows_by_workload).unwrap() {
            let own = out(kernel, FLOODING, datagram(port, OPEN)).reason;
            assert_eq!(own, Reason::Opened, "its own flow {port}");
        }
        for port in 0..u16::try_from(limits.flows_to_workload).unwrap() {
            let others = into(kernel, FLOODING, FAR, datagram(port, OPEN)).reason;
            assert_eq!(others, Reason::Opened, "others' flow {port}");
        }
        for port in 0..u16::try_from(limits.flows_by_host).unwrap() {
            into(kernel, FLOODING, HOST, datagram(port, 53));
            let answer = IpFrame::new(
                node::mac(FLOODING),
                node::own(FLOODING).into(),
                HOST.into(),
                datagram(53, port),
            );
            let skb = Skb {
                ifindex: node::ifindex(FLOODING),
                ingress_ifindex: node::ifindex(FLOODING),
            };
            let ran = kernel.run(Hook::FromWorkload, &answer.build(), skb);
            assert_eq!(ran.unwrap().reason, Reason::Established, "probe {port}");
        }
    });
}

#[test]
fn g9_what_a_killed_agent_has_leaked_of_a_budget_is_given_back() {
    alone(|| {
        let mut node = Node::new("leaks", 2);
        let timeouts = Timeouts::default();
        for port in 0..20 {
            assert_eq!(
                out(&node.beside, 0, datagram(port, OPEN)).reason,
                Reason::Opened
            );
            assert_eq!(
                into(&node.beside, 1, FAR, datagram(port, OPEN)).reason,
                Reason::Opened
            );
        }
        assert_eq!(node.sweep(&timeouts), 0);
        // Taken out, and killed before anything was given back.
        let slot = node.beside.maps.interfaces.get(&node::ifindex(0));
        let slot = slot.unwrap().unwrap();
        let flows = node.beside.maps.flows.entries().unwrap();
        let own = flows.iter().filter(|(key, _)| key.owner.slot() == slot);
        for (key, _) in own.take(5) {
            assert!(node.beside.maps.flows.remove(key).unwrap());
        }
        // And the other way round: given back, and not taken out.
        let other = node.beside.maps.interfaces.get(&node::ifindex(1));
        let offset = std::mem::offset_of!(AllowanceValue, to_workload);
        let other = other.unwrap().unwrap();
        node.beside.maps.allowances.release(other.0, offset, 23);
        assert_eq!(node.allowances(0).by_workload, 20);
        assert_eq!(node.sweep(&timeouts), 0, "one sweep may be mistaken");
        assert_eq!(node.sweep(&timeouts), 2);
        assert_eq!(node.allowances(0).by_workload, 15);
        assert_eq!(node.allowances(1).to_workload, 20);
        assert_eq!(node.sweep(&timeouts), 0);
    });
}

/// Ends the senders, also when the test panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn g9_budgets_and_sums_are_right_while_packets_come_and_flows_end() {
    const DENIED: u64 = 200;
    alone(|| {
        let mut node = Node::new("sweeps", 2);
        // Everything is over at once: flows come and go under the sweep.
        let timeouts = Timeouts {
            datagram_answered: 0,
            datagram_unanswered: 0,
            ..Timeouts::default()
        };
        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let (tell, through) = mpsc::channel();
        let options = node.place.options(CAPACITY);
        let mut told = 0;
        std::thread::scope(|scope| {
            let _ends = Ends(&stop);
            for number in 0..2 {
                let (options, stop, sent, tell) = (&options, &stop, &sent, tell.clone());
                scope.spawn(move || {
                    let kernel = crate::kernel(options);
                    for port in (0..u16::MAX).cycle() {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        out(&kernel, number, datagram(port, OPEN));
                        into(&kernel, number, FAR, datagram(port, OPEN));
                        let denied = out(&kernel, number, datagram(7, CLOSED + port % 2));
                        if denied.action == Fate::Drop && port % 2 == 0 {
                            sent.fetch_add(1, Ordering::Relaxed);
                            // Nobody listens any more at the end.
                            let _ = tell.send(number);
                        }
                    }
                });
            }
            let deadline = Instant::now() + LIMIT;
            while sent.load(Ordering::Relaxed) < DENIED {
                // A sum that is silent for a sweep is taken out, and what comes in that very instant is in COUNTERS only. Of two
                // packets that are told of since the last reading, the second was counted after it. Without sweeps in between no
                // packet might be denied any more: what could answer a flow that nobody remembers passes.
                let mut since = [0; 2];
                while since.iter().any(|packets| *packets < 2) {
                    // As if time went on faster.
                    let tick = clock::tick(clock::monotonic_ns()) + 2;
                    node.state.sweep(&timeouts, tick).unwrap();
                    through
                        .try_iter()
                        .for_each(|number: usize| since[number] += 1);
                    assert!(Instant::now() < deadline, "{since:?} of {sent:?} packets");
                }
                told += told_of(&mut node.state);
                through.try_iter().for_each(drop);
            }
        });
        told += told_of(&mut node.state);
        let denied = node.dropped(Reason::EgressDenied);
        assert_eq!(sent.load(Ordering::Relaxed), denied);
        assert_eq!(told, denied, "sums tell of every packet");
        // When nothing comes any more, the tables are empty and budgets say so.
        let deadline = Instant::now() + LIMIT;
        loop {
            let tick = clock::tick(clock::monotonic_ns()) + 2;
            let swept = node.state.sweep(&timeouts, tick).unwrap();
            let used: Vec<[u64; 2]> = (0..2)
                .map(|number| node.allowances(number))
                .map(|value| [value.by_workload, value.to_workload])
                .collect();
            if (swept.live, swept.over, swept.corrected) == (0, 0, 0) && used == [[0, 0]; 2] {
                break;
            }
            assert!(Instant::now() < deadline, "{swept:?} {used:?}");
        }
        for _ in 0..2 {
            told_of(&mut node.state);
        }
        assert!(node.beside.maps.talks.entries().unwrap().is_empty());
    });
}

/// Packets denied to the one closed port that the agent adds to its sums.
fn told_of(state: &mut State) -> u64 {
    let reading = state.read_talks().unwrap();
    let denied = reading.added.iter().filter(|added| {
        added.pair.reason == "egress_denied" && added.pair.port == format!("udp/{CLOSED}")
    });
    denied.map(|added| added.value.packets).sum()
}
