//! In which order subjects are given room, and what each would take if it were alone on the node.
//!
//! The order is a function of graph, limits and time. What rule sets take alone is remembered by their content: a revision
//! pays only for those that are new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulkhead_graph::{
    Hasher, NodeGraph, PeerSetId, Prefix, RuleSetId, Stage, Timestamp, WorkloadUid,
};

use crate::fit::{build, copied};
use crate::rule_set::RuleSetKey;
use crate::{Limits, Need};

/// Who comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Quarantined,
    ClusterTiers,
    Tenants,
}

/// Workloads of one namespace with the same rule sets: they fit together or not at all.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) rank: Rank,
    pub(crate) namespace: Arc<str>,
    pub(crate) members: BTreeSet<WorkloadUid>,
    rules: Rules,
    share: u64,
}

/// Egress and ingress.
type Rules = (RuleSetId, RuleSetId);

/// What two rule sets take if nothing else is on the node.
#[derive(Debug, Clone)]
struct Taken {
    need: Need,
    /// Decisions of each of the two.
    decisions: [usize; 2],
    /// The peer sets that they name, and their sizes.
    sets: Arc<[(PeerSetId, usize)]>,
}

/// What was found out about rule sets before, by their content.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    /// What it all depends on beside the content of the rules.
    limits: Option<Limits>,
    cluster_ranges: Arc<[Prefix]>,
    known: BTreeMap<Rules, (Inputs, Taken)>,
}

/// What the need of two rule sets depends on beside their names: how many of their entries are over, and who is in their sets.
type Inputs = [u8; 16];

fn inputs(graph: &NodeGraph, rules: Rules, now: Timestamp) -> Option<Inputs> {
    let mut h = Hasher::new("alone/1");
    for id in [rules.0, rules.1] {
        let rules = graph.rule_sets.get(&id)?;
        h.number(u64::from(RuleSetKey::at(id, rules, now).over));
        for set in rules.peer_sets() {
            let members = graph.peer_sets.get(&set);
            h.fixed(
                &members
                    .map(|members| members.digest().0)
                    .unwrap_or_default(),
            );
        }
    }
    Some(h.finish())
}

impl Alone {
    /// Keeps what holds for this graph, these limits and this instant.
    pub(crate) fn keep(&mut self, graph: &NodeGraph, limits: &Limits, now: Timestamp) {
        if self.limits != Some(*limits) || self.cluster_ranges != graph.cluster_ranges {
            self.known.clear();
            self.limits = Some(*limits);
            self.cluster_ranges = graph.cluster_ranges.clone();
        }
        self.known
            .retain(|rules, (held, _)| inputs(graph, *rules, now) == Some(*held));
    }

    /// Whether the rules of a graph are known to take far more decisions than there are. Only a little of what one takes alone
    /// can be saved beside others: where a block of port classes begins.
    pub(crate) fn is_hopeless(&self, graph: &NodeGraph, limits: &Limits) -> bool {
        let workloads = graph.workloads.values();
        let pairs: BTreeSet<Rules> = workloads.map(|w| (w.egress, w.ingress)).collect();
        let mut decisions: BTreeMap<RuleSetId, usize> = BTreeMap::new();
        for (rules, (_, taken)) in &self.known {
            if pairs.contains(rules) {
                let ids = [rules.0, rules.1].into_iter();
                decisions.extend(ids.zip(taken.decisions));
            }
        }
        decisions.into_values().sum::<usize>() / 2 > limits.0.decisions
    }

    /// How many of the first groups may well fit beside what is there already.
    pub(crate) fn guess(&self, waiting: &[Group], limits: &Limits, there: Need) -> usize {
        let mut pairs: BTreeSet<Rules> = BTreeSet::new();
        let mut decided: BTreeSet<RuleSetId> = BTreeSet::new();
        let mut sets: BTreeSet<PeerSetId> = BTreeSet::new();
        let mut sum = there;
        for (count, group) in waiting.iter().enumerate() {
            sum.workloads += group.members.len();
            let Some((_, taken)) = self.known.get(&group.rules) else {
                return count;
            };
            if pairs.insert(group.rules) {
                sum.networks = sum.networks.saturating_add(taken.need.networks);
                sum.port_blocks = sum.port_blocks.max(taken.need.port_blocks);
                sum.deadlines = sum.deadlines.saturating_add(taken.need.deadlines);
                sum.steps = sum.steps.saturating_add(taken.need.steps);
            }
            for (set, members) in taken.sets.iter() {
                if sets.insert(*set) {
                    sum.peers = sum.peers.saturating_add(*members);
                }
            }
            let ids = [group.rules.0, group.rules.1];
            for (id, decisions) in ids.into_iter().zip(taken.decisions) {
                if decided.insert(id) {
                    sum.decisions = sum.decisions.saturating_add(decisions);
                }
            }
            if !sum.fits(limits) || !taken.need.fits(limits) {
                return count;
            }
        }
        waiting.len()
    }

    /// What two rule sets take alone. [`Alone::keep`] was called before.
    fn taken(
        &mut self,
        graph: &NodeGraph,
        rules: Rules,
        limits: &Limits,
        now: Timestamp,
    ) -> &Taken {
        let (_, taken) = self.known.entry(rules).or_insert_with(|| {
            let inputs = inputs(graph, rules, now).unwrap_or_default();
            (inputs, take_alone(graph, rules, limits, now))
        });
        taken
    }
}

/// What two rule sets would take if they were alone on the node.
fn take_alone(graph: &NodeGraph, rules: Rules, limits: &Limits, now: Timestamp) -> Taken {
    let (rule_sets, peer_sets) = copied(graph, [rules.0, rules.1].into_iter());
    let mut alone = NodeGraph::default();
    alone.cluster_ranges = graph.cluster_ranges.clone();
    (alone.rule_sets, alone.peer_sets) = (rule_sets, peer_sets);
    let sets = alone.peer_sets.iter();
    let sets = sets.map(|(id, members)| (*id, members.len())).collect();
    let (need, decisions) = match build(&Arc::new(alone), limits, now) {
        Ok((desired, need)) if need.fits(limits) => {
            let counts = desired
                .compact_layout()
                .map(|layout| desired.counts(&layout));
            let counts = counts.unwrap_or_default();
            let of = |id| counts.get(&id).copied().unwrap_or(0);
            (need, [of(rules.0), of(rules.1)])
        }
        Ok((_, need)) | Err(need) => (need, [need.decisions, 0]),
    };
    Taken {
        need,
        decisions,
        sets,
    }
}

fn rank(graph: &NodeGraph, rules: Rules) -> Rank {
    let sets = [rules.0, rules.1]
        .into_iter()
        .filter_map(|id| graph.rule_sets.get(&id));
    let stages: BTreeSet<Stage> = sets
        .flat_map(|rules| rules.entries.iter().map(|e| e.stage))
        .collect();
    if stages.contains(&Stage::Quarantine) {
        Rank::Quarantined
    } else if stages.contains(&Stage::Namespace) {
        Rank::Tenants
    } else {
        Rank::ClusterTiers
    }
}

/// The groups in the order in which they are tried.
pub(crate) fn queue(
    graph: &Arc<NodeGraph>,
    limits: &Limits,
    now: Timestamp,
    alone: &mut Alone,
) -> Vec<Group> {
    let mut members: BTreeMap<(Arc<str>, RuleSetId, RuleSetId), BTreeSet<WorkloadUid>> =
        BTreeMap::new();
    for (uid, workload) in &graph.workloads {
        let key = (
            workload.namespace.clone(),
            workload.egress,
            workload.ingress,
        );
        members.entry(key).or_default().insert(uid.clone());
    }
    let mut shares: BTreeMap<Rules, u64> = BTreeMap::new();
    let mut waiting: BTreeMap<(Rank, Arc<str>), Vec<Group>> = BTreeMap::new();
    for ((namespace, egress, ingress), members) in members {
        let rules = (egress, ingress);
        let share = *shares
            .entry(rules)
            .or_insert_with(|| alone.taken(graph, rules, limits, now).need.share(limits));
        let places = Need {
            workloads: members.len(),
            ..Need::default()
        };
        let share = share.max(places.share(limits));
        let group = Group {
            rank: rank(graph, rules),
            namespace,
            rules,
            members,
            share,
        };
        waiting
            .entry((group.rank, group.namespace.clone()))
            .or_default()
            .push(group);
    }
    // Smallest last, to be taken from the end.
    waiting
        .values_mut()
        .for_each(|groups| groups.sort_by_key(|g| std::cmp::Reverse((g.share, g.rules))));
    let mut used: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    let mut queue = Vec::new();
    loop {
        let next = waiting
            .iter()
            .filter_map(|((rank, namespace), groups)| {
                let after = used.get(namespace).copied().unwrap_or(0) + groups.last()?.share;
                Some((*rank, after, namespace.clone()))
            })
            .min();
        let Some((rank, after, namespace)) = next else {
            return queue;
        };
        queue.extend(
            waiting
                .get_mut(&(rank, namespace.clone()))
                .and_then(Vec::pop),
        );
        used.insert(namespace, after);
    }
}
