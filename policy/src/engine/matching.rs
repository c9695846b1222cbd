//! Who matches whom: label sets find their selectors and selectors their label sets, as they come and go.

use std::sync::Arc;

use bulkhead_graph::{Address, PeerSet, PeerSetId};

use super::Engine;
use super::arena::{Key, insert_sorted, remove_sorted};
use super::entry::{Context, EntrySpec, EntryState};
use super::profile::{NamespaceState, Profile, ProfileKey};
use super::selector::{Protector, Selector, SelectorKey, selector_key};
use super::workload::WorkloadState;
use crate::model::WorkloadSelector;

impl Engine {
    pub(super) fn acquire_model_selector(&mut self, selector: &WorkloadSelector) -> Key<Selector> {
        let key = self.model_selector_key(selector);
        self.acquire_selector(key)
    }

    pub(super) fn model_selector_key(&mut self, selector: &WorkloadSelector) -> SelectorKey {
        let (profiles, metadata_name) = (&mut self.profiles, self.metadata_name);
        selector_key(selector, &mut self.names, |names, name| {
            let name = names.number(name);
            profiles.namespace(name, metadata_name)
        })
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
            gone.key.names(|_| self.leftovers.add(1));
        }
    }

    pub(super) fn protect(&mut self, selector: Key<Selector>, protector: Protector) {
        insert_sorted(&mut self.selectors.arena[selector].protects, protector);
        self.mark_selector(selector);
    }

    pub(super) fn unprotect(&mut self, selector: Key<Selector>, protector: Protector) {
        remove_sorted(&mut self.selectors.arena[selector].protects, &protector);
        self.mark_selector(selector);
    }

    /// Its members are to be settled. They are marked later, all at once: thousands of policies may share the selector.
    fn mark_selector(&mut self, selector: Key<Selector>) {
        let state = &mut self.selectors.arena[selector];
        if !std::mem::replace(&mut state.protects_anew, true) {
            self.pending.protecting.push(selector);
        }
    }

    pub(super) fn mark_protected(&mut self) {
        for selector in std::mem::take(&mut self.pending.protecting) {
            let Some(state) = self.selectors.arena.get_mut(selector) else {
                continue;
            };
            if !std::mem::take(&mut state.protects_anew) {
                continue;
            }
            for profile in &state.members {
                if !std::mem::replace(&mut self.profiles.arena[*profile].pending, true) {
                    self.pending.profiles.push(*profile);
                }
            }
        }
    }

    fn mark_profile(&mut self, profile: Key<Profile>) {
        if !std::mem::replace(&mut self.profiles.arena[profile].pending, true) {
            self.pending.profiles.push(profile);
        }
    }

    pub(super) fn acquire_entry(&mut self, spec: EntrySpec) -> Key<EntryState> {
        let context = Context {
            selectors: &mut self.selectors,
            names: &self.names,
            namespaces: &self.profiles.namespaces,
        };
        self.entries.acquire(spec, context)
    }

    pub(super) fn acquire_profile(
        &mut self,
        key: &ProfileKey,
        workload: Key<WorkloadState>,
    ) -> Key<Profile> {
        let (profile, new) = self.profiles.acquire(key, workload);
        if new {
            self.match_profile(profile);
            self.mark_profile(profile);
            for port in key.ports.iter().copied() {
                if self.port_numbers.add(key.namespace, port) {
                    self.port_name_changed(key.namespace, port.0);
                }
            }
        }
        // Who only has another address has had its label set before.
        if self.workloads.arena[workload].profile != Some(profile) {
            self.workload_came(profile);
        }
        profile
    }

    pub(super) fn release_profile(&mut self, profile: Key<Profile>, workload: Key<WorkloadState>) {
        self.workload_goes(profile);
        let Some(gone) = self.profiles.release(profile, workload) else {
            return;
        };
        for selector in &gone.matched {
            remove_sorted(&mut self.selectors.arena[*selector].members, &profile);
        }
        self.leftovers
            .add(2 * gone.labels.len() + gone.ports.len() + gone.marks.len() + 1);
        for port in gone.ports.iter().copied() {
            if self.port_numbers.remove(gone.namespace, port) {
                self.port_name_changed(gone.namespace, port.0);
            }
        }
        if let Some(identity) = gone.identity {
            self.release_identity(identity);
        }
    }

    /// Policies that look for the name there, or everywhere, may say something else now.
    fn port_name_changed(&mut self, place: Key<NamespaceState>, name: super::names::Name) {
        let string = |name| self.names.string(name).clone();
        let place = string(self.profiles.namespaces[place].name);
        for place in [Some(place), None] {
            let looked_for = (place, string(name));
            let policies = self.policies_by_port_name.get(&looked_for);
            for object in policies.into_iter().flatten() {
                self.policies.mark(object, &mut self.pending.policies);
            }
        }
    }

    /// Finds the selectors of a label set anew, and moves its addresses in and out of their peer sets.
    pub(super) fn match_profile(&mut self, profile: Key<Profile>) {
        self.counters.label_sets_matched += 1;
        let state = &self.profiles.arena[profile];
        let now = self
            .selectors
            .matching(state, &self.profiles.namespaces[state.namespace]);
        if now == state.matched {
            return;
        }
        let before = std::mem::replace(&mut self.profiles.arena[profile].matched, now.clone());
        self.mark_profile(profile);
        let owned: Vec<Address> = self.owned_by(profile).collect();
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

    /// The addresses of the workloads with this label set.
    fn owned_by(&self, profile: Key<Profile>) -> impl Iterator<Item = Address> + '_ {
        let workloads = &self.profiles.arena[profile].workloads;
        let states = workloads.iter().map(|key| &self.workloads.arena[*key]);
        states
            .filter(move |state| state.profile == Some(profile))
            .flat_map(WorkloadState::owned)
    }

    pub(super) fn move_peer(&mut self, selector: Key<Selector>, address: Address, present: bool) {
        let state = &mut self.selectors.arena[selector];
        if state.peers.is_some() && state.holds(address) {
            if state.pending.is_empty() {
                self.pending.selectors.push(selector);
            }
            state.pending.push((address, present));
        }
    }

    /// The selector's name as a peer set.
    pub(super) fn peer_set_id(&mut self, selector: Key<Selector>) -> PeerSetId {
        self.selectors
            .content(selector, &self.names, &self.profiles.namespaces)
    }

    /// Makes the list of present members, if nobody needed it so far.
    pub(super) fn find_peers(&mut self, selector: Key<Selector>) {
        let state = &self.selectors.arena[selector];
        if state.peers.is_some() {
            return;
        }
        let members = state
            .members
            .iter()
            .flat_map(|profile| self.owned_by(*profile));
        let set = members
            .filter(|address| state.holds(*address))
            .collect::<PeerSet>();
        let state = &mut self.selectors.arena[selector];
        state.pending.clear();
        state.peers = Some(Arc::new(self.pool.share(set, &PeerSet::default())));
    }
}
