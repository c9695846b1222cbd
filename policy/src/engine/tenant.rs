//! Tenants: how much the peers of one namespace's policies take, and which of them there is room for.
//!
//! Of nearly every namespace it is known without a look that there is room, until so and so many more workloads have come. Only of
//! one that is beyond its limits the lists are held one by one, each with its length and never with who is on it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::Engine;
use super::arena::{Key, Keys, insert_sorted, remove_sorted};
use super::findings::Finding;
use super::names::Name;
use super::policies::PolicyState;
use super::profile::{NamespaceState, Profile};
use super::selector::SelectorKey;
use crate::model::{
    Direction, Interned, ListOf, PeerList, PeerRoom, Policy, Protocol, Rule, Tier, longest_for,
};

/// With more lists than this in a namespace, its policies are compiled when it is known which of them there is room for.
const FEW_LISTS: usize = 256;

#[derive(Default)]
pub(super) struct Tenants {
    /// Those with peers in their policies.
    all: FxHashMap<Interned, Tenant>,
    /// To be looked at; each is marked as such.
    stale: Vec<Interned>,
    /// When the others are to be looked at again, by what `came` is then.
    later: BTreeSet<(u64, Interned)>,
    /// Those beyond their limits.
    crowded: BTreeSet<Interned>,
    /// How much longer any list can have become since the beginning.
    came: u64,
    /// How long a list of everybody can be.
    longest: usize,
}

#[derive(Default)]
struct Tenant {
    policies: Keys<PolicyState>,
    /// How many lists they need at most.
    lists: usize,
    /// Its policies are other ones than at the last look.
    rewritten: bool,
    stale: bool,
    look_at: Option<u64>,
    /// While it is beyond its limits.
    crowd: Option<Crowd>,
}

struct Crowd {
    /// How many different lists there are.
    count: usize,
    /// The first of them, as many as there may be, in order.
    first: Vec<Weighed>,
    room: PeerRoom,
}

struct Weighed {
    list: PeerList,
    key: SelectorKey,
    port: Option<(Name, Protocol)>,
    length: usize,
}

impl Weighed {
    /// How often each workload of a label set is on the list.
    fn count(&self, profile: &Profile, namespace: &NamespaceState) -> usize {
        if !self.key.matches(profile, namespace) {
            return 0;
        }
        let numbers = self.port.iter().flat_map(|port| {
            let ports = profile.ports.iter();
            ports.filter(|(name, protocol, _)| (*name, *protocol) == *port)
        });
        self.list.count(numbers.count())
    }

    fn names(&self, mut each: impl FnMut(Name)) {
        self.key.names(&mut each);
        self.port.iter().for_each(|(name, _)| each(*name));
    }
}

impl Crowd {
    fn lengths(&self) -> Vec<usize> {
        self.first.iter().map(|it| it.length).collect()
    }
}

impl Tenants {
    /// A policy is there now.
    pub(super) fn add(&mut self, key: Key<PolicyState>, policy: &Policy) {
        self.change(policy, |tenant, lists| {
            tenant.lists += lists;
            insert_sorted(&mut tenant.policies, key);
        });
    }

    /// A policy, or this version of it, is gone.
    pub(super) fn remove(&mut self, key: Key<PolicyState>, policy: &Policy) {
        self.change(policy, |tenant, lists| {
            tenant.lists -= lists;
            remove_sorted(&mut tenant.policies, &key);
        });
    }

    fn change(&mut self, policy: &Policy, change: impl FnOnce(&mut Tenant, usize)) {
        let lists = match policy.tier {
            Tier::Namespace => policy.peer_lists(),
            Tier::Quarantine | Tier::Admin(_) | Tier::Baseline(_) => 0,
        };
        if lists == 0 {
            return;
        }
        let namespace = &policy.object.namespace;
        if !self.all.contains_key(namespace) {
            self.all.insert(namespace.clone(), Tenant::default());
        }
        if let Some(tenant) = self.all.get_mut(namespace) {
            change(tenant, lists);
            tenant.rewritten = true;
            tenant.mark(namespace, &mut self.stale);
        }
    }

    /// Whether it need not be known first what there is room for in the policy.
    pub(super) fn is_light(&self, policy: &Policy) -> bool {
        let tenant = match policy.tier {
            Tier::Namespace => self.all.get(&policy.object.namespace),
            Tier::Quarantine | Tier::Admin(_) | Tier::Baseline(_) => None,
        };
        tenant.is_none_or(|tenant| tenant.crowd.is_none() && tenant.lists <= FEW_LISTS)
    }

    /// A rule of a policy as it counts, as of the last look.
    pub(super) fn reduce<'r>(
        &self,
        policy: &Policy,
        rule: &'r Rule,
        direction: Direction,
    ) -> Cow<'r, Rule> {
        if policy.tier != Tier::Namespace || self.crowded.is_empty() {
            return Cow::Borrowed(rule);
        }
        let tenant = self.all.get(&policy.object.namespace);
        let crowd = tenant.and_then(|tenant| tenant.crowd.as_ref());
        crowd.map_or(Cow::Borrowed(rule), |it| it.room.reduce(rule, direction))
    }

    /// So many workloads of a label set, in a namespace with these labels, came (or are gone).
    fn shift(&mut self, profile: &Profile, namespace: &NamespaceState, by: isize) {
        for name in &self.crowded {
            let Some(tenant) = self.all.get_mut(name) else {
                continue;
            };
            let mut is_other = false;
            for weighed in tenant.crowd.iter_mut().flat_map(|it| &mut it.first) {
                let count = weighed.count(profile, namespace);
                let change = by.saturating_mul(count.cast_signed());
                weighed.length = weighed.length.saturating_add_signed(change);
                is_other |= count > 0;
            }
            if is_other {
                tenant.mark(name, &mut self.stale);
            }
        }
    }

    /// Those that have to be looked at now.
    fn take_due(&mut self) -> Vec<Interned> {
        while let Some((at, _)) = self.later.first()
            && *at <= self.came
            && let Some((_, name)) = self.later.pop_first()
        {
            if let Some(tenant) = self.all.get_mut(&name) {
                tenant.look_at = None;
                tenant.mark(&name, &mut self.stale);
            }
        }
        std::mem::take(&mut self.stale)
    }

    fn weighed(&self) -> impl Iterator<Item = &Weighed> {
        let crowded = self.crowded.iter().filter_map(|name| self.all.get(name));
        let crowds = crowded.filter_map(|tenant| tenant.crowd.as_ref());
        crowds.flat_map(|crowd| &crowd.first)
    }

    /// Every name that the lists of those beyond their limits speak of.
    pub(super) fn names(&self, mut each: impl FnMut(Name)) {
        self.weighed().for_each(|weighed| weighed.names(&mut each));
    }

    /// Namespaces that those lists look into.
    pub(super) fn looked_into(&self) -> impl Iterator<Item = Key<NamespaceState>> {
        self.weighed()
            .filter_map(|weighed| weighed.key.looks_into())
    }
}

impl Tenant {
    fn mark(&mut self, name: &Interned, stale: &mut Vec<Interned>) {
        if !std::mem::replace(&mut self.stale, true) {
            stale.push(name.clone());
        }
    }
}

impl Engine {
    /// A workload has this label set from now on.
    pub(super) fn workload_came(&mut self, profile: Key<Profile>) {
        let longest = longest_for(self.profiles.arena[profile].ports.len());
        self.tenants.came += longest as u64;
        self.tenants.longest += longest;
        self.shift(profile, 1);
    }

    /// A workload has this label set for the last time.
    pub(super) fn workload_goes(&mut self, profile: Key<Profile>) {
        self.tenants.longest -= longest_for(self.profiles.arena[profile].ports.len());
        self.shift(profile, -1);
    }

    /// A namespace is going to have other labels.
    pub(super) fn namespace_goes(&mut self, namespace: Key<NamespaceState>) {
        self.shift_all(namespace, -1);
    }

    /// A namespace has other labels.
    pub(super) fn namespace_came(&mut self, namespace: Key<NamespaceState>) {
        let profiles = self.profiles.namespaces[namespace].profiles.profiles();
        let longest = profiles.iter().map(|key| {
            let profile = &self.profiles.arena[*key];
            profile.workloads.len() * longest_for(profile.ports.len())
        });
        self.tenants.came += longest.sum::<usize>() as u64;
        self.shift_all(namespace, 1);
    }

    fn shift_all(&mut self, namespace: Key<NamespaceState>, sign: isize) {
        if self.tenants.crowded.is_empty() {
            return;
        }
        let profiles = self.profiles.namespaces[namespace].profiles.profiles();
        let profiles: Vec<Key<Profile>> = profiles.to_vec();
        for profile in profiles {
            let workloads = self.profiles.arena[profile].workloads.len();
            self.shift(profile, sign * workloads.cast_signed());
        }
    }

    fn shift(&mut self, profile: Key<Profile>, by: isize) {
        let profile = &self.profiles.arena[profile];
        let namespace = &self.profiles.namespaces[profile.namespace];
        self.tenants.shift(profile, namespace, by);
    }

    /// Finds out what there is room for, where that may have changed.
    pub(super) fn settle_tenants(&mut self) {
        for name in self.tenants.take_due() {
            if let Some(tenant) = self.tenants.all.remove(&name) {
                self.settle_tenant(&name, tenant);
            }
        }
    }

    fn settle_tenant(&mut self, name: &Interned, mut tenant: Tenant) {
        if let Some(at) = tenant.look_at.take() {
            self.tenants.later.remove(&(at, name.clone()));
        }
        self.tenants.crowded.remove(name);
        tenant.stale = false;
        let mut before = tenant.crowd.take();
        let was = before.as_mut().map(|crowd| std::mem::take(&mut crowd.room));
        let was = was.unwrap_or_default();
        let look = self.look_at_tenant(&tenant, before);
        tenant.rewritten = false;
        let now = match look {
            Look::Room { until_more } => {
                if tenant.lists > 0 {
                    let at = self.tenants.came + until_more as u64 + 1;
                    tenant.look_at = Some(at);
                    self.tenants.later.insert((at, name.clone()));
                }
                &PeerRoom::All
            }
            Look::Crowded(crowd) => {
                self.tenants.crowded.insert(name.clone());
                &tenant.crowd.insert(crowd).room
            }
        };
        if was != *now {
            for key in &tenant.policies {
                if is_other(&self.policies.arena[*key].policy, &was, now) {
                    self.policies.mark_key(*key, &mut self.pending.policies);
                }
            }
        }
        if tenant.lists > 0 {
            self.tenants.all.insert(name.clone(), tenant);
        }
    }

    fn look_at_tenant(&mut self, tenant: &Tenant, before: Option<Crowd>) -> Look {
        let (limits, longest) = (self.config.peer_limits, self.tenants.longest);
        if limits.fit(tenant.lists, longest) {
            self.give_back(before);
            let most = limits.workloads / tenant.lists.max(1);
            let until_more = most.saturating_sub(longest);
            return Look::Room { until_more };
        }
        let mut crowd = match before {
            Some(crowd) if !tenant.rewritten => crowd,
            before => self.weigh(tenant, before),
        };
        let lengths = crowd.lengths();
        let sum = lengths.iter().sum();
        if limits.hold(crowd.count, sum) {
            let until_more = (limits.workloads - sum) / crowd.count.max(1);
            self.give_back(Some(crowd));
            return Look::Room { until_more };
        }
        let with_room = crowd.first.iter().zip(limits.admit(&lengths));
        let with_room = with_room.filter(|(_, has_room)| *has_room);
        crowd.room = PeerRoom::Only(with_room.map(|(it, _)| it.list.clone()).collect());
        Look::Crowded(crowd)
    }

    /// How long the lists of a tenant are. Of those that were weighed before that is known.
    fn weigh(&mut self, tenant: &Tenant, before: Option<Crowd>) -> Crowd {
        let policies = tenant
            .policies
            .iter()
            .map(|key| &*self.policies.arena[*key].policy);
        let lists = self.config.peer_limits.lists(policies);
        let before = before.into_iter().flat_map(|crowd| crowd.first);
        let mut before: BTreeMap<PeerList, Weighed> =
            before.map(|it| (it.list.clone(), it)).collect();
        let mut first = Vec::with_capacity(lists.first.len());
        for list in lists.first {
            first.push(match before.remove(&list) {
                Some(weighed) => weighed,
                None => self.weigh_list(list),
            });
        }
        for gone in before.into_values() {
            gone.names(|_| self.leftovers.add(1));
        }
        Crowd {
            count: lists.count,
            first,
            room: PeerRoom::All,
        }
    }

    fn weigh_list(&mut self, list: PeerList) -> Weighed {
        self.counters.lists_weighed += 1;
        let key = match &list.of {
            ListOf::Selected(selector) => self.model_selector_key(selector),
            ListOf::Others(_) => SelectorKey::everything(),
        };
        let port = list.port.as_ref();
        let port = port.map(|port| (self.names.number(&port.name), port.protocol));
        let profiles = match self.selectors.find(&key) {
            Some(selector) => self.selectors.arena[selector].members.clone(),
            None => self.profiles.matching(&key),
        };
        let mut weighed = Weighed {
            list,
            key,
            port,
            length: 0,
        };
        let lengths = profiles.iter().map(|key| {
            let profile = &self.profiles.arena[*key];
            let namespace = &self.profiles.namespaces[profile.namespace];
            profile.workloads.len() * weighed.count(profile, namespace)
        });
        weighed.length = lengths.sum();
        weighed
    }

    fn give_back(&mut self, crowd: Option<Crowd>) {
        for weighed in crowd.iter().flat_map(|crowd| &crowd.first) {
            weighed.names(|_| self.leftovers.add(1));
        }
    }

    /// Policies for whose peers there is no room.
    pub(super) fn crowded_policies(&self) -> Vec<Finding> {
        let limits = self.config.peer_limits;
        let mut findings = Vec::new();
        for name in &self.tenants.crowded {
            let Some(tenant) = self.tenants.all.get(name) else {
                continue;
            };
            let Some(crowd) = &tenant.crowd else {
                continue;
            };
            let workloads = crowd.lengths().iter().sum();
            for key in &tenant.policies {
                let policy = &self.policies.arena[*key].policy;
                if let Some((count, first)) = crowd.room.left_out(policy) {
                    findings.push(Finding {
                        object: policy.object.clone(),
                        message: limits.problem(count, &first, crowd.count, workloads),
                    });
                }
            }
        }
        findings
    }
}

enum Look {
    /// There is room for all, and will be until no list is longer by more than this.
    Room {
        until_more: usize,
    },
    Crowded(Crowd),
}

/// Whether a policy counts otherwise now than it did.
fn is_other(policy: &Policy, was: &PeerRoom, now: &PeerRoom) -> bool {
    [Direction::Ingress, Direction::Egress]
        .into_iter()
        .any(|direction| {
            let mut rules = policy.rules(direction).iter();
            rules.any(|rule| was.reduce(rule, direction) != now.reduce(rule, direction))
        })
}
