//! Tables in memory, filled from a graph: what a node's programs would see right after it was applied to an empty node.

use std::collections::BTreeMap;

use bulkhead_datapath::abi::{
    self, ADDRESSES_PER_FAMILY, DecisionKey, DecisionValue, ExpiryId, Lane, Lanes, Mac,
    NODE_ADDRESS_OTHER, NetworkSlot, NetworkValue, PeerLane, PeerSlot, PeerValue, WorkloadLane,
    WorkloadSlot, WorkloadValue,
};
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_datapath::tables::Tables;
use bulkhead_graph::{Address, LocalWorkload, Protocol, RuleSetId, WorkloadUid};

use crate::judge::ClassIndex;
use crate::{ClassKey, Clock, Deadline, Desired, Judge, PortLayout, Row, table_address, table_of};

/// A node's tables and what the numbers in them stand for.
#[derive(Debug)]
pub struct Memory {
    /// The tables, both lanes alike. Every workload has an interface, see [`Memory::ifindex`] and [`Memory::mac`].
    pub tables: MemoryTables,
    /// Slots of the workloads.
    pub slots: BTreeMap<WorkloadUid, WorkloadSlot>,
    /// Numbers of the rule sets.
    pub rule_sets: BTreeMap<RuleSetId, abi::RuleSet>,
    /// Numbers of the classes.
    pub classes: BTreeMap<ClassKey, abi::Class>,
}

/// What the tables say about one half of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Half {
    /// What the kernel acts on.
    pub enforced: bool,
    /// What it would act on without audit.
    pub intended: bool,
}

/// Numbers from 1 on, because 0 stands for nothing.
fn number<K: Ord, N>(keys: impl Iterator<Item = K>, of: impl Fn(u32) -> N) -> BTreeMap<K, N> {
    (1..)
        .map(of)
        .zip(keys)
        .map(|(number, key)| (key, number))
        .collect()
}

impl Memory {
    /// Fills tables. `None` if there are more port classes than the tables have numbers for; a graph that went
    /// through [`crate::fit`] never has.
    pub fn new(desired: &Desired, clock: Clock) -> Option<Self> {
        let layout = desired.compact_layout()?;
        let rule_sets = number(desired.rule_sets().keys().copied(), abi::RuleSet);
        let classes = number(desired.classes().map(|(key, _)| key), abi::Class);
        let mut memory = Self {
            tables: MemoryTables::default(),
            slots: BTreeMap::new(),
            rule_sets,
            classes,
        };
        memory.tables.now_ns = clock.monotonic_ns;
        let expiries = number(desired.deadlines().into_iter(), ExpiryId);
        for (at, id) in &expiries {
            memory.tables.expiries.insert(*id, clock.ends(at));
        }
        memory.fill_ports(desired, &layout);
        memory.fill_workloads(desired);
        memory.fill_peers(desired);
        memory.fill_networks(desired);
        memory.fill_decisions(desired, &layout, &expiries);
        let nodes = desired.graph().node_addresses.iter();
        let nodes = nodes.map(|address| (table_address(address), NODE_ADDRESS_OTHER));
        memory.tables.node_addresses.extend(nodes);
        Some(memory)
    }

    /// The interface of a workload.
    pub fn ifindex(slot: WorkloadSlot) -> u32 {
        slot.0 + 1
    }

    /// The Ethernet address of a workload.
    pub fn mac(slot: WorkloadSlot) -> Mac {
        let [a, b, c, d] = slot.0.to_be_bytes();
        Mac {
            octets: [2, 0, a, b, c, d],
        }
    }

    /// What the tables say about a flow from or to `peer`, judged by one rule set; `None` = nothing, which denies.
    pub fn half(
        &self,
        rule_set: RuleSetId,
        peer: Address,
        protocol: Protocol,
        port: u16,
    ) -> Option<Half> {
        let lane = self.tables.node.read_generation().lane();
        half(
            &self.tables,
            *self.rule_sets.get(&rule_set)?,
            lane,
            peer,
            protocol,
            port,
        )
    }

    fn class(&self, key: &ClassKey) -> abi::Class {
        self.classes.get(key).copied().unwrap_or(abi::Class::NONE)
    }

    fn fill_ports(&mut self, desired: &Desired, layout: &PortLayout) {
        let empty = || {
            [
                vec![abi::PortClass::NONE; abi::PORTS_PER_TABLE],
                vec![abi::PortClass::NONE; abi::PORTS_PER_TABLE],
            ]
        };
        for (position, class) in desired.port_classes().iter().enumerate() {
            let lanes = self
                .tables
                .ports
                .entry(table_of(class.protocol))
                .or_insert_with(empty);
            for lane in lanes {
                for (from, to) in &class.ranges {
                    lane[usize::from(*from)..=usize::from(*to)].fill(layout.number(position));
                }
            }
        }
    }

    fn fill_workloads(&mut self, desired: &Desired) {
        for (slot, (uid, workload)) in (0..).map(WorkloadSlot).zip(&desired.graph().workloads) {
            let rules = |id| {
                self.rule_sets
                    .get(id)
                    .copied()
                    .unwrap_or(abi::RuleSet::NONE)
            };
            let lane = WorkloadLane {
                egress: rules(&workload.egress),
                ingress: rules(&workload.ingress),
                class: abi::Class::NONE,
            };
            let (v4, v6) = places(workload);
            let value = WorkloadValue {
                ifindex: Self::ifindex(slot),
                mac: Self::mac(slot),
                lanes: Lanes::both(lane),
                incarnation: 1,
                v4,
                v6,
                ..WorkloadValue::default()
            };
            self.slots.insert(uid.clone(), slot);
            self.tables.interfaces.insert(value.ifindex, slot);
            self.tables.workloads.insert(slot, value);
        }
    }

    fn fill_peers(&mut self, desired: &Desired) {
        let mut local: BTreeMap<Address, WorkloadSlot> = BTreeMap::new();
        for (uid, workload) in &desired.graph().workloads {
            local.extend(
                workload
                    .addresses
                    .iter()
                    .map(|address| (*address, self.slots[uid])),
            );
        }
        for (slot, (address, key)) in (0..).map(PeerSlot).zip(desired.peers()) {
            let lane = PeerLane {
                class: self.class(key),
                ..PeerLane::default()
            };
            let mut value = PeerValue {
                address: table_address(*address),
                lanes: Lanes::both(lane),
                ..PeerValue::default()
            };
            value.set_local_workload(local.get(address).copied());
            self.tables.set_peer(slot, value);
        }
    }

    fn fill_networks(&mut self, desired: &Desired) {
        for (slot, region) in (0..).map(NetworkSlot).zip(desired.regions()) {
            let value = NetworkValue {
                prefix: table_address(region.prefix.address),
                prefix_length: u32::from(region.prefix.length),
                lanes: Lanes::both(self.class(&region.class)),
                reserved: 0,
            };
            self.tables.set_network(slot, value);
        }
    }

    fn fill_decisions(
        &mut self,
        desired: &Desired,
        layout: &PortLayout,
        expiries: &BTreeMap<Deadline, ExpiryId>,
    ) {
        let judge = Judge::new(desired, layout);
        let index = ClassIndex::of(desired);
        for (id, rules) in desired.rule_sets() {
            for (key, rows) in judge.all_rows(rules, &index) {
                for row in rows.iter() {
                    let expiry = row.ends.map_or(ExpiryId::NONE, |end| expiries[&end]);
                    let (key, value) = row.entry(self.rule_sets[id], self.classes[&key], expiry);
                    self.tables.decisions.insert(key, value);
                }
            }
        }
    }
}

impl Row {
    /// The row as an entry of DECISIONS. `expiry` stands for [`Row::ends`].
    pub fn entry(
        &self,
        rule_set: abi::RuleSet,
        class: abi::Class,
        expiry: ExpiryId,
    ) -> (DecisionKey, DecisionValue) {
        let value = DecisionValue {
            enforced: self.enforced,
            intended: self.intended,
            enforced_after: self.enforced_after,
            intended_after: self.intended_after,
            expiry,
            reserved: 0,
        };
        (
            DecisionKey {
                rule_set,
                class,
                block: self.block,
            },
            value,
        )
    }
}

type Places = [abi::Address; ADDRESSES_PER_FAMILY];

/// A workload's addresses by family; what does not fit is left out, and so may not be used.
fn places(workload: &LocalWorkload) -> (Places, Places) {
    let mut places = [[abi::Address::UNSPECIFIED; ADDRESSES_PER_FAMILY]; 2];
    let mut taken = [0, 0];
    for address in &workload.addresses {
        let family = usize::from(!address.is_ipv4());
        if let Some(place) = places[family].get_mut(taken[family]) {
            *place = table_address(*address);
            taken[family] += 1;
        }
    }
    let [v4, v6] = places;
    (v4, v6)
}

/// Reads one half of a flow from any tables, as the programs do.
pub fn half<T: Tables>(
    tables: &T,
    rule_set: abi::RuleSet,
    lane: Lane,
    peer: Address,
    protocol: Protocol,
    port: u16,
) -> Option<Half> {
    let address = table_address(peer);
    let exact = tables.peer(&address).and_then(|slot| tables.class(slot));
    let class = exact
        .filter(|value| value.address == address)
        .map(|value| value.lane(lane).class);
    let class = match class.filter(|class| !class.is_none()) {
        Some(class) => class,
        None => {
            let value = tables.network_class(tables.network(&address)?)?;
            let held = address.is_within(value.prefix, value.prefix_length);
            Some(value.lanes.read(lane)).filter(|class| held && !class.is_none())?
        }
    };
    let port_class = tables
        .port_class(table_of(protocol), lane, port)
        .filter(|class| !class.is_none())?;
    let decision = tables.decision(&DecisionKey::new(rule_set, class, port_class))?;
    let bit = 1 << (port_class.0 & 63);
    let over = !decision.expiry.is_none()
        && tables
            .expiry(decision.expiry)
            .is_none_or(|expires_ns| tables.now_ns() >= expires_ns);
    let (enforced, intended) = if over {
        (decision.enforced_after, decision.intended_after)
    } else {
        (decision.enforced, decision.intended)
    };
    Some(Half {
        enforced: enforced & bit != 0,
        intended: intended & bit != 0,
    })
}
