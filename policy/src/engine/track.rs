//! Namespaces, nodes and workloads as they come and go, and who owns which address.

use bulkhead_graph::Address;

use super::Engine;
use super::arena::Key;
use super::node::NodeState;
use super::profile::{Marks, NamespaceState, Profile, ProfileKey};
use super::workload::{Claim, Claims, Owner, WorkloadState, hold, marks};
use crate::model::{Interned, Kind, Namespace, Node, ObjectRef, SortedSet, Workload};

/// A workload as far as addresses are concerned, before or after a change.
type Ownership = Option<(Key<WorkloadState>, Key<Profile>)>;

impl Engine {
    pub(super) fn apply_namespace(&mut self, namespace: &Namespace) {
        match namespace.closed() {
            Some(closed) => self.apply_policy(closed.into()),
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
        let key = self.profiles.namespace(name, self.metadata_name);
        self.profiles.namespaces[key].declared = true;
        self.relabel_namespace(key, labels);
    }

    pub(super) fn delete_namespace(&mut self, name: &Interned) {
        let number = self.names.number(name);
        let key = self.profiles.namespace(number, self.metadata_name);
        if std::mem::take(&mut self.profiles.namespaces[key].declared) {
            self.delete_policy(&Namespace::closed_by_name(name));
            self.relabel_namespace(key, vec![(self.metadata_name, number)]);
        }
    }

    fn relabel_namespace(
        &mut self,
        namespace: Key<NamespaceState>,
        labels: Vec<(super::names::Name, super::names::Name)>,
    ) {
        let before = &self.profiles.namespaces[namespace].labels;
        if *before != labels {
            self.leftovers.add(before.len());
            self.namespace_goes(namespace);
            self.profiles.relabel(namespace, labels);
            self.namespace_came(namespace);
            let members = &self.profiles.namespaces[namespace].profiles;
            for profile in members.profiles().to_vec() {
                self.match_profile(profile);
            }
        }
    }

    pub(super) fn node(&mut self, name: &Interned) -> Key<NodeState> {
        if let Some(node) = self.node_keys.get(name) {
            return *node;
        }
        let node = self.nodes.insert(NodeState::new(name.clone()));
        self.node_keys.insert(name.clone(), node);
        self.pending.nodes.push(node);
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
        // Which of several claimants of an address is at home, and whether one may be, can be answered otherwise now, where
        // the address is in a range that came or went.
        let old = &self.nodes[node].ranges;
        let mut disputed = self.workloads.disputed();
        disputed.retain(|address| {
            let mut concerned = old.iter().chain(&ranges);
            concerned.any(|range| range.contains(&address.ip()))
        });
        self.reconsider(disputed, |engine| {
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
            self.counted_nodes -= usize::from(gone.is_counted());
            self.node_keys.remove(&gone.name);
            self.gone_nodes.insert(gone.name);
        }
    }

    pub(super) fn apply_workload(&mut self, kind: Kind, workload: Box<Workload>) {
        let (namespace, name) = (&workload.namespace, &workload.name);
        let Some(key) = self.workloads.of_object(kind, namespace, name) else {
            return self.add_workload(kind, workload);
        };
        if self.workloads.arena[key].uid != workload.uid {
            // Another incarnation under the same name inherits nothing.
            self.remove_workload(key);
            return self.add_workload(kind, workload);
        }
        self.change_workload(key, workload);
    }

    fn add_workload(&mut self, kind: Kind, workload: Box<Workload>) {
        let live = workload.is_live();
        let profile_key = live.then(|| self.profile_key(&workload));
        let node = match &workload.node {
            Some(node) if live => Some(self.node(node)),
            Some(_) | None => None,
        };
        let addresses = claims(&workload);
        if kind == Kind::Pod {
            self.count_pods(self.workloads.pods + 1);
        }
        let key = self.workloads.insert(WorkloadState {
            kind,
            phase: workload.phase,
            host_network: workload.host_network,
            uid: workload.uid,
            owners: workload.owners,
            namespace: workload.namespace,
            name: workload.name,
            interface: workload.interface,
            profile: None,
            node,
            addresses,
        });
        let profile = profile_key.map(|profile_key| self.take_profile(profile_key, key));
        self.workloads.arena[key].profile = profile;
        self.rebind(key, (None, None), (profile, node));
        for at in 0..self.workloads.arena[key].addresses.len() {
            let address = self.workloads.arena[key].addresses[at].address;
            let others = self.workloads.claimants(address);
            let before = self.ownership_among(address, &others);
            self.workloads.claim(address, key, !others.is_empty());
            if others.is_empty() && kind == Kind::Pod {
                self.workloads.arena[key].addresses[at].owned = true;
                self.services.owner_changed(address);
                self.move_address(address, None, profile);
            } else {
                self.owner_changed(address, before);
            }
        }
    }

    fn change_workload(&mut self, key: Key<WorkloadState>, workload: Box<Workload>) {
        let live = workload.is_live();
        let profile_key = live.then(|| self.profile_key(&workload));
        let node = match &workload.node {
            Some(node) if live => Some(self.node(node)),
            Some(_) | None => None,
        };
        let mut addresses = claims(&workload);
        self.workloads.change_owners(key, workload.owners);
        let state = &self.workloads.arena[key];
        // Until it is said otherwise, what it owned it owns.
        state
            .owned()
            .for_each(|owned| hold(&mut addresses, owned, true));
        let old = (state.profile, state.node);
        let was: Claims = state.addresses.clone();
        let same_addresses = was
            .iter()
            .map(|claim| claim.address)
            .eq(addresses.iter().map(|claim| claim.address));
        let same_profile = match (&profile_key, old.0) {
            (Some(new), Some(old)) => self.profiles.arena[old].is(new),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if same_addresses
            && same_profile
            && old.1 == node
            && state.phase == workload.phase
            && state.host_network == workload.host_network
            && state.interface == workload.interface
        {
            self.profile_key = profile_key;
            return;
        }
        let touched = union(&was, &addresses);
        let before: Vec<Ownership> = touched
            .iter()
            .map(|address| self.ownership(*address))
            .collect();
        let profile = profile_key.map(|profile_key| self.take_profile(profile_key, key));
        self.touch_workload(key);
        for claim in &was {
            self.workloads.disclaim(claim.address, key);
        }
        let state = &mut self.workloads.arena[key];
        state.phase = workload.phase;
        state.host_network = workload.host_network;
        state.interface = workload.interface;
        (state.profile, state.node) = (profile, node);
        state.addresses = addresses;
        for at in 0..state.addresses.len() {
            let address = self.workloads.arena[key].addresses[at].address;
            let shared = !self.workloads.claimants(address).is_empty();
            self.workloads.claim(address, key, shared);
        }
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
        let ObjectRef {
            kind,
            namespace,
            name,
        } = object;
        if let Some(key) = self.workloads.of_object(*kind, namespace, name) {
            self.remove_workload(key);
        }
    }

    fn remove_workload(&mut self, key: Key<WorkloadState>) {
        let state = &self.workloads.arena[key];
        let old = (state.profile, state.node);
        let addresses: Vec<Address> = state.addresses.iter().map(|claim| claim.address).collect();
        let before: Vec<Ownership> = addresses
            .iter()
            .map(|address| self.ownership(*address))
            .collect();
        self.touch_workload(key);
        for address in &addresses {
            self.workloads.disclaim(*address, key);
        }
        self.workloads.arena[key].addresses.clear();
        self.rebind(key, old, (None, None));
        for (address, before) in addresses.into_iter().zip(before) {
            self.owner_changed(address, before);
        }
        if let Some(profile) = old.0 {
            self.release_profile(profile, key);
        }
        if self.workloads.remove(key).kind == Kind::Pod {
            self.count_pods(self.workloads.pods - 1);
        }
        if let Some(node) = old.1 {
            self.drop_node_if_idle(node);
        }
    }

    /// The label set of a workload, in the room of the last one that was asked for.
    fn profile_key(&mut self, workload: &Workload) -> ProfileKey {
        let last = self.profile_key.take();
        let near = last.as_ref();
        let account = near.map(|last| last.account);
        let account = self.names.number_near(&workload.service_account, account);
        let namespace = self.namespace_near(&workload.namespace, near.map(|last| last.namespace));
        let (mut labels, mut ports) = match last {
            Some(last) => (last.labels, last.ports),
            None => (Vec::new(), Vec::new()),
        };
        labels.truncate(workload.labels.len());
        for (at, (key, value)) in workload.labels.iter().enumerate() {
            let near = labels.get(at).copied().unzip();
            let label = (
                self.names.number_near(key, near.0),
                self.names.number_near(value, near.1),
            );
            match labels.get_mut(at) {
                Some(place) => *place = label,
                None => labels.push(label),
            }
        }
        labels.sort_unstable();
        ports.clear();
        for port in &workload.named_ports {
            ports.push((self.names.number(&port.name), port.protocol, port.port));
        }
        ports.sort_unstable();
        let marks = self.marks_named(&workload.uid, &workload.owners);
        ProfileKey {
            namespace,
            labels,
            account,
            ports,
            marks,
        }
    }

    /// Which of a workload's marks some policy names.
    fn marks_named(&mut self, uid: &Interned, owners: &SortedSet<Interned>) -> Marks {
        if self.named_marks.is_empty() {
            return Marks::new();
        }
        let mut marks: Marks = marks(uid, owners)
            .filter(|mark| self.named_marks.contains_key(*mark))
            .map(|mark| self.names.number(mark))
            .collect();
        marks.sort_unstable();
        marks.dedup();
        marks
    }

    fn take_profile(&mut self, key: ProfileKey, workload: Key<WorkloadState>) -> Key<Profile> {
        let profile = self.acquire_profile(&key, workload);
        self.profile_key = Some(key);
        profile
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
        self.ownership_among(address, &self.workloads.claimants(address))
    }

    /// Whose the address is, of those who claim it.
    fn ownership_among(&self, address: Address, claimants: &[Key<WorkloadState>]) -> Ownership {
        claimants.iter().find_map(|key| {
            let state = &self.workloads.arena[*key];
            let owns = state.owned().any(|owned| owned == address);
            owns.then_some((*key, state.profile?))
        })
    }

    /// Finds the owner of an address anew. A former owner's label set is still there: it is given back only afterwards.
    fn owner_changed(&mut self, address: Address, before: Ownership) {
        let claimants = self.workloads.claimants(address);
        let owner = self.workloads.owner(address, &self.nodes);
        let after = match owner {
            Owner::One(key) => self.workloads.arena[key].profile.map(|p| (key, p)),
            Owner::Nobody | Owner::Contested => None,
        };
        for key in &claimants {
            let claims = &mut self.workloads.arena[*key].addresses;
            hold(claims, address, owner == Owner::One(*key));
        }
        let changed = if owner == Owner::Contested {
            self.workloads.contested.insert(address)
        } else {
            self.workloads.contested.remove(&address)
        };
        self.pending.ranges |= changed;
        if changed || before != after {
            for claimant in claimants {
                self.touch_workload(claimant);
            }
            self.services.owner_changed(address);
        }
        let [old, new] = [before, after].map(|ownership| ownership.map(|(_, profile)| profile));
        self.move_address(address, old, new);
    }

    /// Moves an address from the peer sets of its former owner's label set to those of the present one's.
    fn move_address(
        &mut self,
        address: Address,
        old: Option<Key<Profile>>,
        new: Option<Key<Profile>>,
    ) {
        if old == new {
            return;
        }
        for (profile, present) in [(old, false), (new, true)] {
            let Some(profile) = profile else { continue };
            for at in 0..self.profiles.arena[profile].matched.len() {
                let selector = self.profiles.arena[profile].matched[at];
                self.move_peer(selector, address, present);
            }
        }
        if old.is_some() != new.is_some() {
            self.pending.known_changed = true;
            if !self.known_is_made_anew() {
                self.pending.known.push((address, new.is_some()));
            }
        }
    }

    pub(super) fn rekey(&mut self, mark: &Interned) {
        let marked = self.workloads.of_mark(mark);
        let live: Vec<_> = marked
            .filter_map(|(key, state)| Some((key, state.profile?)))
            .collect();
        for (key, profile) in live {
            self.rekey_workload(key, profile);
        }
    }

    fn rekey_workload(&mut self, key: Key<WorkloadState>, old: Key<Profile>) {
        let state = &self.workloads.arena[key];
        let (uid, owners) = (state.uid.clone(), state.owners.clone());
        let profile_key = ProfileKey {
            marks: self.marks_named(&uid, &owners),
            ..(*self.profiles.arena[old]).clone()
        };
        let state = &self.workloads.arena[key];
        let node = state.node;
        let addresses: Vec<Address> = state.addresses.iter().map(|claim| claim.address).collect();
        let before: Vec<Ownership> = addresses
            .iter()
            .map(|address| self.ownership(*address))
            .collect();
        let profile = self.acquire_profile(&profile_key, key);
        self.workloads.arena[key].profile = Some(profile);
        self.rebind(key, (Some(old), node), (Some(profile), node));
        for (address, before) in addresses.into_iter().zip(before) {
            self.owner_changed(address, before);
        }
        if old != profile {
            self.release_profile(old, key);
        }
    }
}

/// What a workload reports, nothing of it granted yet; empty unless it is live.
fn claims(workload: &Workload) -> Claims {
    let mut claims = Claims::new();
    if workload.is_live() {
        claims.extend(workload.addresses.iter().map(|ip| Claim {
            address: Address::from(*ip),
            owned: false,
        }));
        claims.sort_unstable_by_key(|claim| claim.address);
        claims.dedup_by_key(|claim| claim.address);
    }
    claims
}

fn union(a: &[Claim], b: &[Claim]) -> Vec<Address> {
    let mut all: Vec<Address> = a.iter().chain(b).map(|claim| claim.address).collect();
    all.sort_unstable();
    all.dedup();
    all
}
