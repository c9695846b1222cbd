//! DECISIONS: rows under numbers that no lane leads to yet, and the retirement of those that none leads to any more.
//!
//! A row never changes. What a rule set says about a class follows from their content; where a kernel that somebody
//! else filled says otherwise, the rule set gets a fresh number.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_datapath::abi::{self, Class, DecisionKey, DecisionValue, ExpiryId, RuleSet};
use bulkhead_encode::{ClassIndex, ClassKey, EffectiveRules, Judge, PortLayout, Row, RuleSetKey};

use super::MapWrite;
use super::draft::Draft;
use super::numbers::PORT_BLOCKS;
use super::plan::PlanError;
use super::planner::Standing;
use super::port_writes::blocks_in_use;

/// What one rule set says, under numbers.
type Rows = BTreeMap<DecisionKey, DecisionValue>;

/// What was there before this plan.
struct Before {
    rule_sets: BTreeSet<RuleSetKey>,
    classes: BTreeSet<ClassKey>,
    ports_stand: bool,
}

/// One try: where port classes lie, and the rows that follow.
struct Attempt {
    layout: PortLayout,
    inserts: Vec<(DecisionKey, DecisionValue)>,
    retire: Vec<DecisionKey>,
}

/// Gives numbers to everything that decisions are made of, and plans the rows. Returns where port classes lie.
pub(crate) fn plan(draft: &mut Draft<'_>) -> Result<PortLayout, PlanError> {
    let before = Before {
        rule_sets: draft.planner.numbers.rule_sets.keys().copied().collect(),
        classes: draft.planner.numbers.classes.keys().copied().collect(),
        ports_stand: ports_stand(draft),
    };
    let gone: Vec<Class> = number_classes(draft);
    let wanted = wanted_rule_sets(draft);
    let rule_sets = draft.planner.numbers.rule_sets.iter();
    let lost: Vec<(RuleSetKey, RuleSet)> = rule_sets
        .filter(|(key, _)| !wanted.contains_key(key))
        .map(|(key, number)| (*key, *number))
        .collect();
    let index = ClassIndex::of(draft.desired);
    let mut attempt = attempt(draft, &index, &before, &wanted, &gone, &lost)?;
    let (held, capacity) = (
        draft.planner.tables.decisions.len(),
        draft.planner.tables.capacity.decisions as usize,
    );
    let after = (held + attempt.inserts.len()).saturating_sub(attempt.retire.len());
    if after > capacity / 2 && attempt.layout.blocks().len() > fewest_blocks(draft) {
        // Holes in blocks cost rows that the capacity arithmetic does not count.
        let before = Before {
            ports_stand: false,
            ..before
        };
        draft.planner.numbers.ports.clear();
        attempt = self::attempt(draft, &index, &before, &wanted, &gone, &lost)?;
    }
    let needed = held + attempt.inserts.len();
    if needed > capacity {
        return Err(PlanError::TooSmall {
            table: "DECISIONS",
            needed,
            capacity,
        });
    }
    lost.iter()
        .for_each(|(key, _)| draft.planner.numbers.forget_rule_set(*key));
    let insert = |(key, value)| MapWrite::InsertDecision { key, value };
    draft
        .plan
        .prepare
        .extend(attempt.inserts.into_iter().map(insert));
    draft
        .plan
        .retire
        .extend(attempt.retire.into_iter().map(MapWrite::RemoveDecision));
    Ok(attempt.layout)
}

fn attempt(
    draft: &mut Draft<'_>,
    index: &ClassIndex,
    before: &Before,
    wanted: &BTreeMap<RuleSetKey, &EffectiveRules>,
    gone: &[Class],
    lost: &[(RuleSetKey, RuleSet)],
) -> Result<Attempt, PlanError> {
    let layout = lay_out(draft)?;
    let judge = Judge::new(draft.desired, &layout);
    let judging = Judging {
        recognised: (draft.standing == Standing::Unknown)
            .then(|| Recognised::of(draft, before, &judge)),
        judge: &judge,
        index,
        before,
    };
    let mut inserts = Vec::new();
    for (key, rules) in wanted {
        insert_rule_set(draft, &judging, *key, rules, &mut inserts)?;
    }
    let (tables, numbers) = (&draft.planner.tables, &draft.planner.numbers);
    let live: BTreeSet<RuleSet> = wanted
        .keys()
        .filter_map(|key| numbers.rule_sets.get(key))
        .copied()
        .collect();
    let mut retire: Vec<DecisionKey> = Vec::new();
    if draft.standing == Standing::Settled && before.ports_stand {
        // Nothing but what just lost its name can be stale.
        for (_, number) in lost {
            let stale = tables
                .decisions
                .range(first(*number, Class(0))..=last(*number, Class(u32::MAX)));
            retire.extend(stale.map(|(key, _)| *key));
        }
        for (rule_set, class) in live
            .iter()
            .flat_map(|rule_set| gone.iter().map(move |class| (*rule_set, *class)))
        {
            let stale = tables
                .decisions
                .range(first(rule_set, class)..=last(rule_set, class));
            retire.extend(stale.map(|(key, _)| *key));
        }
    } else {
        let classes: BTreeSet<Class> = numbers.classes.values().copied().collect();
        let stale = tables.decisions.keys().filter(|key| {
            !live.contains(&key.rule_set)
                || !classes.contains(&key.class)
                || layout.blocks().binary_search(&key.block).is_err()
        });
        retire.extend(stale);
    }
    Ok(Attempt {
        layout,
        inserts,
        retire,
    })
}

fn fewest_blocks(draft: &Draft<'_>) -> usize {
    draft
        .desired
        .compact_layout()
        .map_or(usize::MAX, |layout| layout.blocks().len())
}

fn first(rule_set: RuleSet, class: Class) -> DecisionKey {
    DecisionKey {
        rule_set,
        class,
        block: 0,
    }
}

fn last(rule_set: RuleSet, class: Class) -> DecisionKey {
    DecisionKey {
        rule_set,
        class,
        block: u32::MAX,
    }
}

fn ports_stand(draft: &Draft<'_>) -> bool {
    let (numbers, classes) = (&draft.planner.numbers.ports, draft.desired.port_classes());
    numbers.len() == classes.len() && classes.iter().all(|class| numbers.contains_key(&class.key))
}

/// Numbers for port classes; all of them anew once too many blocks have holes.
fn lay_out(draft: &mut Draft<'_>) -> Result<PortLayout, PlanError> {
    let classes = draft.desired.port_classes();
    let error = || PlanError::TooSmall {
        table: "PORTS (blocks of 64 classes)",
        needed: PORT_BLOCKS as usize + 1,
        capacity: PORT_BLOCKS as usize,
    };
    if ports_stand(draft) {
        return draft
            .planner
            .numbers
            .lay_out_ports(classes, &BTreeSet::new())
            .ok_or_else(error);
    }
    let mut used: BTreeSet<u32> = blocks_in_use(&draft.planner.tables).collect();
    used.extend(
        draft
            .planner
            .numbers
            .ports
            .values()
            .map(|number| u32::from(number.0) >> 6),
    );
    used.extend(draft.planner.tables.decisions.keys().map(|key| key.block));
    let fewest = fewest_blocks(draft);
    let known = draft.planner.numbers.ports.clone();
    let layout = draft.planner.numbers.lay_out_ports(classes, &used);
    if let Some(layout) = layout
        && layout.blocks().len() <= fewest.saturating_mul(2).saturating_add(1)
    {
        return Ok(layout);
    }
    used.extend(known.values().map(|number| u32::from(number.0) >> 6));
    draft.planner.numbers.ports.clear();
    draft
        .planner
        .numbers
        .lay_out_ports(classes, &used)
        .ok_or_else(error)
}

/// Numbers for the classes in use; returns those that lost theirs.
fn number_classes(draft: &mut Draft<'_>) -> Vec<Class> {
    let desired = draft.desired;
    let numbers = &mut draft.planner.numbers;
    let gone: Vec<(ClassKey, Class)> = numbers
        .classes
        .iter()
        .filter(|(key, _)| desired.class(**key).is_none())
        .map(|(key, number)| (*key, *number))
        .collect();
    for (key, _) in &gone {
        numbers.classes.remove(key);
    }
    for (key, _) in desired.classes() {
        numbers.class_for(key);
    }
    gone.into_iter().map(|(_, number)| number).collect()
}

/// The rule sets of the guarded workloads: others have nobody to judge.
fn wanted_rule_sets<'a>(draft: &Draft<'a>) -> BTreeMap<RuleSetKey, &'a EffectiveRules> {
    let workloads = draft.desired.graph().workloads.iter();
    let guarded = workloads.filter(|(uid, _)| draft.attached.contains_key(*uid));
    guarded
        .flat_map(|(_, workload)| [workload.egress, workload.ingress])
        .filter_map(|id| draft.desired.rule_sets().get(&id))
        .map(|rules| (rules.key, rules))
        .collect()
}

/// What all rule sets of one attempt are judged by.
struct Judging<'a> {
    judge: &'a Judge<'a>,
    index: &'a ClassIndex,
    before: &'a Before,
    /// Only while it is not known what the kernel's numbers mean.
    recognised: Option<Recognised>,
}

fn insert_rule_set(
    draft: &mut Draft<'_>,
    judging: &Judging<'_>,
    key: RuleSetKey,
    rules: &EffectiveRules,
    inserts: &mut Vec<(DecisionKey, DecisionValue)>,
) -> Result<(), PlanError> {
    let Judging {
        judge,
        index,
        before,
        recognised,
    } = judging;
    let is_old = before.rule_sets.contains(&key);
    if is_old && draft.standing == Standing::Settled && before.ports_stand {
        let fresh = draft
            .desired
            .classes()
            .filter(|(class, _)| !before.classes.contains(class));
        for (class, content) in fresh {
            for row in judge.rows(rules, content) {
                let number = draft.planner.numbers.rule_set_for(key);
                inserts.push(entry(draft, &row, number, class)?);
            }
        }
        return Ok(());
    }
    let judged = judge.all_rows(rules, index);
    let rows_under = |draft: &mut Draft<'_>, number: RuleSet| -> Result<Rows, PlanError> {
        let rows = judged
            .iter()
            .flat_map(|(class, rows)| rows.iter().map(move |row| (row, *class)));
        rows.map(|(row, class)| entry(draft, row, number, class))
            .collect()
    };
    let number = draft.planner.numbers.rule_set_for(key);
    let mut rows = rows_under(draft, number)?;
    if is_old
        && let Some(recognised) = recognised
        && contradicts(draft, recognised, number, &rows)
    {
        draft.planner.numbers.forget_rule_set(key);
        let number = draft.planner.numbers.rule_set_for(key);
        rows = rows_under(draft, number)?;
    }
    let held = &draft.planner.tables.decisions;
    inserts.extend(rows.into_iter().filter(|(key, _)| !held.contains_key(key)));
    Ok(())
}

/// What of the kernel's decisions can be compared: those about classes and blocks that were recognised in it.
struct Recognised {
    classes: BTreeSet<Class>,
    blocks: BTreeSet<u32>,
    live: BTreeMap<u32, u64>,
}

impl Recognised {
    fn of(draft: &Draft<'_>, before: &Before, judge: &Judge<'_>) -> Self {
        let numbers = &draft.planner.numbers.classes;
        Self {
            classes: before
                .classes
                .iter()
                .filter_map(|key| numbers.get(key))
                .copied()
                .collect(),
            blocks: blocks_in_use(&draft.planner.tables).collect(),
            live: judge.live(),
        }
    }

    fn said(
        &self,
        key: &DecisionKey,
        value: &DecisionValue,
    ) -> Option<(DecisionKey, DecisionValue)> {
        let known = self.classes.contains(&key.class) && self.blocks.contains(&key.block);
        let live = self.live.get(&key.block).copied().unwrap_or(0);
        said(value, live).filter(|_| known).map(|said| (*key, said))
    }
}

/// Whether the kernel says something else under a number that was found there. A row that is missing, or one too
/// many, is something else too: adding or removing it would be a change that no flip announces.
fn contradicts(draft: &Draft<'_>, recognised: &Recognised, number: RuleSet, rows: &Rows) -> bool {
    let range = first(number, Class(0))..=last(number, Class(u32::MAX));
    let held = draft.planner.tables.decisions.range(range);
    let held = held.filter_map(|(key, value)| recognised.said(key, value));
    let wanted = rows
        .iter()
        .filter_map(|(key, value)| recognised.said(key, value));
    !held.eq(wanted)
}

/// What a row says about the port classes that there still are; `None` = nothing.
fn said(value: &DecisionValue, live: u64) -> Option<DecisionValue> {
    let mut said = DecisionValue {
        enforced: value.enforced & live,
        intended: value.intended & live,
        enforced_after: value.enforced_after & live,
        intended_after: value.intended_after & live,
        ..*value
    };
    if (said.enforced, said.intended) == (said.enforced_after, said.intended_after) {
        said.expiry = ExpiryId::NONE;
    }
    let any = said.enforced | said.intended | said.enforced_after | said.intended_after;
    (any != 0).then_some(said)
}

fn entry(
    draft: &mut Draft<'_>,
    row: &Row,
    number: RuleSet,
    class: ClassKey,
) -> Result<(DecisionKey, DecisionValue), PlanError> {
    let expiry = row
        .ends
        .map_or(Ok(ExpiryId::NONE), |end| draft.expiry_for(end))?;
    let class = draft
        .planner
        .numbers
        .classes
        .get(&class)
        .copied()
        .unwrap_or(abi::Class::NONE);
    Ok(row.entry(number, class, expiry))
}
