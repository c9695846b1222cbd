//! The datapath's tables as maps.

use crate::machine::{add, exchange, moved};
use crate::maps;
use aya_ebpf::bindings::{BPF_NOEXIST, BPF_RB_NO_WAKEUP};
use aya_ebpf::maps::lpm_trie::Key;
use bulkhead_datapath::abi::{
    Address, AllowanceValue, CounterIndex, DecisionKey, DecisionValue, Direct, EventRecord,
    ExpiryId, FlowJudged, FlowKey, FlowLife, FlowTraffic, FlowValue, FragmentKey, FragmentValue,
    Hook, Lane, LossIndex, NetworkSlot, NetworkValue, NodeValue, PeerSlot, PeerValue, PortClass,
    PortTable, PortValue, TalkKey, TalkValue, WorkloadSlot, WorkloadValue,
};
use bulkhead_datapath::tables::{Budget, Flow, Inserted, Tables};
use bulkhead_datapath::verdict::Answer;

const ALREADY_THERE: i32 = -17;

/// All maps of the object.
pub(crate) struct Maps;

/// An entry of FLOWS where it lies. It may be reused under us; its tag tells.
pub(crate) struct Entry(*mut FlowValue);

impl Flow for Entry {
    #[inline(always)]
    fn judged(&self) -> FlowJudged {
        // SAFETY: a value that the map returned; read once.
        unsafe { (&raw const (*self.0).judged).read_volatile() }
    }

    #[inline(always)]
    fn restamp(&self, seen: FlowJudged, now: FlowJudged) -> bool {
        // SAFETY: an aligned word of a value that the map returned.
        unsafe { exchange((&raw mut (*self.0).judged).cast(), seen.0, now.0) == seen.0 }
    }

    #[inline(always)]
    fn life(&self) -> FlowLife {
        // SAFETY: as above.
        unsafe { (&raw const (*self.0).life).read_volatile() }
    }

    #[inline(always)]
    fn set_life(&self, seen: FlowLife, life: FlowLife) {
        // SAFETY: as above.
        unsafe { exchange((&raw mut (*self.0).life).cast(), seen.0, life.0) };
    }

    #[inline(always)]
    fn count(&self, hook: Hook, bytes: u32) {
        // SAFETY: as above.
        unsafe {
            let word = match hook {
                Hook::FromWorkload => &raw mut (*self.0).sent,
                Hook::ToWorkload => &raw mut (*self.0).received,
            };
            add(word.cast(), FlowTraffic::one(bytes));
        }
    }
}

/// A trie's key whose address is aligned: packed as the kernel wants it, it would be stored byte by byte.
#[repr(C, align(8))]
struct Aligned<K> {
    padding: u32,
    key: K,
}

/// Says what an insertion's result means.
#[inline(always)]
fn inserted(result: Result<(), i32>) -> Inserted {
    match result {
        Ok(()) => Inserted::New,
        Err(ALREADY_THERE) => Inserted::Present,
        Err(_) => Inserted::Full,
    }
}

/// The word of a budget inside a workload's allowances.
#[inline(always)]
fn budget_word(slot: WorkloadSlot, budget: Budget) -> Option<*mut u64> {
    let value: *mut AllowanceValue = maps::ALLOWANCES.get_ptr_mut(slot.0)?;
    // SAFETY: a value that the map returned.
    Some(unsafe {
        match budget {
            Budget::ByWorkload => &raw mut (*value).by_workload,
            Budget::ToWorkload => &raw mut (*value).to_workload,
            Budget::ByHost => &raw mut (*value).by_host,
            Budget::Fragments => &raw mut (*value).fragments,
        }
    })
}

impl Tables for Maps {
    type Flow<'a> = Entry;

    #[inline(always)]
    fn node(&self) -> Option<&NodeValue> {
        maps::NODE.get(0)
    }

    #[inline(always)]
    fn interface(&self, ifindex: u32) -> Option<WorkloadSlot> {
        // SAFETY: one load; the slot says whether it still belongs to the interface.
        unsafe { maps::INTERFACES.get(ifindex) }.map(|slot| WorkloadSlot(*slot))
    }

    #[inline(always)]
    fn own_interface(&self, ifindex: u32) -> Option<WorkloadSlot> {
        // SAFETY: one load of an aligned word.
        let direct = maps::DIRECT
            .get_ptr(Direct::place(ifindex))
            .map(|place| unsafe { place.read_volatile() });
        if let Some(slot) = direct.and_then(|direct| direct.slot(ifindex)) {
            return Some(slot);
        }
        self.interface(ifindex)
    }

    #[inline(always)]
    fn workload(&self, slot: WorkloadSlot) -> Option<&WorkloadValue> {
        maps::WORKLOADS.get(slot.0)
    }

    #[inline(always)]
    fn peer(&self, address: &Address) -> Option<PeerSlot> {
        // SAFETY: one load; the slot says whether it still belongs to the address.
        unsafe { maps::PEERS.get(address) }.map(|slot| PeerSlot(*slot))
    }

    #[inline(always)]
    fn class(&self, slot: PeerSlot) -> Option<&PeerValue> {
        maps::CLASSES.get(slot.0)
    }

    #[inline(always)]
    fn network(&self, address: &Address) -> Option<NetworkSlot> {
        let key = Aligned {
            padding: 0,
            key: Key::new(128, address.octets()),
        };
        maps::NETWORKS.get(&key.key).map(|slot| NetworkSlot(*slot))
    }

    #[inline(always)]
    fn network_class(&self, slot: NetworkSlot) -> Option<&NetworkValue> {
        maps::NETWORK_CLASSES.get(slot.0)
    }

    #[inline(always)]
    fn port_class(&self, table: PortTable, lane: Lane, number: u16) -> Option<PortClass> {
        let base = maps::PORTS.get_ptr(table as u32)?;
        let offset = PortValue::offset(lane, number) & (size_of::<PortValue>() - 2);
        // SAFETY: the offset is even and inside the value.
        Some(unsafe { (moved(base as usize, offset as u64) as *const PortClass).read_volatile() })
    }

    #[inline(always)]
    fn decision(&self, key: &DecisionKey) -> Option<&DecisionValue> {
        // SAFETY: entries are immutable, and deleted only a grace period after the last reader (I5).
        unsafe { maps::DECISIONS.get(key) }
    }

    #[inline(always)]
    fn answer(&self, place: u32) -> Option<&Answer> {
        maps::ANSWERS
            .get_ptr(place)
            // SAFETY: this processor's own value; nothing is read through the reference once another answer is kept.
            .map(|answer| unsafe { &*answer })
    }

    #[inline(always)]
    fn keep_answer(&self, place: u32, answer: &Answer) {
        if let Some(kept) = maps::ANSWERS.get_ptr_mut(place) {
            // SAFETY: this processor's own value.
            unsafe { *kept = *answer };
        }
    }

    #[inline(always)]
    fn expiry(&self, id: ExpiryId) -> Option<u64> {
        // SAFETY: one load of an aligned word.
        maps::EXPIRIES
            .get_ptr(id.0)
            .map(|time| unsafe { time.read_volatile() })
    }

    #[inline(always)]
    fn node_address(&self, address: &Address) -> u32 {
        // SAFETY: one load; values are never overwritten.
        unsafe { maps::NODE_ADDRESSES.get(address) }
            .copied()
            .unwrap_or(0)
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        crate::clock::now_ns()
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<Entry> {
        maps::FLOWS.get_ptr_mut(key).map(Entry)
    }

    #[inline(always)]
    fn insert_flow(&self, key: &FlowKey, value: &FlowValue) -> Inserted {
        inserted(maps::FLOWS.insert(key, value, u64::from(BPF_NOEXIST)))
    }

    #[inline(always)]
    fn remove_flow(&self, key: &FlowKey) -> bool {
        maps::FLOWS.remove(key).is_ok()
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue> {
        // SAFETY: copied at once; a reused entry can only confuse fragments that are under way at that instant.
        unsafe { maps::FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn insert_fragment(&self, key: &FragmentKey, value: &FragmentValue) -> Inserted {
        inserted(maps::FRAGMENTS.insert(key, value, u64::from(BPF_NOEXIST)))
    }

    #[inline(always)]
    fn remove_fragment(&self, key: &FragmentKey) -> bool {
        maps::FRAGMENTS.remove(key).is_ok()
    }

    #[inline(always)]
    fn used(&self, slot: WorkloadSlot, budget: Budget) -> Option<u64> {
        // SAFETY: one load of an aligned word.
        budget_word(slot, budget).map(|word| unsafe { word.read_volatile() })
    }

    #[inline(always)]
    fn charge(&self, slot: WorkloadSlot, budget: Budget) {
        if let Some(word) = budget_word(slot, budget) {
            // SAFETY: an aligned word of a value that the map returned.
            unsafe { add(word, 1) };
        }
    }

    #[inline(always)]
    fn release(&self, slot: WorkloadSlot, budget: Budget) {
        if let Some(word) = budget_word(slot, budget) {
            // SAFETY: as above; the sum of all charges never falls below the releases.
            unsafe { add(word, u64::MAX) };
        }
    }

    #[inline(always)]
    fn charge_event(&self, slot: WorkloadSlot, tick: u64) -> u64 {
        let Some(value) = maps::ALLOWANCES.get_ptr_mut(slot.0) else {
            return u64::MAX;
        };
        // SAFETY: aligned words of a value that the map returned. Two processors at the same moment may let a few
        // events more through, which an atomic addition would not be worth; the loss counter stays exact.
        unsafe {
            let (events, event_tick) = (&raw mut (*value).events, &raw mut (*value).event_tick);
            if event_tick.read_volatile() != tick {
                event_tick.write_volatile(tick);
                events.write_volatile(0);
            }
            let before = events.read_volatile();
            events.write_volatile(before + 1);
            before
        }
    }

    #[inline(always)]
    fn talk(&self, key: &TalkKey, bytes: u32) {
        if add_talk(key, bytes) {
            return;
        }
        let first = TalkValue {
            packets: 1,
            bytes: u64::from(bytes),
        };
        match inserted(maps::TALKS.insert(key, first, u64::from(BPF_NOEXIST))) {
            Inserted::New => {}
            Inserted::Present if add_talk(key, bytes) => {}
            Inserted::Present | Inserted::Full => self.lose(LossIndex::TalksFull),
        }
    }

    #[inline(always)]
    fn event(&self, record: &EventRecord) -> bool {
        let Some(mut entry) = maps::EVENTS.reserve::<EventRecord>(0) else {
            return false;
        };
        entry.write(*record);
        // The agent drains in bursts; waking it for each event would cost more than the event.
        entry.submit(u64::from(BPF_RB_NO_WAKEUP));
        true
    }

    #[inline(always)]
    fn count(&self, hook: Hook, reason: u8, bytes: u32) {
        if let Some(value) = maps::COUNTERS.get_ptr_mut(CounterIndex::of_number(hook, reason).0) {
            // SAFETY: this processor's own value.
            unsafe {
                (*value).packets += 1;
                (*value).bytes += u64::from(bytes);
            }
        }
    }

    #[inline(always)]
    fn forget<V>(&self, value: &mut V) {
        crate::machine::forget(value);
    }

    #[inline(always)]
    fn lose(&self, loss: LossIndex) {
        if let Some(value) = maps::LOSSES.get_ptr_mut(loss as u32) {
            // SAFETY: this processor's own value.
            unsafe { *value += 1 };
        }
    }
}

/// Adds to a talk that this processor can see; says whether it could.
#[inline(always)]
fn add_talk(key: &TalkKey, bytes: u32) -> bool {
    let Some(value) = maps::TALKS.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: this processor's own value.
    unsafe {
        (*value).packets += 1;
        (*value).bytes += u64::from(bytes);
    }
    true
}
