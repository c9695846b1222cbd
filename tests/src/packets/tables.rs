//! Random tables of a node: small universes, so that packets meet entries, and every irregularity that tables allow.

use bulkhead_datapath::abi::{
    ADDRESSES_PER_FAMILY, Address, Capacity, Class, DecisionKey, DecisionValue, ExpiryId,
    Generation, Lane, Lanes, Mac, NODE_ADDRESS_OTHER, NODE_ADDRESS_OWN, NetworkSlot, NetworkValue,
    PeerLane, PeerSlot, PeerValue, PortClass, PortTable, RuleSet, WORKLOAD_MAY_ROUTE,
    WORKLOAD_PENDING, WorkloadLane, WorkloadSlot, WorkloadValue,
};
use bulkhead_datapath::memory::MemoryTables;
use fastrand::Rng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The interface whose hooks the frames come to: the loopback, which every network namespace has.
pub const LOCAL_INTERFACE: u32 = 1;

/// Ports that frames use and decisions know.
pub(super) const PORTS: [u16; 8] = [22, 53, 80, 443, 4789, 8080, 40_000, 50_000];

/// A node with one workload that is judged, and the addresses that frames choose from.
#[derive(Debug)]
pub struct World {
    /// The node's tables.
    pub tables: MemoryTables,
    /// Of the workload that is judged.
    pub mac: Mac,
    /// Addresses of the workload that is judged.
    pub own: Vec<IpAddr>,
    /// Addresses of everybody else.
    pub others: Vec<IpAddr>,
    /// Interfaces that packets come in by.
    pub interfaces: Vec<u32>,
}

impl World {
    /// Sizes that the generated tables need; small, so that a kernel takes them in at once.
    pub const CAPACITY: Capacity = Capacity {
        workloads: 64,
        peers: 256,
        networks: 64,
        decisions: 8_192,
        expiries: 16,
        node_addresses: 64,
        flows: 64,
        fragments: 128,
        talks: 8_192,
        event_bytes: 1 << 20,
    };

    /// A world from a seed. Deadlines lie an hour before and after `now_ns`.
    pub fn generate(rng: &mut Rng, now_ns: u64) -> Self {
        let mut tables = MemoryTables {
            now_ns,
            capacity: Self::CAPACITY,
            ..MemoryTables::default()
        };
        let mac = Mac {
            octets: [0x02, 0, 0, 0, 0, rng.u8(..)],
        };
        let own: Vec<IpAddr> = (0..rng.u8(1..4))
            .map(v4)
            .chain((0..rng.u8(1..3)).map(v6))
            .collect();
        let mut others: Vec<IpAddr> = (0..8)
            .map(|last| v4(100 + last))
            .chain((0..6).map(|last| v6(100 + last)))
            .collect();
        others.extend([
            IpAddr::V4(Ipv4Addr::new(224, 0, 0, 9)),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::BROADCAST),
            IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
            IpAddr::V6("fe80::1".parse().unwrap_or(Ipv6Addr::UNSPECIFIED)),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped()),
            IpAddr::V6("ff02::9".parse().unwrap_or(Ipv6Addr::UNSPECIFIED)),
        ]);
        node(rng, &mut tables);
        workload(rng, &mut tables, mac, &own);
        for (slot, address) in (0..).zip(&others) {
            peer(rng, &mut tables, PeerSlot(slot), *address);
        }
        networks(rng, &mut tables);
        let mut world = World {
            tables,
            mac,
            own,
            others,
            interfaces: vec![0, LOCAL_INTERFACE, 2, 3, 4],
        };
        world.tables.interfaces.insert(3, WorkloadSlot(7));
        world.tables.interfaces.insert(4, WorkloadSlot::BRIDGE);
        for lane in [Lane::Even, Lane::Odd] {
            world.ports(rng, lane);
        }
        world.decisions(rng);
        world
    }

    /// Goes on to the next revision: other lanes, other decisions, one more generation.
    pub fn advance(&mut self, rng: &mut Rng) {
        self.tables.node.generation = Generation(self.tables.node.generation.0 + 1);
        let lane = self.tables.node.generation.lane();
        for value in self.tables.workloads.values_mut() {
            value.lanes.set(lane, workload_lane(rng));
        }
        for value in self.tables.classes.values_mut() {
            value.lanes.set(lane, peer_lane(rng));
        }
        if rng.bool() {
            self.decisions(rng);
        }
    }

    fn ports(&mut self, rng: &mut Rng, lane: Lane) {
        for table in PortTable::ALL {
            for number in PORTS
                .into_iter()
                .chain([0x0800, 0x0d00, 0x8000, 0x0900, 0x8a01, 1, 47, 50, 58, 89, 4])
            {
                self.tables
                    .set_port_class(table, lane, number, PortClass(rng.u16(0..150)));
            }
        }
    }

    fn decisions(&mut self, rng: &mut Rng) {
        for rule_set in 1..5 {
            for class in 1..6 {
                for block in 0..3 {
                    if rng.u8(..10) == 0 {
                        continue;
                    }
                    let key = DecisionKey {
                        rule_set: RuleSet(rule_set),
                        class: Class(class),
                        block,
                    };
                    let dense = rng.u64(..) | rng.u64(..);
                    let value = DecisionValue {
                        enforced: dense,
                        intended: if rng.bool() { dense } else { rng.u64(..) },
                        enforced_after: rng.u64(..),
                        intended_after: rng.u64(..),
                        expiry: ExpiryId(if rng.u8(..3) == 0 { rng.u32(0..6) } else { 0 }),
                        reserved: 0,
                    };
                    self.tables.decisions.insert(key, value);
                }
            }
        }
    }
}

fn v4(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, last / 50, last))
}

fn v6(last: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(
        0xfd00,
        0,
        0,
        u16::from(last / 50),
        0,
        0,
        0,
        u16::from(last),
    ))
}

fn node(rng: &mut Rng, tables: &mut MemoryTables) {
    const HOUR_NS: u64 = 3_600_000_000_000;
    let now_ns = tables.now_ns;
    let node = &mut tables.node;
    node.generation = Generation(rng.u64(..1 << 33));
    node.events_per_tick = u32::MAX;
    node.switches = rng.u32(..2);
    node.flows_by_workload = if rng.bool() { rng.u32(..40) } else { 10_000 };
    node.flows_to_workload = if rng.bool() { rng.u32(..40) } else { 10_000 };
    node.flows_by_host = rng.u32(..20);
    node.fragments = rng.u32(..30);
    node.adopt_until_ns = if rng.u8(..4) == 0 {
        now_ns + HOUR_NS
    } else {
        0
    };
    for id in 1..5 {
        let time = if rng.bool() {
            now_ns + HOUR_NS
        } else {
            now_ns.saturating_sub(HOUR_NS)
        };
        tables.expiries.insert(ExpiryId(id), time);
    }
    for (last, bits) in [
        (105, NODE_ADDRESS_OWN),
        (106, NODE_ADDRESS_OTHER),
        (107, NODE_ADDRESS_OWN),
    ] {
        tables.node_addresses.insert(v4(last).into(), bits);
        tables.node_addresses.insert(v6(last).into(), bits);
    }
}

fn workload(rng: &mut Rng, tables: &mut MemoryTables, mac: Mac, own: &[IpAddr]) {
    let slot = WorkloadSlot(rng.u32(..64));
    let mut value = WorkloadValue {
        ifindex: LOCAL_INTERFACE,
        mac,
        incarnation: rng.u8(..),
        ..WorkloadValue::default()
    };
    let place = |addresses: &mut [Address; ADDRESSES_PER_FAMILY], all: Vec<IpAddr>| {
        for (place, address) in addresses.iter_mut().zip(all) {
            *place = address.into();
        }
    };
    place(
        &mut value.v4,
        own.iter()
            .filter(|address| address.is_ipv4())
            .copied()
            .collect(),
    );
    place(
        &mut value.v6,
        own.iter()
            .filter(|address| address.is_ipv6())
            .copied()
            .collect(),
    );
    value.lanes = Lanes([workload_lane(rng), workload_lane(rng)]);
    value.flags = match rng.u8(..10) {
        0 => WORKLOAD_PENDING,
        1 => WORKLOAD_MAY_ROUTE,
        _ => 0,
    };
    if rng.u8(..30) == 0 {
        value.ifindex += 1;
    }
    tables.workloads.insert(slot, value);
    if rng.u8(..30) != 0 {
        tables.interfaces.insert(LOCAL_INTERFACE, slot);
    }
}

fn workload_lane(rng: &mut Rng) -> WorkloadLane {
    WorkloadLane {
        egress: RuleSet(mostly(rng, 5)),
        ingress: RuleSet(mostly(rng, 5)),
        class: Class(if rng.bool() { rng.u32(1..6) } else { 0 }),
    }
}

fn peer_lane(rng: &mut Rng) -> PeerLane {
    PeerLane {
        class: Class(mostly(rng, 6)),
        egress: RuleSet(if rng.u8(..3) == 0 { rng.u32(1..5) } else { 0 }),
        ingress: RuleSet(if rng.u8(..3) == 0 { rng.u32(1..5) } else { 0 }),
    }
}

/// A number from 1 to below `end`, rarely 0.
fn mostly(rng: &mut Rng, end: u32) -> u32 {
    if rng.u8(..12) == 0 {
        0
    } else {
        rng.u32(1..end)
    }
}

fn peer(rng: &mut Rng, tables: &mut MemoryTables, slot: PeerSlot, address: IpAddr) {
    if rng.u8(..6) == 0 {
        return;
    }
    let lanes = Lanes([peer_lane(rng), peer_lane(rng)]);
    let mut value = PeerValue {
        address: address.into(),
        lanes,
        ..PeerValue::default()
    };
    if rng.u8(..4) == 0 {
        value.set_local_workload(Some(WorkloadSlot(if rng.bool() { 7 } else { 8 })));
    }
    tables.set_peer(slot, value);
    // A slot that was given to another address meanwhile.
    if rng.u8(..15) == 0
        && let Some(value) = tables.classes.get_mut(&slot)
    {
        value.address = v4(250).into();
    }
}

fn networks(rng: &mut Rng, tables: &mut MemoryTables) {
    let prefixes: [(IpAddr, u32); 8] = [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 96),
        (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 96 + 8),
        (IpAddr::V4(Ipv4Addr::new(10, 0, 2, 0)), 96 + 24),
        (v4(103), 128),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
        (IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)), 16),
        (IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 2, 0, 0, 0, 0)), 64),
        (v6(103), 128),
    ];
    for (slot, (prefix, prefix_length)) in (0..).zip(prefixes) {
        if rng.u8(..4) == 0 {
            continue;
        }
        let lanes = Lanes([Class(mostly(rng, 6)), Class(mostly(rng, 6))]);
        tables.set_network(
            NetworkSlot(slot),
            NetworkValue {
                prefix: prefix.into(),
                prefix_length,
                lanes,
                reserved: 0,
            },
        );
    }
}
