//! Segments and policies as they come and go, and what they refer to by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Engine;
use super::arena::Key;
use super::compile::Compiled;
use super::policies::PolicyState;
use super::selector::Protector;
use crate::model::{
    Direction, Interned, NamespaceScope, ObjectRef, Peer, Peers, Policy, Port, Ports, Segment,
    Subject,
};

impl Engine {
    pub(super) fn apply_segment(&mut self, segment: Box<Segment>) {
        if self
            .segment_objects
            .get(&segment.name)
            .is_some_and(|old| **old == *segment)
        {
            return;
        }
        self.pending.segments.insert(segment.name.clone());
        self.segment_objects
            .insert(segment.name.clone(), segment.into());
    }

    pub(super) fn delete_segment(&mut self, name: &Interned) {
        if self.segment_objects.remove(name).is_some() {
            self.pending.segments.insert(name.clone());
        }
    }

    pub(super) fn apply_policy(&mut self, policy: Arc<Policy>) {
        let known = self.policies.find(&policy.object);
        if known.is_some_and(|key| *self.policies.arena[key].policy == *policy) {
            return;
        }
        self.refer(&policy, true);
        let key = match known {
            Some(key) => {
                let state = &mut self.policies.arena[key];
                let old = std::mem::replace(&mut state.policy, policy.clone());
                self.refer_no_more(&old, &policy);
                self.tenants.remove(key, &old);
                key
            }
            None => self.policies.insert(policy),
        };
        let policy = &self.policies.arena[key].policy;
        self.tenants.add(key, policy);
        if Self::depends_on_others(policy) || !self.tenants.is_light(policy) {
            self.policies.mark_key(key, &mut self.pending.policies);
        } else {
            // Now, while it is at hand: later it would have to be fetched from memory once more.
            self.compile_anew(key);
        }
    }

    /// Whether it speaks of segments or of other workloads' port names, which may be about to change.
    fn depends_on_others(policy: &Policy) -> bool {
        let segments = |peers: &Peers| match peers {
            Peers::Any => false,
            Peers::Of(peers) => peers.iter().any(|peer| matches!(peer, Peer::Segment(_))),
        };
        let names = |ports: &Ports| match ports {
            Ports::Any => false,
            Ports::Of(ports) => ports.iter().any(|port| matches!(port, Port::Named { .. })),
        };
        let mut subjects = policy.subjects.iter();
        let mut rules = policy.ingress.iter().chain(&policy.egress);
        subjects.any(|subject| matches!(subject, Subject::Segment(_)))
            || rules.any(|rule| segments(&rule.peers))
            || policy.egress.iter().any(|rule| names(&rule.ports))
    }

    /// Makes the present version of a policy the one that counts.
    pub(super) fn compile_anew(&mut self, key: Key<PolicyState>) {
        self.counters.policies_compiled += 1;
        let compiled = self.compile(self.policies.arena[key].policy.clone());
        if let Some(old) = self.policies.arena[key].compiled.replace(compiled) {
            self.retire(old);
        }
    }

    pub(super) fn delete_policy(&mut self, object: &ObjectRef) {
        if let Some(key) = self.policies.find(object) {
            let old = self.policies.remove(key);
            self.refer(&old.policy, false);
            self.tenants.remove(key, &old.policy);
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
            if let Subject::Workload(mark) | Subject::Owner(mark) = subject {
                self.refer_mark(mark, present);
            }
        }
    }

    fn refer_sets(&mut self, policy: &Policy, present: bool) {
        let object = &policy.object;
        fn note<K: Clone + Ord>(
            index: &mut BTreeMap<K, BTreeSet<ObjectRef>>,
            name: &K,
            object: &ObjectRef,
            present: bool,
        ) {
            if present {
                let objects = index.entry(name.clone()).or_default();
                objects.insert(object.clone());
            } else if let Some(objects) = index.get_mut(name) {
                objects.remove(object);
                if objects.is_empty() {
                    index.remove(name);
                }
            }
        }
        for subject in &policy.subjects {
            if let Subject::Segment(name) = subject {
                note(&mut self.policies_by_segment, name, object, present);
            }
        }
        for rule in policy.ingress.iter().chain(&policy.egress) {
            let Peers::Of(peers) = &rule.peers else {
                continue;
            };
            for peer in peers {
                match peer {
                    Peer::Segment(name) => {
                        note(&mut self.policies_by_segment, name, object, present);
                    }
                    Peer::Nodes(_) if present => drop(self.hosts.policies.insert(object.clone())),
                    Peer::Nodes(_) => drop(self.hosts.policies.remove(object)),
                    Peer::Workloads(_) | Peer::Network(_) | Peer::Unresolved => {}
                }
            }
        }
        for rule in policy.rules(Direction::Egress) {
            let Ports::Of(ports) = &rule.ports else {
                continue;
            };
            for port in ports {
                if let Port::Named { name, .. } = port {
                    for place in places(&rule.peers) {
                        let looked_for = (place, name.clone());
                        note(
                            &mut self.policies_by_port_name,
                            &looked_for,
                            object,
                            present,
                        );
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

    /// A policy that names an incarnation or an owner sets their workloads apart from all others with their labels.
    fn refer_mark(&mut self, mark: &Interned, present: bool) {
        let count = self.named_marks.entry(mark.clone()).or_default();
        if present {
            *count += 1;
        } else {
            *count -= 1;
        }
        let count = *count;
        if count == 0 {
            self.named_marks.remove(mark);
        }
        if (present && count == 1) || count == 0 {
            self.rekey(mark);
        }
    }

    /// What an old version says counts no more; what it holds is given back when everything is settled.
    pub(super) fn retire(&mut self, compiled: Key<Compiled>) {
        for at in 0..self.compiled[compiled].subjects.len() {
            let subject = self.compiled[compiled].subjects[at];
            self.unprotect(subject, Protector::Policy(compiled));
        }
        self.pending.retired.push(compiled);
    }
}

/// The namespaces that peers are looked for in, `None` for all of them.
fn places(peers: &Peers) -> BTreeSet<Option<Interned>> {
    let Peers::Of(peers) = peers else {
        return BTreeSet::from([None]);
    };
    let place = |peer: &Peer| match peer {
        Peer::Workloads(selector) => match &selector.namespaces {
            NamespaceScope::Named(namespace) => Some(namespace.clone()),
            NamespaceScope::Matching(_) => None,
        },
        Peer::Network(_) | Peer::Nodes(_) | Peer::Segment(_) | Peer::Unresolved => None,
    };
    peers.iter().map(place).collect()
}
