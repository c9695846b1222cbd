//! Entries and rule sets by content: ten thousand identical policies are one line of one list.

use std::sync::Arc;

use bulkhead_graph::{
    Action, Direction, Entry, Lease, Matched, Mode, Network, PeerMatch, PortMatch, RuleSet,
    RuleSetId, Stage, Timestamp, Workloads,
};
use smallvec::SmallVec;

use super::arena::{Arena, ContentHash, Key, Keys, Lookup};
use super::names::Names;
use super::profile::NamespaceState;
use super::selector::{Selector, Selectors};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum PeerSpec {
    Any,
    Of {
        everybody: bool,
        sets: Keys<Selector>,
        networks: Vec<Network>,
    },
}

/// An entry before its selectors have their content names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct EntrySpec {
    pub(super) stage: Stage,
    pub(super) action: Action,
    pub(super) mode: Mode,
    pub(super) peers: PeerSpec,
    /// `Maybe` where nobody can tell whether the peers are meant.
    pub(super) certainty: Matched,
    pub(super) ports: PortMatch,
    pub(super) until: Option<Timestamp>,
    pub(super) lease: Option<Lease>,
}

pub(super) struct EntryState {
    pub(super) spec: EntrySpec,
    /// Orders entries where the pipeline gives no order.
    pub(super) hash: [u8; 16],
    references: u32,
}

/// The lines of a rule set, in order.
pub(super) type Lines = SmallVec<[Key<EntryState>; 4]>;

pub(super) struct RuleSetState {
    pub(super) id: RuleSetId,
    pub(super) rules: Arc<RuleSet>,
    /// Peer sets it needs; sorted, once each.
    pub(super) peers: Keys<Selector>,
    pub(super) tells_unknown_from_known: bool,
    lines: Lines,
    references: u32,
}

#[derive(Default)]
pub(super) struct Entries {
    pub(super) arena: Arena<EntryState>,
    keys: Lookup<EntryState>,
    pub(super) rule_sets: Arena<RuleSetState>,
    rule_set_keys: Lookup<RuleSetState>,
}

/// What is needed to say a selector's name.
pub(super) struct Context<'a> {
    pub(super) selectors: &'a mut Selectors,
    pub(super) names: &'a Names,
    pub(super) namespaces: &'a Arena<NamespaceState>,
}

impl Context<'_> {
    fn entry(&mut self, spec: &EntrySpec) -> Entry {
        let peers = match &spec.peers {
            PeerSpec::Any => PeerMatch::Any,
            PeerSpec::Of {
                everybody,
                sets,
                networks,
            } => {
                let workloads = if *everybody {
                    Workloads::All
                } else {
                    let mut ids: Vec<_> = sets
                        .iter()
                        .map(|set| self.selectors.content(*set, self.names, self.namespaces))
                        .collect();
                    ids.sort_unstable();
                    ids.dedup();
                    Workloads::Sets(ids)
                };
                let mut networks = networks.clone();
                networks.sort();
                networks.dedup();
                PeerMatch::Of {
                    workloads,
                    networks,
                }
            }
        };
        let peers = match spec.certainty {
            Matched::Yes => peers,
            Matched::Maybe | Matched::No => PeerMatch::Perhaps(Box::new(peers)),
        };
        Entry {
            stage: spec.stage,
            action: spec.action,
            mode: spec.mode,
            peers,
            ports: spec.ports.clone(),
            until: spec.until,
            lease: spec.lease,
        }
    }
}

impl Entries {
    pub(super) fn acquire(&mut self, spec: EntrySpec, mut context: Context<'_>) -> Key<EntryState> {
        let content = ContentHash::of(&spec);
        if let Some(key) = self.keys.find(content, |at| self.arena[at].spec == spec) {
            self.retain(key);
            return key;
        }
        let hash = context.entry(&spec).content();
        let key = self.arena.insert(EntryState {
            spec,
            hash,
            references: 1,
        });
        self.keys.insert(content, key);
        key
    }

    pub(super) fn retain(&mut self, key: Key<EntryState>) {
        self.arena[key].references += 1;
    }

    pub(super) fn release(&mut self, key: Key<EntryState>) {
        self.arena[key].references -= 1;
        if self.arena[key].references == 0 {
            let gone = self.arena.remove(key);
            self.keys.remove(ContentHash::of(&gone.spec), key);
        }
    }

    /// The rule set made of these lines, each of which it takes one reference of; and whether it is new.
    pub(super) fn rule_set(
        &mut self,
        direction: Direction,
        lines: &[Key<EntryState>],
        mut context: Context<'_>,
    ) -> (Key<RuleSetState>, bool) {
        let content = ContentHash::of(&(direction, lines));
        let same = |at: Key<RuleSetState>| {
            let set = &self.rule_sets[at];
            set.rules.direction == direction && *set.lines == *lines
        };
        if let Some(key) = self.rule_set_keys.find(content, same) {
            self.rule_sets[key].references += 1;
            lines.iter().for_each(|line| self.release(*line));
            return (key, false);
        }
        let specs = || lines.iter().map(|line| &self.arena[*line].spec);
        let entries = specs().map(|spec| context.entry(spec)).collect();
        let mut peers = Keys::new();
        for spec in specs() {
            if let PeerSpec::Of {
                everybody: false,
                sets,
                ..
            } = &spec.peers
            {
                peers.extend_from_slice(sets);
            }
        }
        peers.sort_unstable();
        peers.dedup();
        let rules = Arc::new(RuleSet { direction, entries });
        let hashes = lines.iter().map(|line| self.arena[*line].hash);
        let key = self.rule_sets.insert(RuleSetState {
            id: RuleSet::id_of(direction, hashes),
            tells_unknown_from_known: rules.tells_unknown_from_known(),
            rules,
            peers,
            lines: lines.into(),
            references: 1,
        });
        self.rule_set_keys.insert(content, key);
        (key, true)
    }

    pub(super) fn release_rule_set(&mut self, key: Key<RuleSetState>) {
        self.rule_sets[key].references -= 1;
        if self.rule_sets[key].references == 0 {
            let gone = self.rule_sets.remove(key);
            let content = ContentHash::of(&(gone.rules.direction, &*gone.lines));
            self.rule_set_keys.remove(content, key);
            gone.lines.iter().for_each(|line| self.release(*line));
        }
    }
}
