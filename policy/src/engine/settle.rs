//! Brings everything that is derived up to date with the primary state.
//!
//! New versions are made before old ones are given back, so that what both need (selectors with all their
//! members, rule sets) is never dropped and found again.

use std::sync::Arc;

use bulkhead_graph::{Address, PeerSet, Prefix};
use ipnet::IpNet;

use super::Engine;
use super::arena::{Key, Keys};
use super::identity::Groups;
use super::node::NodeState;
use super::segment::SegmentState;
use super::selector::Protector;
use super::workload::Owner;
use crate::model::Segment;

impl Engine {
    pub(super) fn settle(&mut self) {
        self.settle_tenants();
        self.settle_segments();
        self.settle_policies();
        self.settle_profiles();
        self.settle_new_nodes();
        self.settle_peer_sets();
        self.settle_known();
        self.settle_services();
        self.settle_node_addresses();
        for compiled in std::mem::take(&mut self.pending.retired) {
            self.release_compiled(compiled);
        }
        for segment in std::mem::take(&mut self.pending.retired_segments) {
            let gone = self.segments.remove(segment);
            gone.selectors
                .into_iter()
                .for_each(|selector| self.release_selector(selector));
        }
        self.forget_unused();
    }

    fn settle_segments(&mut self) {
        for name in std::mem::take(&mut self.pending.segments) {
            if let Some(old) = self.segment_keys.remove(&name) {
                for selector in self.segments[old].selectors.clone() {
                    self.unprotect(selector, Protector::Segment(old));
                }
                self.pending.retired_segments.push(old);
            }
            if let Some(segment) = self.segment_objects.get(&name).cloned() {
                let key = self.compile_segment(&segment);
                self.segment_keys.insert(name.clone(), key);
            }
            if let Some(policies) = self.policies_by_segment.get(&name) {
                for object in policies {
                    self.policies.mark(object, &mut self.pending.policies);
                }
            }
        }
    }

    fn compile_segment(&mut self, segment: &Segment) -> Key<SegmentState> {
        let mut selectors = Keys::new();
        for selector in &segment.members.selectors {
            selectors.push(self.acquire_model_selector(selector));
        }
        let everybody = segment
            .members
            .selectors
            .iter()
            .any(|selector| selector.is_universal());
        let mut networks = segment.members.networks.clone();
        networks.sort();
        networks.dedup();
        let key = self.segments.insert(SegmentState {
            name: segment.name.clone(),
            mode: segment.mode,
            isolation: segment.isolation,
            selectors: selectors.clone(),
            everybody,
            networks,
            partial: segment.members.partial,
        });
        for selector in selectors {
            self.protect(selector, Protector::Segment(key));
        }
        key
    }

    fn settle_policies(&mut self) {
        for key in std::mem::take(&mut self.pending.policies) {
            if self.policies.take_pending(key) {
                self.compile_anew(key);
            }
        }
    }

    fn settle_profiles(&mut self) {
        self.mark_protected();
        let mut groups = Groups::default();
        for profile in std::mem::take(&mut self.pending.profiles) {
            let Some(state) = self.profiles.arena.get_mut(profile) else {
                continue;
            };
            if !std::mem::take(&mut state.pending) {
                continue;
            }
            self.counters.label_sets_settled += 1;
            let new = self.acquire_identity(profile, &mut groups);
            let Some(old) = self.profiles.arena[profile].identity.replace(new) else {
                self.move_needs(profile, None, new);
                continue;
            };
            if old != new {
                self.move_needs(profile, Some(old), new);
            }
            self.release_identity(old);
        }
    }

    /// The workloads of a label set are judged by other rule sets now.
    fn move_needs(
        &mut self,
        profile: Key<super::profile::Profile>,
        old: Option<Key<super::identity::Identity>>,
        new: Key<super::identity::Identity>,
    ) {
        // A new node's needs are counted afterwards, and then from its workloads; in the beginning all are new.
        if self.counted_nodes == 0 {
            return;
        }
        let of = |engine: &Self, identity: Key<_>| engine.identities.arena[identity].rule_sets;
        let (new, old) = (of(self, new), old.map(|old| of(self, old)));
        if old == Some(new) {
            return;
        }
        for at in 0..self.profiles.arena[profile].workloads.len() {
            let workload = self.profiles.arena[profile].workloads[at];
            let Some(node) = self.workloads.arena[workload].node else {
                continue;
            };
            new.into_iter()
                .for_each(|rule_set| self.need_rule_set(node, rule_set));
            old.into_iter()
                .flatten()
                .for_each(|rule_set| self.need_rule_set_no_more(node, rule_set));
            self.touch_workload(workload);
        }
    }

    fn settle_peer_sets(&mut self) {
        for selector in std::mem::take(&mut self.pending.selectors) {
            let Some(state) = self.selectors.arena.get_mut(selector) else {
                continue;
            };
            let pending = std::mem::take(&mut state.pending);
            if pending.is_empty() {
                continue;
            }
            let (added, removed) = parted(pending);
            let Some(set) = &mut state.peers else {
                continue;
            };
            let changed = set.with(&added, &removed);
            if changed == **set {
                continue;
            }
            *set = Arc::new(self.pool.share(changed, set));
            self.counters.peer_sets_changed += 1;
            let nodes = state.nodes.clone();
            let id = self.peer_set_id(selector);
            nodes
                .into_iter()
                .for_each(|node| self.touch_peer_set(node, selector, id));
        }
    }

    /// Which addresses are known, as far as somebody asks, and which of them are not the cluster's own.
    fn settle_known(&mut self) {
        let changed = std::mem::take(&mut self.pending.known_changed);
        let (added, removed) = parted(std::mem::take(&mut self.pending.known));
        let ranges_changed = std::mem::take(&mut self.pending.ranges);
        if self.curious.is_empty() {
            self.known = None;
        } else if let Some(known) = &self.known {
            if changed {
                self.known = Some(Arc::new(known.with(&added, &removed)));
            }
        } else {
            self.known = Some(Arc::new(self.owned_addresses().collect()));
        }
        let mut everywhere = false;
        if ranges_changed {
            let mut ranges: Arc<[Prefix]> = self.cluster_ranges().into();
            if ranges == self.ranges {
                ranges = self.ranges.clone();
            }
            let outsiders: PeerSet = self
                .away_from_home()
                .filter(|address| !in_ranges(&ranges, *address))
                .collect();
            everywhere = ranges != self.ranges || outsiders != *self.outsiders;
            self.ranges = ranges;
            self.outsiders = Arc::new(outsiders);
        } else if changed {
            let came: Vec<Address> = added
                .into_iter()
                .filter(|address| !in_ranges(&self.ranges, *address))
                .collect();
            let set = self.outsiders.with(&came, &removed);
            if set != *self.outsiders {
                everywhere = true;
                self.outsiders = Arc::new(set);
            }
        }
        let concerned: Vec<Key<NodeState>> = if everywhere {
            self.nodes.keys()
        } else if changed {
            self.curious.iter().copied().collect()
        } else {
            Vec::new()
        };
        concerned.into_iter().for_each(|node| self.touch_rest(node));
    }

    /// Whether all addresses are going to be looked at, so that nobody needs to hear which of them came and went.
    pub(super) fn known_is_made_anew(&self) -> bool {
        self.pending.ranges && self.known.is_none()
    }

    /// Addresses with an owner that are not in the ranges of the owner's node, which most are.
    fn away_from_home(&self) -> impl Iterator<Item = Address> + '_ {
        let all = self.workloads.arena.iter();
        all.flat_map(|(_, state)| {
            let node = state.node.map(|node| &self.nodes[node]);
            let is_home =
                move |address: &Address| node.is_some_and(|node| node.holds(address.ip()));
            state.owned().filter(move |address| !is_home(address))
        })
    }

    fn owned_addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.workloads
            .arena
            .iter()
            .flat_map(|(_, state)| state.owned())
    }

    /// Configured ranges, nodes' ranges and contested addresses: sorted, without any that lies in another.
    fn cluster_ranges(&self) -> Vec<Prefix> {
        // Mapped addresses are IPv4, so an IPv6 range of them holds nobody.
        let prefix = |range: &IpNet| {
            let prefix = Prefix::from(*range);
            (prefix.is_ipv4() == matches!(range, IpNet::V4(_))).then_some(prefix)
        };
        let configured = self.config.cluster_ranges.iter().filter_map(prefix);
        let nodes = self
            .nodes
            .iter()
            .flat_map(|(_, node)| node.ranges.iter().filter_map(prefix));
        let contested = self.workloads.contested.iter().copied().map(Prefix::host);
        let mut all: Vec<Prefix> = configured.chain(nodes).chain(contested).collect();
        all.sort_unstable();
        let mut disjoint: Vec<Prefix> = Vec::with_capacity(all.len());
        for prefix in all {
            if !in_ranges(&disjoint, prefix.address) {
                disjoint.push(prefix);
            }
        }
        disjoint
    }

    fn settle_services(&mut self) {
        let is_owned =
            |address: Address| matches!(self.workloads.owner(address, &self.nodes), Owner::One(_));
        if self.services.settle(self.config.service_limits, is_owned) {
            self.nodes
                .keys()
                .into_iter()
                .for_each(|node| self.touch_rest(node));
        }
    }
}

/// What came and what went; the last word on an address counts.
fn parted(mut changes: Vec<(Address, bool)>) -> (Vec<Address>, Vec<Address>) {
    changes.sort_by_key(|(address, _)| *address);
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for of_one in changes.chunk_by(|a, b| a.0 == b.0) {
        match of_one.last() {
            Some((address, true)) => added.push(*address),
            Some((address, false)) => removed.push(*address),
            None => {}
        }
    }
    (added, removed)
}

/// Whether one of the sorted, disjoint ranges holds the address. An IPv6 range may lie around IPv4 ones, as `::/0` does.
fn in_ranges(ranges: &[Prefix], address: Address) -> bool {
    let last_up_to = |address: Address| {
        let after = ranges.partition_point(|range| range.address <= address);
        after.checked_sub(1).map(|at| ranges[at])
    };
    let holds = |range: Prefix| range.contains(address);
    last_up_to(address).is_some_and(holds) || last_up_to(BEFORE_IPV4).is_some_and(holds)
}

/// The last address before those of IPv4.
const BEFORE_IPV4: Address = Address([
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff,
]);
