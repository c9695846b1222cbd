//! A node whose graph is led into the real tables, and every verdict of it that a test looks at, by the real programs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use bulkhead_agent::clock;
use bulkhead_agent::interfaces::{Far, Link, Links};
use bulkhead_agent::kernel::{Kernel, Skb};
use bulkhead_agent::lanes::{self, Attached, Interface, Plan, Planner};
use bulkhead_datapath::abi::{Action, Capacity, Hook, Mac};
use bulkhead_datapath::frame::{IpFrame, Payload, SYN};
use bulkhead_encode::{Changes, Clock, Desired};
use bulkhead_graph::{Address, NodeGraph, Timestamp};

use crate::place::ip;
use crate::world;

/// Small, so that a kernel takes tables in and gives them out at once.
pub(crate) const CAPACITY: Capacity = Capacity {
    workloads: 16,
    peers: 256,
    networks: 128,
    decisions: 4_096,
    expiries: 64,
    node_addresses: 16,
    flows: 4_096,
    fragments: 64,
    talks: 4_096,
    event_bytes: 1 << 16,
};

/// Local workloads of generated graphs, in the order of their numbers.
const LOCALS: [&str; 3] = ["10.0.0.1", "10.0.0.2", "fd00::1"];
const FIRST_INTERFACE: u32 = 11;
const PORTS: [u16; 2] = [80, 53];

/// An interface that is no workload's.
const UPLINK: u32 = 2;

/// Whether each of the packets passes.
pub(crate) type Verdicts = Vec<bool>;

/// Ethernet address of a workload.
pub(crate) fn mac(number: usize) -> Mac {
    Mac {
        octets: [2, 0, 0, 0, 1, u8::try_from(number).unwrap()],
    }
}

/// Interface of a workload.
pub(crate) fn ifindex(number: usize) -> u32 {
    FIRST_INTERFACE + u32::try_from(number).unwrap()
}

/// Address of a workload.
pub(crate) fn own(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(number).unwrap() + 1)
}

/// Makes the workloads' interfaces in this thread's network.
pub(crate) fn wire(workloads: usize) {
    for number in 0..workloads {
        let (near, far) = (format!("near{number}"), format!("far{number}"));
        let octets = mac(number).octets.map(|octet| format!("{octet:02x}"));
        ip(&[
            "link",
            "add",
            &near,
            "index",
            &ifindex(number).to_string(),
            "type",
            "veth",
            "peer",
            "name",
            &far,
            "address",
            &octets.join(":"),
        ]);
    }
}

/// What an agent would read of the interfaces that [`wire`] makes.
pub(crate) fn links(workloads: usize) -> Links {
    let link = |number| {
        let far = Far {
            mac: mac(number),
            addresses: [IpAddr::from(own(number)).into()].into(),
        };
        let link = Link {
            name: format!("near{number}"),
            far: Some(far),
        };
        (ifindex(number), link)
    };
    Links {
        by_index: (0..workloads).map(link).collect(),
        ..Links::default()
    }
}

/// Every workload of the graph behind the interface of its number.
pub(crate) fn attached(graph: &NodeGraph) -> Attached {
    let number = |uid: &str| uid.rsplit('-').next().unwrap().parse::<usize>().unwrap();
    let interface = |number| Interface {
        ifindex: ifindex(number),
        mac: mac(number),
        flags: 0,
    };
    let uids = graph.workloads.keys();
    uids.map(|uid| (uid.clone(), interface(number(&uid.0))))
        .collect()
}

/// The wall clock stands at 0, an hour from when this was asked first: deadlines of generated graphs do not pass during a test.
pub(crate) fn still() -> Clock {
    static STILL: LazyLock<Clock> = LazyLock::new(|| Clock {
        wall: Timestamp(0),
        monotonic_ns: clock::monotonic_ns() + 3_600_000_000_000,
        heard_ns: clock::monotonic_ns() + 3_600_000_000_000,
    });
    *STILL
}

/// The way to a graph.
pub(crate) fn plan(planner: &mut Planner, graph: &Arc<NodeGraph>, clock: Clock) -> Plan {
    let desired = Desired::build(graph, clock.wall);
    planner
        .plan(&desired, &attached(graph), &Changes::Everything, clock)
        .unwrap()
}

/// Performs a plan to its end; returns the number of writes.
pub(crate) fn perform<K: lanes::Kernel>(
    kernel: &mut K,
    planner: &mut Planner,
    plan: Plan,
) -> Result<usize, lanes::CommitError<K::Error>> {
    let committed = lanes::commit(kernel, planner, plan)?;
    lanes::settle(kernel, planner, committed)
}

/// Packets that open something, of all local workloads, towards them and from them.
pub(crate) struct Probes(Vec<(Hook, Skb, Vec<u8>)>);

impl Probes {
    pub(crate) fn of_the_world() -> Self {
        let mut probes = Vec::new();
        for (number, own) in LOCALS.iter().enumerate() {
            let own: IpAddr = own.parse().unwrap();
            // Every other one: these are many questions to ask after every write.
            let peers = world::everybody().into_iter().step_by(2).map(Address::ip);
            let family = peers.filter(|peer| peer.is_ipv4() == own.is_ipv4() && *peer != own);
            for (peer, hook) in family.flat_map(|peer| Hook::ALL.map(|hook| (peer, hook))) {
                for port in PORTS {
                    probes.push((number, own, peer, hook, port));
                }
            }
        }
        let frame = |(source, (number, own, peer, hook, port)): (
            u16,
            (usize, IpAddr, IpAddr, Hook, u16),
        )| {
            let (from, to, mac, ingress_ifindex) = match hook {
                Hook::FromWorkload => (own, peer, mac(number), ifindex(number)),
                Hook::ToWorkload => (peer, own, Mac::default(), came_by(peer)),
            };
            let payload = match port {
                53 => Payload::Udp {
                    source,
                    destination: port,
                },
                _ => Payload::Tcp {
                    source,
                    destination: port,
                    flags: SYN,
                },
            };
            let skb = Skb {
                ifindex: ifindex(number),
                ingress_ifindex,
            };
            (hook, skb, IpFrame::new(mac, from, to, payload).build())
        };
        // A source port for each, so that no packet belongs to the flow of another.
        Self((20_000..).zip(probes).map(frame).collect())
    }

    /// Asks the programs about each, as if nothing had been asked before.
    pub(crate) fn verdicts(&self, kernel: &mut Kernel) -> Verdicts {
        let ask = |(hook, skb, frame): &(Hook, Skb, Vec<u8>)| {
            kernel.run(*hook, frame, *skb).expect("a test-run").action == Action::Pass
        };
        let verdicts = self.0.iter().map(ask).collect();
        kernel.maps.flows.clear().unwrap();
        for slot in 0..CAPACITY.workloads {
            kernel.maps.allowances.write_zero(slot);
        }
        kernel.events.drain(usize::MAX);
        verdicts
    }
}

/// Where packets of an address come in: a local workload's through its own interface.
fn came_by(peer: IpAddr) -> u32 {
    let local = LOCALS.iter().position(|own| own.parse() == Ok(peer));
    local.map_or(UPLINK, ifindex)
}
