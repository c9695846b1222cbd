//! Decisions: what one rule set says about one class, for all port classes at once.
//!
//! The bits are those of `graph::judge`, read for 64 port classes at a time (property test in `tests/`). For a Service
//! address the egress half asks: is there a backend, and may the flow go to every one?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulkhead_graph::{Action, Direction, Lease, Matched, Mode, PortMatch, Stance, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::deadline::Over;
use crate::peer_match::MatchIndex;
use crate::rule_set::Line;
use crate::service::{Itself, Others, ServiceClass};
use crate::{Class, ClassKey, Deadline, Desired, EffectiveRules, PortClass, PortLayout};

type Bits = Vec<u64>;
/// Which words of [`Bits`] have bits, and these.
type Mask = Vec<(usize, u64)>;
type Seen = [(MatchIndex, Matched)];

/// What a rule set says about a class on the port classes of one block. Rows that allow nothing are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which block.
    pub block: u32,
    /// Enforced until the deadline.
    pub enforced: u64,
    /// Intended until the deadline.
    pub intended: u64,
    /// Enforced from the deadline on.
    pub enforced_after: u64,
    /// Intended from the deadline on.
    pub intended_after: u64,
    /// The earliest end at which one of these bits changes.
    pub ends: Option<Deadline>,
}

/// Evaluates rule sets of one [`Desired`] in one port layout.
pub struct Judge<'a> {
    desired: &'a Desired,
    layout: &'a PortLayout,
    /// By port match. Most of them concern few of the blocks.
    masks: Vec<Mask>,
    all: Bits,
    everything: Mask,
}

/// Both verdicts while some dates have come and some leases have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Phase {
    enforced: Bits,
    intended: Bits,
}

impl Phase {
    fn word(&self, word: usize) -> (u64, u64) {
        (self.enforced[word], self.intended[word])
    }
}

/// What may come: after so many dates, and after so many leases.
struct Phases {
    dates: Vec<Timestamp>,
    leases: Vec<Lease>,
    /// By dates, then by leases.
    list: Vec<Phase>,
}

impl Phases {
    /// After the first so many dates and leases.
    fn at(&self, dates: usize, leases: usize) -> &Phase {
        &self.list[dates * (self.leases.len() + 1) + leases]
    }

    /// Until how many dates and leases one word of bits stays what it is now. As far as it can be had, leases are let run: a
    /// date is followed by new decisions where anybody is left to make them, the end of a lease by nothing.
    fn stands(&self, word: usize) -> (usize, usize) {
        let now = self.at(0, 0).word(word);
        let same = |dates: usize, leases: usize| self.at(dates, leases).word(word) == now;
        let (all_dates, all_leases) = (self.dates.len() + 1, self.leases.len() + 1);
        let leases = (1..all_leases)
            .find(|leases| !same(0, *leases))
            .unwrap_or(all_leases);
        let dates = (1..all_dates)
            .find(|dates| (0..leases).any(|leases| !same(*dates, leases)))
            .unwrap_or(all_dates);
        (dates, leases)
    }
}

impl<'a> Judge<'a> {
    /// `layout` belongs to `desired`.
    pub fn new(desired: &'a Desired, layout: &'a PortLayout) -> Self {
        let words = layout.blocks.len();
        let mut all = vec![0; words];
        layout
            .places
            .iter()
            .for_each(|(word, bit)| all[*word] |= 1 << bit);
        let everything = all.iter().copied().enumerate().collect();
        let ports = &desired.ports;
        let masks = ports
            .matches
            .iter()
            .map(|ports| mask_of(ports, desired, layout))
            .collect();
        Self {
            desired,
            layout,
            masks,
            all,
            everything,
        }
    }

    /// The bits of each block that stand for a port class.
    pub fn live(&self) -> BTreeMap<u32, u64> {
        self.layout
            .blocks
            .iter()
            .copied()
            .zip(self.all.iter().copied())
            .collect()
    }

    /// What a rule set says about a class, block by block.
    pub fn rows(&self, rules: &EffectiveRules, class: &Class) -> Vec<Row> {
        self.blocks(&self.phases(rules, class))
    }

    /// What a rule set says about every class in use.
    pub fn all_rows(
        &self,
        rules: &EffectiveRules,
        index: &ClassIndex,
    ) -> Vec<(ClassKey, Arc<[Row]>)> {
        let nobody = Class {
            seen: Arc::from([]),
            service: None,
        };
        let others: Arc<[Row]> = self.rows(rules, &nobody).into();
        let mut memo: FxHashMap<Vec<u64>, Arc<[Row]>> = FxHashMap::default();
        let mut rows = Vec::new();
        let mut judge_one = |key: &ClassKey, class: &Class| {
            if class.is_service() && rules.direction == Direction::Egress {
                let own: Arc<[Row]> = self.rows(rules, class).into();
                if !own.is_empty() {
                    rows.push((*key, own));
                }
                return;
            }
            let named = class
                .seen
                .iter()
                .filter(|(at, _)| rules.matches.binary_search(at).is_ok());
            let seen: Vec<u64> = named
                .map(|(at, matched)| u64::from(*at) << 1 | u64::from(*matched == Matched::Yes))
                .collect();
            let own = memo
                .entry(seen)
                .or_insert_with(|| self.rows(rules, class).into());
            if !own.is_empty() {
                rows.push((*key, own.clone()));
            }
        };
        if others.is_empty() {
            // Only classes that this rule set names can be allowed anything.
            let mut named: Vec<ClassKey> = rules
                .matches
                .iter()
                .filter_map(|at| index.by_match.get(at))
                .flatten()
                .copied()
                .collect();
            named.sort_unstable();
            named.dedup();
            named
                .iter()
                .for_each(|key| judge_one(key, &self.desired.classes[key].class));
        } else {
            self.desired
                .classes
                .iter()
                .for_each(|(key, used)| judge_one(key, &used.class));
        }
        rows
    }

    /// How many rows all rule sets need with these classes.
    pub fn count(&self, index: &ClassIndex) -> usize {
        let sets = self.desired.rule_sets.values();
        sets.map(|rules| self.count_of(rules, index)).sum()
    }

    /// How many rows one rule set needs.
    pub(crate) fn count_of(&self, rules: &EffectiveRules, index: &ClassIndex) -> usize {
        let rows = self.all_rows(rules, index);
        rows.iter().map(|(_, rows)| rows.len()).sum()
    }

    fn phases(&self, rules: &EffectiveRules, class: &Class) -> Phases {
        let (dates, leases) = self.ends(rules, class);
        let mut list = Vec::with_capacity((dates.len() + 1) * (leases.len() + 1));
        for date in std::iter::once(None).chain(dates.iter().copied().map(Some)) {
            for lease in std::iter::once(None).chain(leases.iter().copied().map(Some)) {
                let over = Over { date, lease };
                list.push(Phase {
                    enforced: self.bits(rules, class, Stance::Enforced, over),
                    intended: self.bits(rules, class, Stance::Intended, over),
                });
            }
        }
        Phases {
            dates,
            leases,
            list,
        }
    }

    /// The dates and leases at which what a rule set says about a class may change: those of lines that concern it, ascending.
    fn ends(&self, rules: &EffectiveRules, class: &Class) -> (Vec<Timestamp>, Vec<Lease>) {
        if rules.dates.is_empty() && rules.leases.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let backends = class.service.iter().flat_map(|service| &service.ports);
        let backends = backends.flat_map(|port| &port.backends);
        let ends = std::iter::once(&*class.seen).chain(backends.map(|backend| &*backend.seen));
        let (mut dates, mut leases) = (BTreeSet::new(), BTreeSet::new());
        for line in ends.flat_map(|seen| rules.concerning(seen)) {
            dates.extend(line.until);
            leases.extend(line.lease);
        }
        (dates.into_iter().collect(), leases.into_iter().collect())
    }

    fn bits(&self, rules: &EffectiveRules, class: &Class, stance: Stance, over: Over) -> Bits {
        let half = |seen: &Seen| self.half(&rules.concerning(seen), seen, stance, over);
        let mut bits = half(&class.seen);
        if let (Some(service), Direction::Egress) = (&class.service, rules.direction) {
            self.behind(service, &mut bits, half);
        }
        bits
    }

    /// Replaces what the address itself may by what its backends may, on the Service's ports.
    fn behind(&self, service: &ServiceClass, bits: &mut Bits, half: impl Fn(&Seen) -> Bits) {
        let mut memo: FxHashMap<ClassKey, Bits> = FxHashMap::default();
        let own = match service.others {
            Others::Plain => bits.clone(),
            Others::Closed => std::mem::replace(bits, vec![0; bits.len()]),
        };
        for port in &service.ports {
            let every = port.backends.iter().all(|backend| {
                let there = memo
                    .entry(backend.class)
                    .or_insert_with(|| half(&backend.seen));
                self.bit(there, backend.position)
            });
            let itself = match service.itself {
                Itself::Counts => self.bit(&own, port.position),
                Itself::IsNothing => true,
            };
            let (word, bit) = self.layout.places[port.position];
            bits[word] &= !(1 << bit);
            if every && !port.backends.is_empty() && itself {
                bits[word] |= 1 << bit;
            }
        }
    }

    fn bit(&self, bits: &Bits, position: usize) -> bool {
        let (word, bit) = self.layout.places[position];
        bits[word] >> bit & 1 == 1
    }

    fn half(&self, lines: &[&Line], seen: &Seen, stance: Stance, over: Over) -> Bits {
        let at = over.moment();
        let applies = |line: &Line| {
            (stance == Stance::Intended || line.mode == Mode::Enforce)
                && !crate::rule_set::is_over(line.until, at.now)
                // Nothing is left of an Allow whose lease has ended.
                && !(line.action == Action::Allow && at.is_past(line.lease))
        };
        let is_unsure = |line: &Line| line.certainty != Matched::Yes || at.is_past(line.lease);
        self.run(lines, self.all.clone(), seen, &(&applies, &is_unsure))
    }

    /// The bits of `active` that the lines allow.
    fn run(
        &self,
        lines: &[&Line],
        mut active: Bits,
        seen: &Seen,
        reading: &(impl Fn(&Line) -> bool, impl Fn(&Line) -> bool),
    ) -> Bits {
        let (applies, is_unsure) = reading;
        let mut allowed = vec![0; active.len()];
        // What passed waits here for the next stage; it takes no part in the rest of its own.
        let mut passed = vec![0; active.len()];
        let mut stage = lines.first().map(|line| line.stage);
        for (at, line) in lines.iter().enumerate() {
            if stage != Some(line.stage) {
                stage = Some(line.stage);
                active
                    .iter_mut()
                    .zip(&mut passed)
                    .for_each(|(a, p)| *a |= std::mem::take(p));
            }
            if !applies(line) {
                continue;
            }
            let matched = line
                .peers
                .map_or(Matched::Yes, |peers| Class::matched(seen, peers));
            let matched = if is_unsure(line) {
                matched.perhaps()
            } else {
                matched
            };
            let mask = line
                .ports
                .map_or(&self.everything, |ports| &self.masks[ports as usize]);
            match (line.action, matched) {
                (Action::Allow, Matched::Yes) => take(&mut active, mask, &mut allowed),
                (Action::Deny, Matched::Yes | Matched::Maybe) => clear(&mut active, mask),
                (Action::Pass, Matched::Yes) => take(&mut active, mask, &mut passed),
                (Action::Pass, Matched::Maybe) => {
                    // Counts only if both ways allow: what would be denied after passing is denied.
                    let mut hit = vec![0; active.len()];
                    mask.iter()
                        .for_each(|(word, bits)| hit[*word] = active[*word] & bits);
                    let later = at
                        + lines[at..]
                            .iter()
                            .take_while(|l| l.stage == line.stage)
                            .count();
                    let ways = self.run(&lines[later..], hit.clone(), seen, reading);
                    active
                        .iter_mut()
                        .zip(hit.iter().zip(ways))
                        .for_each(|(a, (hit, ok))| *a &= !(hit & !ok));
                }
                (Action::Allow, Matched::Maybe) | (_, Matched::No) => {}
            }
        }
        let rest = active.iter().zip(&passed).map(|(a, p)| a | p);
        allowed
            .iter_mut()
            .zip(rest)
            .for_each(|(all, rest)| *all |= rest);
        allowed
    }

    fn blocks(&self, phases: &Phases) -> Vec<Row> {
        let mut rows = Vec::new();
        for (word, block) in self.layout.blocks.iter().enumerate() {
            let (enforced, intended) = phases.at(0, 0).word(word);
            let (dates, leases) = phases.stands(word);
            let mut row = Row {
                block: *block,
                enforced,
                intended,
                enforced_after: u64::MAX,
                intended_after: u64::MAX,
                ends: Deadline::of(
                    phases.dates.get(dates - 1).copied(),
                    phases.leases.get(leases - 1).copied(),
                ),
            };
            if row.ends.is_none() {
                (row.enforced_after, row.intended_after) = (enforced, intended);
            }
            // A decision has one end: what anything that may come by then or later denies is denied from it on.
            for date in 0..=phases.dates.len() {
                for lease in 0..=phases.leases.len() {
                    if date >= dates || lease >= leases {
                        let (enforced, intended) = phases.at(date, lease).word(word);
                        row.enforced_after &= enforced;
                        row.intended_after &= intended;
                    }
                }
            }
            if row.enforced | row.intended | row.enforced_after | row.intended_after != 0 {
                rows.push(row);
            }
        }
        rows
    }
}

fn clear(active: &mut Bits, mask: &Mask) {
    mask.iter().for_each(|(word, bits)| active[*word] &= !bits);
}

/// Moves what the mask holds.
fn take(active: &mut Bits, mask: &Mask, to: &mut Bits) {
    for (word, bits) in mask {
        to[*word] |= active[*word] & bits;
        active[*word] &= !bits;
    }
}

/// The bits of the classes whose ports match. A class lies in a match whole or not at all, so its first port tells.
fn mask_of(ports: &PortMatch, desired: &Desired, layout: &PortLayout) -> Mask {
    let classes = &desired.ports.classes;
    let first = |class: &PortClass| {
        let (from, _) = class.ranges.first().copied().unwrap_or_default();
        (class.protocol, from)
    };
    let mut words: BTreeMap<usize, u64> = BTreeMap::new();
    let mut add = |(word, bit): (usize, u32)| *words.entry(word).or_default() |= 1 << bit;
    match ports {
        PortMatch::Any => layout.places.iter().copied().for_each(add),
        PortMatch::Of(ranges) => {
            for range in ranges {
                let begin =
                    classes.partition_point(|class| first(class) < (range.protocol, range.from));
                let inside = classes[begin..]
                    .iter()
                    .zip(&layout.places[begin..])
                    .take_while(|(class, _)| first(class) <= (range.protocol, range.to));
                inside.for_each(|(_, place)| add(*place));
            }
        }
    }
    words.into_iter().collect()
}

/// Which classes a match concerns, by themselves or by what stands behind them.
#[derive(Debug, Default)]
pub struct ClassIndex {
    by_match: FxHashMap<MatchIndex, Vec<ClassKey>>,
}

impl ClassIndex {
    /// Of the classes in use.
    pub fn of(desired: &Desired) -> Self {
        let mut index = Self::default();
        for (key, used) in &desired.classes {
            let mut named: FxHashSet<MatchIndex> =
                used.class.seen.iter().map(|(at, _)| *at).collect();
            if let Some(service) = &used.class.service {
                let backends = service.ports.iter().flat_map(|port| &port.backends);
                named.extend(backends.flat_map(|backend| backend.seen.iter().map(|(at, _)| *at)));
            }
            let mut named: Vec<MatchIndex> = named.into_iter().collect();
            named.sort_unstable();
            named
                .into_iter()
                .for_each(|at| index.by_match.entry(at).or_default().push(*key));
        }
        index
    }
}
