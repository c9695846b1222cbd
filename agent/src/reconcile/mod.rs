//! A restarted agent finds out what the numbers in the kernel mean, by what the kernel holds under them (I9).
//!
//! Nothing is remembered on disk that the kernel might contradict: an address of the graph and the class number the
//! kernel has for it name each other, likewise prefixes, ports, interfaces and deadlines. Where several contents claim
//! a number, most votes win; the planner then compares every decision and gives a fresh number to whatever is not as
//! it should be. An unchanged graph therefore meets its own tables and nothing is written.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_datapath::abi::{self, Class, ExpiryId, NetworkKey, PortClass, RuleSet, WorkloadSlot};
use bulkhead_encode::{
    ClassKey, Clock, Deadline, Desired, PortClassKey, RuleSetKey, table_address, table_of,
};
use bulkhead_graph::Address;

use crate::lanes::{Attached, Numbers, Planner};
use crate::lanes::{Pool, Pools};

/// A deadline and the kernel's time for it may differ by this much: two readings of two clocks lie between.
const DEADLINE_TOLERANCE_NS: u64 = 50_000_000;

/// Gives the planner numbers and free slots that follow from its mirror and what is desired.
pub(crate) fn recover(planner: &mut Planner, desired: &Desired, attached: &Attached, clock: Clock) {
    let expiries = expiries(planner, desired, clock);
    let used_expiries: BTreeSet<u32> = expiries
        .values()
        .copied()
        .chain(planner.tables.decisions.values().map(|value| value.expiry))
        .filter(|id| !id.is_none())
        .map(|id| id.0)
        .collect();
    let capacity = planner.tables.capacity;
    let slots = planner
        .tables
        .interfaces
        .values()
        .filter(|slot| **slot != WorkloadSlot::BRIDGE);
    planner.pools = Pools {
        workloads: Pool::new(0, capacity.workloads, slots.map(|slot| slot.0)),
        peers: Pool::new(
            0,
            capacity.peers,
            planner.tables.peers.values().map(|slot| slot.0),
        ),
        networks: Pool::new(
            0,
            capacity.networks,
            planner.tables.networks.values().map(|slot| slot.0),
        ),
        expiries: Pool::new(1, capacity.expiries, used_expiries.into_iter()),
    };
    let (last_rule_set, last_class) = last_numbers(planner);
    planner.numbers = Numbers {
        rule_sets: rule_sets(planner, desired, attached),
        classes: classes(planner, desired),
        ports: ports(planner, desired),
        expiries,
        last_rule_set,
        last_class,
    };
    planner.locals = locals(planner);
    planner
        .owners
        .retain(|slot, _| planner.tables.interfaces.values().any(|held| held == slot));
}

/// One number for each content and one content for each number; most votes first.
fn elect<K: Ord + Copy, N: Ord + Copy>(votes: impl Iterator<Item = (K, N)>) -> BTreeMap<K, N> {
    let mut counts: BTreeMap<(K, N), usize> = BTreeMap::new();
    votes.for_each(|vote| *counts.entry(vote).or_default() += 1);
    let mut order: Vec<((K, N), usize)> = counts.into_iter().collect();
    order.sort_by_key(|(pair, count)| (std::cmp::Reverse(*count), *pair));
    let mut taken: BTreeSet<N> = BTreeSet::new();
    let mut elected = BTreeMap::new();
    for ((content, number), _) in order {
        if !elected.contains_key(&content) && taken.insert(number) {
            elected.insert(content, number);
        }
    }
    elected
}

fn rule_sets(
    planner: &Planner,
    desired: &Desired,
    attached: &Attached,
) -> BTreeMap<RuleSetKey, RuleSet> {
    let lane = planner.lanes().0;
    let guarded = attached.iter().filter_map(|(uid, interface)| {
        let slot = planner.tables.interfaces.get(&interface.ifindex)?;
        let held = planner
            .tables
            .workloads
            .get(slot)
            .filter(|held| held.ifindex == interface.ifindex)?;
        Some((desired.graph().workloads.get(uid)?, held.lane(lane)))
    });
    let votes = guarded.flat_map(|(workload, held)| {
        [
            (workload.egress, held.egress),
            (workload.ingress, held.ingress),
        ]
    });
    elect(
        votes
            .filter(|(_, number)| !number.is_none())
            .filter_map(|(id, number)| Some((desired.rule_sets().get(&id)?.key, number))),
    )
}

fn classes(planner: &Planner, desired: &Desired) -> BTreeMap<ClassKey, Class> {
    let lane = planner.lanes().0;
    let tables = &planner.tables;
    let peers = desired.peers().iter().filter_map(|(address, key)| {
        let address = table_address(*address);
        let held = tables.classes.get(tables.peers.get(&address)?)?;
        (held.address == address).then(|| (*key, held.lane(lane).class))
    });
    let networks = desired.regions().iter().filter_map(|region| {
        let key = NetworkKey::new(
            table_address(region.prefix.address),
            u32::from(region.prefix.length),
        );
        let held = tables.network_classes.get(tables.networks.get(&key)?)?;
        Some((region.class, held.lanes.read(lane)))
    });
    elect(
        peers
            .chain(networks)
            .filter(|(_, number)| !number.is_none()),
    )
}

fn ports(planner: &Planner, desired: &Desired) -> BTreeMap<PortClassKey, PortClass> {
    let lane = planner.lanes().0;
    let votes = desired.port_classes().iter().flat_map(|class| {
        let held = planner
            .tables
            .ports
            .get(&table_of(class.protocol))
            .map(|lanes| &lanes[lane.index()]);
        let numbers = class
            .ranges
            .iter()
            .filter_map(move |(from, _)| held.map(|held| held[usize::from(*from)]));
        numbers.map(|number| (class.key, number))
    });
    let elected = elect(votes.filter(|(_, number)| !number.is_none()));
    // A number belongs to one protocol and one group; blocks of groups are apart.
    let group = |key: &PortClassKey| {
        desired
            .port_classes()
            .iter()
            .find(|c| c.key == *key)
            .map_or(0, |c| c.group)
    };
    let mut groups: BTreeMap<u16, u8> = BTreeMap::new();
    elected
        .into_iter()
        .filter(|(key, number)| {
            *groups.entry(number.0 >> 6).or_insert_with(|| group(key)) == group(key)
        })
        .collect()
}

fn expiries(planner: &Planner, desired: &Desired, clock: Clock) -> BTreeMap<Deadline, ExpiryId> {
    let used: BTreeSet<ExpiryId> = planner
        .tables
        .decisions
        .values()
        .map(|value| value.expiry)
        .collect();
    let held: Vec<(ExpiryId, u64)> = planner
        .tables
        .expiries
        .iter()
        .filter(|(id, _)| used.contains(id))
        .map(|(id, ns)| (*id, *ns))
        .collect();
    let mut taken: BTreeSet<ExpiryId> = BTreeSet::new();
    let mut found = BTreeMap::new();
    // Those with a lease have a name in their time; a date alone is then the nearest of the others.
    let (leased, dated): (Vec<Deadline>, Vec<Deadline>) = desired
        .deadlines()
        .into_iter()
        .partition(|deadline| deadline.lease.is_some());
    for at in leased.into_iter().chain(dated) {
        let ns = clock.ends(&at);
        let near = held.iter().filter(|(id, held)| {
            held.abs_diff(ns) <= DEADLINE_TOLERANCE_NS
                && (at.lease.is_none() || Clock::is_one_deadline(*held, ns))
                && !taken.contains(id)
        });
        if let Some((id, _)) = near.min_by_key(|(_, held)| held.abs_diff(ns)) {
            taken.insert(*id);
            found.insert(at, *id);
        }
    }
    found
}

/// The greatest numbers that anything in the kernel has.
fn last_numbers(planner: &Planner) -> (u32, u32) {
    let tables = &planner.tables;
    let lanes = [abi::Lane::Even, abi::Lane::Odd];
    let workloads = tables
        .workloads
        .values()
        .flat_map(|held| lanes.map(|lane| held.lane(lane)));
    let rule_sets = workloads.flat_map(|lane| [lane.egress.0, lane.ingress.0]);
    let decided = tables.decisions.keys().map(|key| key.rule_set.0);
    let peers = tables
        .classes
        .values()
        .flat_map(|held| lanes.map(|lane| held.lane(lane).class.0));
    let networks = tables
        .network_classes
        .values()
        .flat_map(|held| lanes.map(|lane| held.lanes.read(lane).0));
    let about = tables.decisions.keys().map(|key| key.class.0);
    let last_rule_set = rule_sets
        .chain(decided)
        .max()
        .unwrap_or(0)
        .max(planner.numbers.last_rule_set);
    let last_class = peers
        .chain(networks)
        .chain(about)
        .max()
        .unwrap_or(0)
        .max(planner.numbers.last_class);
    (last_rule_set, last_class)
}

fn locals(planner: &Planner) -> BTreeMap<Address, WorkloadSlot> {
    let tables = &planner.tables;
    let marked = tables.peers.iter().filter_map(|(address, slot)| {
        let held = tables
            .classes
            .get(slot)
            .filter(|held| held.address == *address)?;
        Some((Address(address.octets()), held.local_workload()?))
    });
    marked.collect()
}
