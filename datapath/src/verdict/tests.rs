//! The life of packets, told against tables in memory.

use super::*;
use crate::abi::{
    DecisionKey, DecisionValue, EventKind, ExpiryId, FlowState, Generation, Lanes, Mac,
    NODE_ADDRESS_OTHER, NetworkSlot, NetworkValue, PeerLane, PeerSlot, PeerValue, PortClass,
    PortTable,
};
use crate::frame::{ACK, FIN, IpFrame, Payload, RST, SYN, arp, neighbour_body};
use crate::memory::MemoryTables;
use crate::parse::Frame;
use std::net::{IpAddr, Ipv6Addr};

const MAC: Mac = Mac {
    octets: [0x02, 0, 0, 0, 0, 0x0a],
};
const GATEWAY: Mac = Mac {
    octets: [0x02, 0, 0, 0, 0, 0xfe],
};
const INTERFACE: u32 = 7;
const UPLINK: u32 = 2;
const ME: &str = "10.0.0.1";
const ME6: &str = "fd00::1";
const PEER: &str = "10.0.1.1";
const PEER6: &str = "fd00:1::1";
const NODE: &str = "192.168.0.1";
const WORLD: &str = "8.8.8.8";

const EGRESS: RuleSet = RuleSet(1);
const INGRESS: RuleSet = RuleSet(2);
const PEERS_CLASS: Class = Class(10);
const WORLD_CLASS: Class = Class(11);
const WEB: PortClass = PortClass(1);
const SSH: PortClass = PortClass(2);
const PING: PortClass = PortClass(3);
const DNS: PortClass = PortClass(4);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One workload on interface 7. It may open WEB, PING, DNS to the peer; the peer may open SSH to it.
struct World {
    tables: MemoryTables,
}

impl World {
    fn new() -> Self {
        let mut tables = MemoryTables {
            now_ns: 5 << 30,
            ..MemoryTables::default()
        };
        tables.node.generation = Generation(4);
        tables.interfaces.insert(INTERFACE, WorkloadSlot(3));
        let mut workload = WorkloadValue {
            ifindex: INTERFACE,
            mac: MAC,
            incarnation: 9,
            ..WorkloadValue::default()
        };
        workload.v4[0] = ip(ME).into();
        workload.v6[0] = ip(ME6).into();
        workload.lanes = Lanes::both(WorkloadLane {
            egress: EGRESS,
            ingress: INGRESS,
            class: Class::NONE,
        });
        tables.workloads.insert(WorkloadSlot(3), workload);
        for (slot, address) in [(1, PEER), (2, PEER6)] {
            let lanes = Lanes::both(PeerLane {
                class: PEERS_CLASS,
                ..PeerLane::default()
            });
            tables.set_peer(
                PeerSlot(slot),
                PeerValue {
                    address: ip(address).into(),
                    lanes,
                    ..PeerValue::default()
                },
            );
        }
        for (slot, (prefix, bits)) in [("0.0.0.0", 96), ("::", 0)].into_iter().enumerate() {
            let value = NetworkValue {
                prefix: ip(prefix).into(),
                prefix_length: bits,
                lanes: Lanes::both(WORLD_CLASS),
                reserved: 0,
            };
            tables.set_network(NetworkSlot(slot as u32), value);
        }
        for lane in [Lane::Even, Lane::Odd] {
            tables.set_port_class(PortTable::Tcp, lane, 80, WEB);
            tables.set_port_class(PortTable::Tcp, lane, 22, SSH);
            tables.set_port_class(PortTable::Udp, lane, 53, DNS);
            tables.set_port_class(PortTable::Icmp, lane, 0x800, PING);
            tables.set_port_class(PortTable::Icmpv6, lane, 0x8000, PING);
            tables.set_port_class(PortTable::Sctp, lane, 80, WEB);
        }
        tables
            .node_addresses
            .insert(ip(NODE).into(), NODE_ADDRESS_OWN);
        let mut world = World { tables };
        world.allow(EGRESS, PEERS_CLASS, &[WEB, PING, DNS]);
        world.allow(INGRESS, PEERS_CLASS, &[SSH]);
        world
    }

    fn allow(&mut self, rule_set: RuleSet, class: Class, ports: &[PortClass]) {
        let bits = ports.iter().fold(0, |bits, port| bits | 1 << port.0);
        self.decide(
            rule_set,
            class,
            DecisionValue {
                enforced: bits,
                intended: bits,
                ..DecisionValue::default()
            },
        );
    }

    fn decide(&mut self, rule_set: RuleSet, class: Class, value: DecisionValue) {
        self.tables
            .decisions
            .insert(DecisionKey::new(rule_set, class, WEB), value);
    }

    fn flip(&mut self) {
        self.tables.node.generation.0 += 1;
    }

    fn workload(&mut self) -> &mut WorkloadValue {
        self.tables.workloads.get_mut(&WorkloadSlot(3)).unwrap()
    }

    fn arrive(&self, arrival: Arrival, frame: &[u8]) -> Reason {
        run(
            &self.tables,
            &Frame(frame),
            &arrival,
            &mut Scratch::default(),
        )
    }

    fn outward(&self, frame: &[u8]) -> Reason {
        let arrival = Arrival {
            hook: Hook::FromWorkload,
            ifindex: INTERFACE,
            ingress_ifindex: INTERFACE,
            socket: Socket::None,
            tag: Tag::None,
        };
        self.arrive(arrival, frame)
    }

    fn inward(&self, frame: &[u8]) -> Reason {
        let arrival = Arrival {
            hook: Hook::ToWorkload,
            ifindex: INTERFACE,
            ingress_ifindex: UPLINK,
            socket: Socket::None,
            tag: Tag::None,
        };
        self.arrive(arrival, frame)
    }

    fn by_host(&self, frame: &[u8]) -> Reason {
        let arrival = Arrival {
            hook: Hook::ToWorkload,
            ifindex: INTERFACE,
            ingress_ifindex: 0,
            socket: Socket::Some,
            tag: Tag::None,
        };
        self.arrive(arrival, frame)
    }

    fn flows(&self) -> usize {
        self.tables.written.flows().len()
    }
}

fn packet(source: &str, destination: &str, payload: Payload) -> IpFrame {
    let mac = if source == ME || source == ME6 {
        MAC
    } else {
        GATEWAY
    };
    IpFrame::new(mac, ip(source), ip(destination), payload)
}

fn tcp(source: &str, destination: &str, ports: (u16, u16), flags: u8) -> Vec<u8> {
    packet(
        source,
        destination,
        Payload::Tcp {
            source: ports.0,
            destination: ports.1,
            flags,
        },
    )
    .build()
}

fn udp(source: &str, destination: &str, ports: (u16, u16)) -> Vec<u8> {
    packet(
        source,
        destination,
        Payload::Udp {
            source: ports.0,
            destination: ports.1,
        },
    )
    .build()
}

mod adoption;
mod allowed;
mod bounds;
mod denied;
mod fragments;
mod probes;
mod revision;
mod spoofing;
