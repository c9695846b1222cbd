//! Policies as they are now, by name, and which of them are to be compiled.

use std::sync::Arc;

use super::arena::{Arena, ContentHash, Key, Lookup};
use super::compile::Compiled;
use crate::model::{Kind, ObjectRef, Policy};

pub(super) struct PolicyState {
    pub(super) policy: Arc<Policy>,
    /// The last version that was compiled.
    pub(super) compiled: Option<Key<Compiled>>,
    /// Listed to be compiled.
    pending: bool,
}

#[derive(Default)]
pub(super) struct Policies {
    pub(super) arena: Arena<PolicyState>,
    lookup: Lookup<PolicyState>,
}

impl Policies {
    pub(super) fn find(&self, object: &ObjectRef) -> Option<Key<PolicyState>> {
        self.lookup.find(ContentHash::of(object), |key| {
            self.arena[key].policy.object == *object
        })
    }

    /// A policy that is not there yet.
    pub(super) fn insert(&mut self, policy: Arc<Policy>) -> Key<PolicyState> {
        let hash = ContentHash::of(&policy.object);
        let key = self.arena.insert(PolicyState {
            policy,
            compiled: None,
            pending: false,
        });
        self.lookup.insert(hash, key);
        key
    }

    pub(super) fn remove(&mut self, key: Key<PolicyState>) -> PolicyState {
        let gone = self.arena.remove(key);
        self.lookup
            .remove(ContentHash::of(&gone.policy.object), key);
        gone
    }

    /// Lists a policy to be compiled, once, if it is there.
    pub(super) fn mark(&mut self, object: &ObjectRef, pending: &mut Vec<Key<PolicyState>>) {
        if let Some(key) = self.find(object) {
            self.mark_key(key, pending);
        }
    }

    pub(super) fn mark_key(&mut self, key: Key<PolicyState>, pending: &mut Vec<Key<PolicyState>>) {
        if !std::mem::replace(&mut self.arena[key].pending, true) {
            pending.push(key);
        }
    }

    /// Whether the policy still is there to be compiled; it no longer is listed.
    pub(super) fn take_pending(&mut self, key: Key<PolicyState>) -> bool {
        let state = self.arena.get_mut(key);
        state.is_some_and(|state| std::mem::take(&mut state.pending))
    }

    /// Sorted.
    pub(super) fn objects(&self, kind: Kind) -> Vec<ObjectRef> {
        let all = self.arena.iter().map(|(_, state)| &state.policy.object);
        let mut objects: Vec<ObjectRef> = all.filter(|o| o.kind == kind).cloned().collect();
        objects.sort_unstable();
        objects
    }
}
