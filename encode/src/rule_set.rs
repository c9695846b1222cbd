//! Rule sets as they are at one instant, with their matches replaced by positions.

use std::collections::BTreeSet;
use std::sync::Arc;

use bulkhead_graph::{
    Action, Direction, Lease, Matched, Mode, PeerMatch, PortMatch, RuleSet, RuleSetId, Stage,
    Timestamp,
};
use rustc_hash::FxHashMap;

use crate::Deadline;
use crate::deadline::deadlines;
use crate::peer_match::MatchIndex;
use crate::ports::PortMatchIndex;

/// Names what a rule set says from one of its deadlines to the next. Decisions made for it never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleSetKey {
    /// The rule set.
    pub id: RuleSetId,
    /// How many of its entries are over.
    pub over: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) stage: Stage,
    pub(crate) action: Action,
    pub(crate) mode: Mode,
    /// `None` = any.
    pub(crate) peers: Option<MatchIndex>,
    /// `Maybe` if it is not sure that it means whom it matches.
    pub(crate) certainty: Matched,
    /// `None` = any.
    pub(crate) ports: Option<PortMatchIndex>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) lease: Option<Lease>,
}

/// A rule set without the entries that are over.
#[derive(Debug, Clone)]
pub struct EffectiveRules {
    /// Its name.
    pub key: RuleSetKey,
    /// Which half it judges.
    pub direction: Direction,
    pub(crate) lines: Arc<[Line]>,
    /// Positions of lines about everybody, ascending.
    for_all: Arc<[usize]>,
    /// Which lines name a match, ascending by match and position.
    by_match: Arc<[(MatchIndex, usize)]>,
    /// The matches that its lines name, ascending.
    pub(crate) matches: Arc<[MatchIndex]>,
    /// The instants at which what it says may change, ascending.
    pub(crate) dates: Arc<[Timestamp]>,
    /// For how long the controller need not have been heard for what it says to change, ascending.
    pub(crate) leases: Arc<[Lease]>,
}

pub(crate) fn is_over(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_some_and(|until| until <= now)
}

impl RuleSetKey {
    pub(crate) fn at(id: RuleSetId, rules: &RuleSet, now: Timestamp) -> Self {
        let over = rules
            .entries
            .iter()
            .filter(|entry| is_over(entry.until, now))
            .count();
        Self {
            id,
            over: u32::try_from(over).unwrap_or(u32::MAX),
        }
    }
}

impl EffectiveRules {
    pub(crate) fn at(
        id: RuleSetId,
        rules: &RuleSet,
        now: Timestamp,
        peers: &FxHashMap<&PeerMatch, MatchIndex>,
        ports: &FxHashMap<&PortMatch, PortMatchIndex>,
    ) -> Self {
        let alive = || {
            rules
                .entries
                .iter()
                .filter(|entry| !is_over(entry.until, now))
        };
        let lines: Arc<[Line]> = alive()
            .map(|entry| {
                let (inner, certainty) = entry.peers.certainty();
                Line {
                    stage: entry.stage,
                    action: entry.action,
                    mode: entry.mode,
                    peers: peers.get(inner).copied(),
                    certainty,
                    ports: ports.get(&entry.ports).copied(),
                    until: entry.until,
                    lease: entry.lease,
                }
            })
            .collect();
        let numbered = || lines.iter().enumerate();
        let for_all = numbered()
            .filter(|(_, line)| line.peers.is_none())
            .map(|(at, _)| at)
            .collect();
        let mut by_match: Vec<(MatchIndex, usize)> = numbered()
            .filter_map(|(at, line)| Some((line.peers?, at)))
            .collect();
        by_match.sort_unstable();
        let mut matches: Vec<MatchIndex> = by_match.iter().map(|(index, _)| *index).collect();
        matches.dedup();
        let dates: BTreeSet<Timestamp> = lines.iter().filter_map(|line| line.until).collect();
        let leases: BTreeSet<Lease> = lines.iter().filter_map(|line| line.lease).collect();
        Self {
            key: RuleSetKey::at(id, rules, now),
            direction: rules.direction,
            for_all,
            by_match: by_match.into(),
            lines,
            matches: matches.into(),
            dates: dates.into_iter().collect(),
            leases: leases.into_iter().collect(),
        }
    }

    /// What its decisions may end at.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Deadline> + '_ {
        deadlines(&self.dates, &self.leases)
    }

    /// The lines that have something to say about a peer of whom this is seen, in their order.
    pub(crate) fn concerning(&self, seen: &[(MatchIndex, Matched)]) -> Vec<&Line> {
        let mut at: Vec<usize> = self.for_all.to_vec();
        for (index, _) in seen {
            let from = self.by_match.partition_point(|(named, _)| named < index);
            let lines = self.by_match[from..].iter();
            at.extend(
                lines
                    .take_while(|(named, _)| named == index)
                    .map(|(_, at)| *at),
            );
        }
        at.sort_unstable();
        at.into_iter().map(|at| &self.lines[at]).collect()
    }
}
