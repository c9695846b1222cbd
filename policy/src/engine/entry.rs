//! Entries and rule sets by content: ten thousand identical policies are one line of one list.

use std::sync::Arc;

use bulkhead_graph::{
    Action, Direction, Entry, Matched, Mode, Network, PeerMatch, PortMatch, RuleSet, RuleSetId,
    Stage, Timestamp, Workloads,
};
use rustc_hash::FxHashMap;

use super::arena::{Arena, Key};
use super::names::Names;
use super::profile::NamespaceState;
use super::selector::{Selector, Selectors};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum PeerSpec {
    Any,
    Of {
        everybody: bool,
        sets: Vec<Key<Selector>>,
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
}

pub(super) struct EntryState {
    pub(super) spec: Arc<EntrySpec>,
    pub(super) entry: Entry,
    /// Orders entries where the pipeline gives no order.
    pub(super) hash: [u8; 16],
    references: u32,
}

type RuleSetKey = (Direction, Vec<Key<EntryState>>);

pub(super) struct RuleSetState {
    pub(super) id: RuleSetId,
    pub(super) rules: Arc<RuleSet>,
    /// Peer sets it needs; sorted, once each.
    pub(super) peers: Vec<Key<Selector>>,
    pub(super) tells_unknown_from_known: bool,
    lines: Arc<RuleSetKey>,
    references: u32,
}

#[derive(Default)]
pub(super) struct Entries {
    pub(super) arena: Arena<EntryState>,
    keys: FxHashMap<Arc<EntrySpec>, Key<EntryState>>,
    pub(super) rule_sets: Arena<RuleSetState>,
    rule_set_keys: FxHashMap<Arc<RuleSetKey>, Key<RuleSetState>>,
}

impl Entries {
    pub(super) fn acquire(
        &mut self,
        spec: EntrySpec,
        selectors: &Selectors,
        names: &Names,
        namespaces: &Arena<NamespaceState>,
    ) -> Key<EntryState> {
        if let Some(key) = self.keys.get(&spec) {
            self.arena[*key].references += 1;
            return *key;
        }
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
                        .map(|set| selectors.content(*set, names, namespaces))
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
        let entry = Entry {
            stage: spec.stage,
            action: spec.action,
            mode: spec.mode,
            peers,
            ports: spec.ports.clone(),
            until: spec.until,
        };
        let hash = entry.content();
        let spec = Arc::new(spec);
        let key = self.arena.insert(EntryState {
            spec: spec.clone(),
            entry,
            hash,
            references: 1,
        });
        self.keys.insert(spec, key);
        key
    }

    pub(super) fn retain(&mut self, key: Key<EntryState>) {
        self.arena[key].references += 1;
    }

    pub(super) fn release(&mut self, key: Key<EntryState>) {
        self.arena[key].references -= 1;
        if self.arena[key].references == 0 {
            let gone = self.arena.remove(key);
            self.keys.remove(&gone.spec);
        }
    }

    /// The rule set made of these lines, each of which it takes one reference of; and whether it is new.
    pub(super) fn rule_set(
        &mut self,
        direction: Direction,
        lines: Vec<Key<EntryState>>,
    ) -> (Key<RuleSetState>, bool) {
        let lines = Arc::new((direction, lines));
        if let Some(key) = self.rule_set_keys.get(&lines).copied() {
            self.rule_sets[key].references += 1;
            lines.1.iter().for_each(|line| self.release(*line));
            return (key, false);
        }
        let entries = lines
            .1
            .iter()
            .map(|line| self.arena[*line].entry.clone())
            .collect();
        let rules = Arc::new(RuleSet { direction, entries });
        let mut peers: Vec<Key<Selector>> = Vec::new();
        for line in &lines.1 {
            if let PeerSpec::Of {
                everybody: false,
                sets,
                ..
            } = &self.arena[*line].spec.peers
            {
                peers.extend(sets);
            }
        }
        peers.sort_unstable();
        peers.dedup();
        let key = self.rule_sets.insert(RuleSetState {
            id: RuleSet::id_of(direction, lines.1.iter().map(|line| self.arena[*line].hash)),
            tells_unknown_from_known: rules.tells_unknown_from_known(),
            rules,
            peers,
            lines: lines.clone(),
            references: 1,
        });
        self.rule_set_keys.insert(lines, key);
        (key, true)
    }

    pub(super) fn release_rule_set(&mut self, key: Key<RuleSetState>) {
        self.rule_sets[key].references -= 1;
        if self.rule_sets[key].references == 0 {
            let gone = self.rule_sets.remove(key);
            self.rule_set_keys.remove(&gone.lines);
            gone.lines.1.iter().for_each(|line| self.release(*line));
        }
    }
}
