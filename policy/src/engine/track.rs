//! Primary state: objects as they come and go, and who matches whom.

use std::sync::Arc;

use bulkhead_graph::{Address, PeerSet, PeerSetId};

use super::arena::{Key, insert_sorted, remove_sorted};
use super::compile::Compiled;
use super::entry::{EntrySpec, EntryState};
use super::node::NodeState;
use super::profile::{Profile, ProfileKey};
use super::selector::{Protector, Selector, SelectorKey, selector_key};
use super::workload::{Owner, WorkloadState};
use super::{Engine, PolicyState};
use crate::model::{
    Direction, Interned, Kind, Namespace, Node, ObjectRef, Peer, Peers, Policy, Port, Ports,
    Segment, Subject, Workload, WorkloadSelector,
};

/// A workload as far as addresses are concerned, before or after a change.
type Ownership = Option<(Key<WorkloadState>, Key<Profile>)>;

impl Engine {
    // ---- selectors and label sets

    pub(super) fn acquire_model_selector(&mut self, selector: &WorkloadSelector) -> Key<Selector> {
        let (profiles, metadata_name) = (&mut self.profiles, self.metadata_name);
        let key = selector_key(selector, &mut self.names, |names, name| {
            let name = names.number(name);
            profiles.namespace(name, metadata_name)
        });
        self.acquire_selector(key)
    }

    pub(super) fn acquire_selector(&mut self, key: SelectorKey) -> Key<Selector> {
        let (selector, new) = self.selectors.acquire(key);
        if new {
            self.counters.selectors_matched += 1;
            let members = self.profiles.matching(&self.selectors.arena[selector].key);
            for profile in &members {
                insert_sorted(&mut self.profiles.arena[*profile].matched, selector);
            }
            self.selectors.arena[selector].members = members;
        }
        selector
    }

    pub(super) fn release_selector(&mut self, selector: Key<Selector>) {
        if let Some(gone) = self.selectors.release(selector) {
            for profile in gone.members {
                remove_sorted(&mut self.profiles.arena[profile].matched, &selector);
            }
            self.pending.selectors.remove(&selector);
        }
    }

    pub(super) fn protect(&mut self, selector: Key<Selector>, protector: Protector) {
        insert_sorted(&mut self.selectors.arena[selector].protects, protector);
        self.pending
            .profiles
            .extend(&self.selectors.arena[selector].members);
    }

    pub(super) fn unprotect(&mut self, selector: Key<Selector>, protector: Protector) {
        remove_sorted(&mut self.selectors.arena[selector].protects, &protector);
        self.pending
            .profiles
            .extend(&self.selectors.arena[selector].members);
    }

    pub(super) fn acquire_entry(&mut self, spec: EntrySpec) -> Key<EntryState> {
        self.entries.acquire(
            spec,
            &self.selectors,
            &self.names,
            &self.profiles.namespaces,
        )
    }

    fn acquire_profile(&mut self, key: ProfileKey, workload: Key<WorkloadState>) -> Key<Profile> {
        let (profile, new) = self.profiles.acquire(key, workload);
        if new {
            self.match_profile(profile);
            self.pending.profiles.insert(profile);
            for (name, protocol, port) in self.profiles.arena[profile].ports.clone() {
                let numbers = self.port_numbers.entry((name, protocol)).or_default();
                let count = numbers.entry(port).or_default();
                *count += 1;
                if *count == 1 {
                    self.port_name_changed(name);
                }
            }
        }
        profile
    }

    fn release_profile(&mut self, profile: Key<Profile>, workload: Key<WorkloadState>) {
        let Some(gone) = self.profiles.release(profile, workload) else {
            return;
        };
        for selector in &gone.matched {
            remove_sorted(&mut self.selectors.arena[*selector].members, &profile);
        }
        for (name, protocol, port) in gone.ports.clone() {
            let numbers = self
                .port_numbers
                .get_mut(&(name, protocol))
                .expect("named ports are counted");
            let count = numbers.get_mut(&port).expect("named ports are counted");
            *count -= 1;
            if *count == 0 {
                numbers.remove(&port);
                if numbers.is_empty() {
                    self.port_numbers.remove(&(name, protocol));
                }
                self.port_name_changed(name);
            }
        }
        self.pending.profiles.remove(&profile);
        if let Some(identity) = gone.identity {
            self.release_identity(identity);
        }
    }

    fn port_name_changed(&mut self, name: super::names::Name) {
        if let Some(policies) = self.policies_by_port_name.get(self.names.string(name)) {
            self.pending.policies.extend(policies.iter().cloned());
        }
    }

    /// Finds the selectors of a label set anew, and moves its addresses in and out of their peer sets.
    fn match_profile(&mut self, profile: Key<Profile>) {
        self.counters.label_sets_matched += 1;
        let state = &self.profiles.arena[profile];
        let now = self
            .selectors
            .matching(state, &self.profiles.namespaces[state.namespace]);
        let before = std::mem::replace(&mut self.profiles.arena[profile].matched, now.clone());
        if now == before {
            return;
        }
        self.pending.profiles.insert(profile);
        let owned: Vec<Address> = self.owned_by(profile);
        for selector in before
            .iter()
            .filter(|selector| now.binary_search(selector).is_err())
        {
            remove_sorted(&mut self.selectors.arena[*selector].members, &profile);
            owned
                .iter()
                .for_each(|address| self.move_peer(*selector, *address, false));
        }
        for selector in now
            .iter()
            .filter(|selector| before.binary_search(selector).is_err())
        {
            insert_sorted(&mut self.selectors.arena[*selector].members, profile);
            owned
                .iter()
                .for_each(|address| self.move_peer(*selector, *address, true));
        }
    }

    fn owned_by(&self, profile: Key<Profile>) -> Vec<Address> {
        let workloads = &self.profiles.arena[profile].workloads;
        let claimed = workloads.iter().filter_map(|workload| {
            let state = self.workloads.arena.get(*workload)?;
            (state.profile == Some(profile)).then_some((workload, &state.addresses))
        });
        let mut owned = Vec::new();
        for (workload, addresses) in claimed {
            let mine = |address: &&Address| {
                self.workloads.owner(**address, &self.nodes) == Owner::One(*workload)
            };
            owned.extend(addresses.iter().filter(mine));
        }
        owned
    }

    fn move_peer(&mut self, selector: Key<Selector>, address: Address, present: bool) {
        let state = &mut self.selectors.arena[selector];
        let inside = state
            .key
            .network
            .as_ref()
            .is_none_or(|network| network.contains(address));
        if state.peers.is_some() && inside {
            state.pending.insert(address, present);
            self.pending.selectors.insert(selector);
        }
    }

    /// The selector's name as a peer set, whose members are found at its first use.
    pub(super) fn peer_set_id(&mut self, selector: Key<Selector>) -> PeerSetId {
        if let Some((id, _)) = &self.selectors.arena[selector].peers {
            return *id;
        }
        let id = self
            .selectors
            .content(selector, &self.names, &self.profiles.namespaces);
        let state = &self.selectors.arena[selector];
        let inside = |address: &Address| {
            state
                .key
                .network
                .as_ref()
                .is_none_or(|n| n.contains(*address))
        };
        let members = state
            .members
            .iter()
            .flat_map(|profile| self.owned_by(*profile));
        let set = Arc::new(members.filter(inside).collect::<PeerSet>());
        let state = &mut self.selectors.arena[selector];
        state.pending.clear();
        state.peers = Some((id, set));
        id
    }

    // ---- namespaces and nodes

    pub(super) fn apply_namespace(&mut self, namespace: &Namespace) {
        self.namespaces_declared.insert(namespace.name.clone());
        match namespace.closed() {
            Some(closed) => self.apply_policy(closed),
            None => self.delete_policy(&namespace.closed_as()),
        }
        let mut labels: Vec<_> = namespace
            .labels
            .iter()
            .map(|(key, value)| (self.names.number(key), self.names.number(value)))
            .collect();
        let name = self.names.number(&namespace.name);
        labels.retain(|(key, _)| *key != self.metadata_name);
        labels.push((self.metadata_name, name));
        labels.sort_unstable();
        self.relabel_namespace(&namespace.name, labels);
    }

    pub(super) fn delete_namespace(&mut self, name: &Interned) {
        if self.namespaces_declared.remove(name) {
            self.delete_policy(&Namespace::closed_by_name(name));
            let number = self.names.number(name);
            self.relabel_namespace(name, vec![(self.metadata_name, number)]);
        }
    }

    fn relabel_namespace(
        &mut self,
        name: &Interned,
        labels: Vec<(super::names::Name, super::names::Name)>,
    ) {
        let key = self.namespace(name);
        if self.profiles.namespaces[key].labels == labels {
            return;
        }
        self.profiles.namespaces[key].labels = labels;
        for profile in self.profiles.namespaces[key].profiles.members().to_vec() {
            self.match_profile(profile);
        }
    }

    pub(super) fn node(&mut self, name: &Interned) -> Key<NodeState> {
        if let Some(node) = self.node_keys.get(name) {
            return *node;
        }
        let node = self.nodes.insert(NodeState::new(name.clone()));
        self.node_keys.insert(name.clone(), node);
        self.mark_dirty(node);
        node
    }

    pub(super) fn apply_node(&mut self, node: &Node) {
        self.apply_host(node);
        let key = self.node(&node.name);
        self.nodes[key].declared = true;
        let ranges: Vec<ipnet::IpNet> = node.pod_ranges.iter().map(ipnet::IpNet::trunc).collect();
        self.set_node_ranges(key, ranges);
    }

    pub(super) fn delete_node(&mut self, name: &Interned) {
        self.delete_host(name);
        if let Some(key) = self.node_keys.get(name).copied() {
            self.set_node_ranges(key, Vec::new());
            self.nodes[key].declared = false;
            self.drop_node_if_idle(key);
        }
    }

    fn set_node_ranges(&mut self, node: Key<NodeState>, ranges: Vec<ipnet::IpNet>) {
        if self.nodes[node].ranges == ranges {
            return;
        }
        // Which of several claimants of an address is at home, and whether one may be, can be answered otherwise now.
        self.reconsider(self.workloads.disputed(), |engine| {
            engine.nodes[node].ranges = ranges;
            engine.pending.ranges = true;
        });
    }

    /// Makes a change after which these addresses may have other owners.
    fn reconsider(&mut self, addresses: Vec<Address>, change: impl FnOnce(&mut Self)) {
        let before: Vec<Ownership> = addresses
            .iter()
            .map(|address| self.ownership(*address))
            .collect();
        change(self);
        for (address, before) in addresses.into_iter().zip(before) {
            self.owner_changed(address, before);
        }
    }

    /// Where there are pods the nodes' ranges are theirs, so the first and the last one count for all.
    fn count_pods(&mut self, pods: u32) {
        if (self.workloads.pods == 0) == (pods == 0) {
            self.workloads.pods = pods;
        } else {
            let declared = self.workloads.declared();
            self.reconsider(declared, |engine| engine.workloads.pods = pods);
        }
    }

    fn drop_node_if_idle(&mut self, node: Key<NodeState>) {
        if self.nodes[node].is_idle() {
            let gone = self.nodes.remove(node);
            self.node_keys.remove(&gone.name);
            self.dirty_nodes.remove(&node);
            self.gone_nodes.insert(gone.name);
        }
    }

    // ---- workloads

    pub(super) fn apply_workload(&mut self, kind: Kind, workload: Workload) {
        let object = ObjectRef {
            kind,
            namespace: workload.namespace.clone(),
            name: workload.name.clone(),
        };
        if let Some(key) = self.workloads.by_object.get(&object).copied() {
            if *self.workloads.arena[key].workload == workload {
                return;
            }
            if self.workloads.arena[key].workload.uid != workload.uid {
                // Another incarnation under the same name inherits nothing.
                self.delete_workload(&object);
            }
        }
        let mut addresses: Vec<Address> = Vec::new();
        if workload.is_live() {
            addresses.extend(workload.addresses.iter().map(|ip| Address::from(*ip)));
            addresses.sort_unstable();
            addresses.dedup();
        }
        let workload = Arc::new(workload);
        let key = match self.workloads.by_object.get(&object) {
            Some(key) => *key,
            None => {
                if kind == Kind::Pod {
                    self.count_pods(self.workloads.pods + 1);
                }
                let key = self.workloads.arena.insert(WorkloadState {
                    kind,
                    workload: workload.clone(),
                    profile: None,
                    node: None,
                    addresses: Vec::new(),
                });
                self.workloads.by_object.insert(object, key);
                self.workloads.by_uid.insert(workload.uid.clone(), key);
                key
            }
        };
        let touched = union(&self.workloads.arena[key].addresses, &addresses);
        let before: Vec<Ownership> = touched
            .iter()
            .map(|address| self.ownership(*address))
            .collect();

        let old = (
            self.workloads.arena[key].profile,
            self.workloads.arena[key].node,
        );
        let profile = if workload.is_live() {
            let profile_key = self.profile_key(&workload);
            Some(self.acquire_profile(profile_key, key))
        } else {
            None
        };
        let node = match (&workload.node, workload.is_live()) {
            (Some(name), true) => Some(self.node(name)),
            (Some(_), false) | (None, _) => None,
        };
        self.touch_workload(key);
        let disclaimed =
            std::mem::replace(&mut self.workloads.arena[key].addresses, addresses.clone());
        let state = &mut self.workloads.arena[key];
        (state.profile, state.node, state.workload) = (profile, node, workload);
        for address in disclaimed
            .iter()
            .filter(|address| addresses.binary_search(address).is_err())
        {
            self.workloads.disclaim(*address, key);
        }
        addresses
            .iter()
            .for_each(|address| self.workloads.claim(*address, key));
        self.rebind(key, old, (profile, node));
        for (address, before) in touched.into_iter().zip(before) {
            self.owner_changed(address, before);
        }
        self.touch_workload(key);
        if let Some(old_profile) = old.0
            && Some(old_profile) != profile
        {
            self.release_profile(old_profile, key);
        }
        if let Some(old_node) = old.1
            && Some(old_node) != node
        {
            self.drop_node_if_idle(old_node);
        }
    }

    pub(super) fn delete_workload(&mut self, object: &ObjectRef) {
        let Some(key) = self.workloads.by_object.get(object).copied() else {
            return;
        };
        let addresses = self.workloads.arena[key].addresses.clone();
        let before: Vec<Ownership> = addresses
            .iter()
            .map(|address| self.ownership(*address))
            .collect();
        let old = (
            self.workloads.arena[key].profile,
            self.workloads.arena[key].node,
        );
        self.touch_workload(key);
        addresses
            .iter()
            .for_each(|address| self.workloads.disclaim(*address, key));
        self.workloads.arena[key].addresses.clear();
        self.rebind(key, old, (None, None));
        for (address, before) in addresses.into_iter().zip(before) {
            self.owner_changed(address, before);
        }
        if let Some(profile) = old.0 {
            self.release_profile(profile, key);
        }
        let gone = self.workloads.arena.remove(key);
        self.workloads.by_object.remove(object);
        if gone.kind == Kind::Pod {
            self.count_pods(self.workloads.pods - 1);
        }
        if self.workloads.by_uid.get(&gone.workload.uid) == Some(&key) {
            self.workloads.by_uid.remove(&gone.workload.uid);
        }
        if let Some(node) = old.1 {
            self.drop_node_if_idle(node);
        }
    }

    fn profile_key(&mut self, workload: &Workload) -> ProfileKey {
        let namespace = self.namespace(&workload.namespace);
        let mut labels: Vec<_> = workload
            .labels
            .iter()
            .map(|(key, value)| (self.names.number(key), self.names.number(value)))
            .collect();
        labels.sort_unstable();
        let mut ports: Vec<_> = workload
            .named_ports
            .iter()
            .map(|port| (self.names.number(&port.name), port.protocol, port.port))
            .collect();
        ports.sort_unstable();
        let uid = self
            .named_uids
            .contains_key(&workload.uid)
            .then(|| self.names.number(&workload.uid));
        ProfileKey {
            namespace,
            labels,
            account: self.names.number(&workload.service_account),
            ports,
            uid,
        }
    }

    /// A workload has another label set or node: its rule sets are counted where it is now.
    fn rebind(
        &mut self,
        key: Key<WorkloadState>,
        old: (Option<Key<Profile>>, Option<Key<NodeState>>),
        new: (Option<Key<Profile>>, Option<Key<NodeState>>),
    ) {
        if old == new {
            return;
        }
        let rule_sets = |engine: &Self, profile: Option<Key<Profile>>| {
            let identity = engine.profiles.arena[profile?].identity?;
            Some(engine.identities.arena[identity].rule_sets)
        };
        if let Some(node) = new.1 {
            self.place(key, node);
            for rule_set in rule_sets(self, new.0).into_iter().flatten() {
                self.need_rule_set(node, rule_set);
            }
        }
        if let Some(node) = old.1 {
            for rule_set in rule_sets(self, old.0).into_iter().flatten() {
                self.need_rule_set_no_more(node, rule_set);
            }
            if new.1 != Some(node) {
                self.displace(key, node);
            }
        }
    }

    fn ownership(&self, address: Address) -> Ownership {
        match self.workloads.owner(address, &self.nodes) {
            Owner::One(key) => Some((key, self.workloads.arena[key].profile?)),
            Owner::Nobody | Owner::Contested => None,
        }
    }

    /// Moves an address from the peer sets of its former owner's label set to those of the present one's. The former label
    /// set is still there: it is given back only afterwards.
    fn owner_changed(&mut self, address: Address, before: Ownership) {
        let after = self.ownership(address);
        let contested = self.workloads.owner(address, &self.nodes) == Owner::Contested;
        let changed = if contested {
            self.workloads.contested.insert(address)
        } else {
            self.workloads.contested.remove(&address)
        };
        self.pending.ranges |= changed;
        if changed || before != after {
            for claimant in self.workloads.claimants(address).to_vec() {
                self.touch_workload(claimant);
            }
            self.services.owner_changed(address);
        }
        let [old, new] = [before, after].map(|ownership| ownership.map(|(_, profile)| profile));
        if old == new {
            return;
        }
        for selector in old
            .map(|p| self.profiles.arena[p].matched.clone())
            .unwrap_or_default()
        {
            self.move_peer(selector, address, false);
        }
        for selector in new
            .map(|p| self.profiles.arena[p].matched.clone())
            .unwrap_or_default()
        {
            self.move_peer(selector, address, true);
        }
        if old.is_some() != new.is_some() {
            self.pending.known.insert(address, new.is_some());
        }
    }

    // ---- segments and policies

    pub(super) fn apply_segment(&mut self, segment: Segment) {
        if self
            .segment_objects
            .get(&segment.name)
            .is_some_and(|old| **old == segment)
        {
            return;
        }
        self.pending.segments.insert(segment.name.clone());
        self.segment_objects
            .insert(segment.name.clone(), Arc::new(segment));
    }

    pub(super) fn delete_segment(&mut self, name: &Interned) {
        if self.segment_objects.remove(name).is_some() {
            self.pending.segments.insert(name.clone());
        }
    }

    pub(super) fn apply_policy(&mut self, policy: Policy) {
        let object = policy.object.clone();
        if self
            .policies
            .get(&object)
            .is_some_and(|old| *old.policy == policy)
        {
            return;
        }
        let policy = Arc::new(policy);
        self.refer(&policy, true);
        let compiled = match self.policies.remove(&object) {
            Some(old) => {
                self.refer_no_more(&old.policy, &policy);
                old.compiled
            }
            None => None,
        };
        self.policies
            .insert(object.clone(), PolicyState { policy, compiled });
        self.pending.policies.insert(object);
    }

    pub(super) fn delete_policy(&mut self, object: &ObjectRef) {
        if let Some(old) = self.policies.remove(object) {
            self.refer(&old.policy, false);
            self.pending.policies.insert(object.clone());
            if let Some(compiled) = old.compiled {
                self.retire(compiled);
            }
        }
    }

    /// The old version's references go, unless the new version has them too.
    fn refer_no_more(&mut self, old: &Policy, new: &Policy) {
        self.refer(old, false);
        // Sets of names hold each once, so what both versions name has to be put back.
        self.refer_sets(new, true);
    }

    fn refer(&mut self, policy: &Policy, present: bool) {
        self.refer_sets(policy, present);
        for subject in &policy.subjects {
            if let Subject::Workload(uid) = subject {
                self.refer_uid(uid, present);
            }
        }
    }

    fn refer_sets(&mut self, policy: &Policy, present: bool) {
        let object = &policy.object;
        let note = |index: &mut std::collections::BTreeMap<
            Interned,
            std::collections::BTreeSet<ObjectRef>,
        >,
                    name: &Interned| {
            if present {
                index
                    .entry(name.clone())
                    .or_default()
                    .insert(object.clone());
            } else if let Some(objects) = index.get_mut(name) {
                objects.remove(object);
                if objects.is_empty() {
                    index.remove(name);
                }
            }
        };
        for subject in &policy.subjects {
            if let Subject::Segment(name) = subject {
                note(&mut self.policies_by_segment, name);
            }
        }
        for rule in policy.ingress.iter().chain(&policy.egress) {
            let Peers::Of(peers) = &rule.peers else {
                continue;
            };
            for peer in peers {
                match peer {
                    Peer::Segment(name) => note(&mut self.policies_by_segment, name),
                    Peer::Nodes(_) if present => drop(self.hosts.policies.insert(object.clone())),
                    Peer::Nodes(_) => drop(self.hosts.policies.remove(object)),
                    Peer::Workloads(_) | Peer::Network(_) | Peer::Unresolved => {}
                }
            }
        }
        for rule in policy.rules(Direction::Egress) {
            if let Ports::Of(ports) = &rule.ports {
                for port in ports {
                    if let Port::Named { name, .. } = port {
                        note(&mut self.policies_by_port_name, name);
                    }
                }
            }
        }
        for at in [policy.active_from, policy.expires_at]
            .into_iter()
            .flatten()
        {
            let boundary = (at, object.clone());
            if present && at > self.now {
                self.boundaries.insert(boundary);
            } else {
                self.boundaries.remove(&boundary);
            }
        }
    }

    /// A policy that names one incarnation sets it apart from all others with its labels.
    fn refer_uid(&mut self, uid: &Interned, present: bool) {
        let count = self.named_uids.entry(uid.clone()).or_default();
        if present {
            *count += 1;
        } else {
            *count -= 1;
        }
        let count = *count;
        if count == 0 {
            self.named_uids.remove(uid);
        }
        if (present && count == 1) || count == 0 {
            self.rekey(uid);
        }
    }

    fn rekey(&mut self, uid: &Interned) {
        let Some(key) = self.workloads.by_uid.get(uid).copied() else {
            return;
        };
        let Some(old) = self.workloads.arena[key].profile else {
            return;
        };
        let workload = self.workloads.arena[key].workload.clone();
        let profile_key = self.profile_key(&workload);
        let addresses = self.workloads.arena[key].addresses.clone();
        let before: Vec<Ownership> = addresses
            .iter()
            .map(|address| self.ownership(*address))
            .collect();
        let profile = self.acquire_profile(profile_key, key);
        let node = self.workloads.arena[key].node;
        self.workloads.arena[key].profile = Some(profile);
        self.rebind(key, (Some(old), node), (Some(profile), node));
        for (address, before) in addresses.into_iter().zip(before) {
            self.owner_changed(address, before);
        }
        if old != profile {
            self.release_profile(old, key);
        }
    }

    /// What an old version says counts no more; what it holds is given back when everything is settled.
    pub(super) fn retire(&mut self, compiled: Key<Compiled>) {
        for subject in self.compiled[compiled].subjects.clone() {
            self.unprotect(subject, Protector::Policy(compiled));
        }
        self.pending.retired.push(compiled);
    }
}

fn union(a: &[Address], b: &[Address]) -> Vec<Address> {
    let mut all = [a, b].concat();
    all.sort_unstable();
    all.dedup();
    all
}
