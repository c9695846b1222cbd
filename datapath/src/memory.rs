//! Tables in memory: what the programs see in maps, for host tests and for judging without a kernel.
//!
//! The rules of the maps hold here too: arrays are sized, hashes are bounded, an element never written is zero.

use crate::abi::{
    Address, CAPACITIES, Capacity, DecisionKey, DecisionValue, EventRecord, ExpiryId, FlowJudged,
    FlowKey, FlowLife, FlowTraffic, FlowValue, FragmentKey, FragmentValue, Hook, Lane, LossIndex,
    NetworkKey, NetworkSlot, NetworkValue, NodeValue, PORTS_PER_TABLE, PeerSlot, PeerValue,
    PortClass, PortTable, Reason, TalkKey, TalkValue, WorkloadSlot, WorkloadValue,
};
use crate::tables::{Budget, Flow, Inserted, Tables};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Port classes of one protocol table, by number.
pub type PortLane = Vec<PortClass>;

/// What the agent writes of a node's tables.
#[derive(Clone, Debug)]
pub struct MemoryTables {
    /// The clock that [`Tables::now_ns`] answers with.
    pub now_ns: u64,
    /// Sizes of the tables that the programs fill.
    pub capacity: Capacity,
    /// NODE.
    pub node: NodeValue,
    /// INTERFACES.
    pub interfaces: BTreeMap<u32, WorkloadSlot>,
    /// WORKLOADS.
    pub workloads: BTreeMap<WorkloadSlot, WorkloadValue>,
    /// PEERS.
    pub peers: BTreeMap<Address, PeerSlot>,
    /// CLASSES.
    pub classes: BTreeMap<PeerSlot, PeerValue>,
    /// NETWORKS.
    pub networks: BTreeMap<NetworkKey, NetworkSlot>,
    /// NETWORK_CLASSES.
    pub network_classes: BTreeMap<NetworkSlot, NetworkValue>,
    /// PORTS: by table, then lane, then number.
    pub ports: BTreeMap<PortTable, [PortLane; 2]>,
    /// DECISIONS.
    pub decisions: BTreeMap<DecisionKey, DecisionValue>,
    /// EXPIRIES.
    pub expiries: BTreeMap<ExpiryId, u64>,
    /// NODE_ADDRESSES.
    pub node_addresses: BTreeMap<Address, u32>,
    /// What the programs write.
    pub written: Written,
}

impl Default for MemoryTables {
    fn default() -> Self {
        Self {
            now_ns: 0,
            capacity: CAPACITIES,
            node: NodeValue::DEFAULT,
            interfaces: BTreeMap::new(),
            workloads: BTreeMap::new(),
            peers: BTreeMap::new(),
            classes: BTreeMap::new(),
            networks: BTreeMap::new(),
            network_classes: BTreeMap::new(),
            ports: BTreeMap::new(),
            decisions: BTreeMap::new(),
            expiries: BTreeMap::new(),
            node_addresses: BTreeMap::new(),
            written: Written::default(),
        }
    }
}

impl MemoryTables {
    /// Gives a number of one table its port class in one lane.
    pub fn set_port_class(&mut self, table: PortTable, lane: Lane, number: u16, class: PortClass) {
        let empty = || {
            [
                vec![PortClass::NONE; PORTS_PER_TABLE],
                vec![PortClass::NONE; PORTS_PER_TABLE],
            ]
        };
        self.ports.entry(table).or_insert_with(empty)[lane.index()][usize::from(number)] = class;
    }

    /// Adds an address of a peer with its class and rule sets.
    pub fn set_peer(&mut self, slot: PeerSlot, value: PeerValue) {
        self.peers.insert(value.address, slot);
        self.classes.insert(slot, value);
    }

    /// Adds a prefix with its class.
    pub fn set_network(&mut self, slot: NetworkSlot, value: NetworkValue) {
        self.networks
            .insert(NetworkKey::new(value.prefix, value.prefix_length), slot);
        self.network_classes.insert(slot, value);
    }
}

/// What the programs write of a node's tables.
#[derive(Clone, Debug, Default)]
pub struct Written {
    flows: RefCell<BTreeMap<FlowKey, Rc<FlowCell>>>,
    fragments: RefCell<BTreeMap<FragmentKey, FragmentValue>>,
    used: RefCell<BTreeMap<(WorkloadSlot, Budget), u64>>,
    events_charged: RefCell<BTreeMap<WorkloadSlot, (u64, u64)>>,
    talks: RefCell<BTreeMap<TalkKey, TalkValue>>,
    events: RefCell<Vec<EventRecord>>,
    counters: RefCell<BTreeMap<(Hook, Reason), (u64, u64)>>,
    losses: RefCell<BTreeMap<LossIndex, u64>>,
}

impl Written {
    /// FLOWS as it is now.
    pub fn flows(&self) -> BTreeMap<FlowKey, FlowValue> {
        self.flows
            .borrow()
            .iter()
            .map(|(key, cell)| (*key, cell.value()))
            .collect()
    }

    /// FRAGMENTS as it is now.
    pub fn fragments(&self) -> BTreeMap<FragmentKey, FragmentValue> {
        self.fragments.borrow().clone()
    }

    /// TALKS as it is now.
    pub fn talks(&self) -> BTreeMap<TalkKey, TalkValue> {
        self.talks.borrow().clone()
    }

    /// Takes the events reported so far.
    pub fn take_events(&self) -> Vec<EventRecord> {
        self.events.take()
    }

    /// Packets and bytes by hook and reason.
    pub fn counters(&self) -> BTreeMap<(Hook, Reason), (u64, u64)> {
        self.counters.borrow().clone()
    }

    /// What observation has lost.
    pub fn losses(&self) -> BTreeMap<LossIndex, u64> {
        self.losses.borrow().clone()
    }

    /// Forgets all flows, fragments and what was used of budgets.
    pub fn forget(&self) {
        self.flows.borrow_mut().clear();
        self.fragments.borrow_mut().clear();
        self.used.borrow_mut().clear();
    }

    fn flows_are_full(&self, capacity: Capacity) -> bool {
        self.flows.borrow().len() >= capacity.flows as usize
    }
}

/// One flow in memory.
#[derive(Clone, Debug)]
pub struct FlowCell(Cell<FlowValue>);

impl FlowCell {
    fn value(&self) -> FlowValue {
        self.0.get()
    }

    fn update(&self, change: impl FnOnce(&mut FlowValue)) {
        let mut value = self.0.get();
        change(&mut value);
        self.0.set(value);
    }
}

impl Flow for Rc<FlowCell> {
    fn judged(&self) -> FlowJudged {
        self.value().judged
    }

    fn restamp(&self, seen: FlowJudged, now: FlowJudged) -> bool {
        let current = self.value().judged == seen;
        if current {
            self.update(|value| value.judged = now);
        }
        current
    }

    fn life(&self) -> FlowLife {
        self.value().life
    }

    fn set_life(&self, seen: FlowLife, life: FlowLife) {
        if self.life() == seen {
            self.update(|value| value.life = life);
        }
    }

    fn count(&self, hook: Hook, bytes: u32) {
        self.update(|value| {
            let word = match hook {
                Hook::FromWorkload => &mut value.sent,
                Hook::ToWorkload => &mut value.received,
            };
            *word = FlowTraffic(word.0.wrapping_add(FlowTraffic::one(bytes)));
        });
    }
}

impl Tables for MemoryTables {
    type Flow<'a> = Rc<FlowCell>;

    fn node(&self) -> Option<&NodeValue> {
        Some(&self.node)
    }

    fn interface(&self, ifindex: u32) -> Option<WorkloadSlot> {
        self.interfaces.get(&ifindex).copied()
    }

    fn workload(&self, slot: WorkloadSlot) -> Option<&WorkloadValue> {
        self.workloads.get(&slot)
    }

    fn peer(&self, address: &Address) -> Option<PeerSlot> {
        self.peers.get(address).copied()
    }

    fn class(&self, slot: PeerSlot) -> Option<&PeerValue> {
        self.classes.get(&slot)
    }

    fn network(&self, address: &Address) -> Option<NetworkSlot> {
        let holds = |key: &&NetworkKey| {
            address.is_within(Address::from_octets(key.octets), key.prefix_length)
        };
        self.networks
            .keys()
            .filter(holds)
            .max_by_key(|key| key.prefix_length)
            .map(|key| self.networks[key])
    }

    fn network_class(&self, slot: NetworkSlot) -> Option<&NetworkValue> {
        self.network_classes.get(&slot)
    }

    fn port_class(&self, table: PortTable, lane: Lane, number: u16) -> Option<PortClass> {
        Some(self.ports.get(&table).map_or(PortClass::NONE, |lanes| {
            lanes[lane.index()][usize::from(number)]
        }))
    }

    fn decision(&self, key: &DecisionKey) -> Option<&DecisionValue> {
        self.decisions.get(key)
    }

    fn expiry(&self, id: ExpiryId) -> Option<u64> {
        (id.0 < self.capacity.expiries).then(|| self.expiries.get(&id).copied().unwrap_or(0))
    }

    fn node_address(&self, address: &Address) -> u32 {
        self.node_addresses.get(address).copied().unwrap_or(0)
    }

    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn flow(&self, key: &FlowKey) -> Option<Rc<FlowCell>> {
        self.written.flows.borrow().get(key).cloned()
    }

    fn insert_flow(&self, key: &FlowKey, value: &FlowValue) -> Inserted {
        if self.written.flows.borrow().contains_key(key) {
            return Inserted::Present;
        }
        if self.written.flows_are_full(self.capacity) {
            return Inserted::Full;
        }
        self.written
            .flows
            .borrow_mut()
            .insert(*key, Rc::new(FlowCell(Cell::new(*value))));
        Inserted::New
    }

    fn remove_flow(&self, key: &FlowKey) -> bool {
        self.written.flows.borrow_mut().remove(key).is_some()
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue> {
        self.written.fragments.borrow().get(key).copied()
    }

    fn insert_fragment(&self, key: &FragmentKey, value: &FragmentValue) -> Inserted {
        let mut fragments = self.written.fragments.borrow_mut();
        if fragments.contains_key(key) {
            return Inserted::Present;
        }
        if fragments.len() >= self.capacity.fragments as usize {
            return Inserted::Full;
        }
        fragments.insert(*key, *value);
        Inserted::New
    }

    fn remove_fragment(&self, key: &FragmentKey) -> bool {
        self.written.fragments.borrow_mut().remove(key).is_some()
    }

    fn used(&self, slot: WorkloadSlot, budget: Budget) -> Option<u64> {
        Some(
            self.written
                .used
                .borrow()
                .get(&(slot, budget))
                .copied()
                .unwrap_or(0),
        )
    }

    fn charge(&self, slot: WorkloadSlot, budget: Budget) {
        *self
            .written
            .used
            .borrow_mut()
            .entry((slot, budget))
            .or_insert(0) += 1;
    }

    fn release(&self, slot: WorkloadSlot, budget: Budget) {
        let mut used = self.written.used.borrow_mut();
        let count = used.entry((slot, budget)).or_insert(0);
        *count = count.wrapping_sub(1);
    }

    fn charge_event(&self, slot: WorkloadSlot, tick: u64) -> u64 {
        let mut charged = self.written.events_charged.borrow_mut();
        let entry = charged.entry(slot).or_insert((tick, 0));
        if entry.0 != tick {
            *entry = (tick, 0);
        }
        entry.1 += 1;
        entry.1 - 1
    }

    fn talk(&self, key: &TalkKey, bytes: u32) {
        let mut talks = self.written.talks.borrow_mut();
        if !talks.contains_key(key) && talks.len() >= self.capacity.talks as usize {
            drop(talks);
            return self.lose(LossIndex::TalksFull);
        }
        let value = talks.entry(*key).or_default();
        value.packets += 1;
        value.bytes += u64::from(bytes);
    }

    fn event(&self, record: &EventRecord) -> bool {
        self.written.events.borrow_mut().push(*record);
        true
    }

    fn count(&self, hook: Hook, reason: u8, bytes: u32) {
        let reason = Reason::from_number(reason).unwrap_or(Reason::Internal);
        let mut counters = self.written.counters.borrow_mut();
        let entry = counters.entry((hook, reason)).or_insert((0, 0));
        entry.0 += 1;
        entry.1 += u64::from(bytes);
    }

    fn lose(&self, loss: LossIndex) {
        *self.written.losses.borrow_mut().entry(loss).or_insert(0) += 1;
    }
}
