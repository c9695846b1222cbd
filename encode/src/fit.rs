//! Capacity arithmetic: which subjects a node has room for. A function of graph, limits and time alone (G8).
//!
//! Order: quarantined subjects, then those that only cluster tiers speak about, then everybody else in rounds, always
//! the namespace whose largest share of a table would be smallest. A subject that does not fit is denied everything,
//! and after it the rest of its namespace, whose needs are as large; nobody else notices. Where there is not even room
//! for the subject itself, it is left out: an interface that is in no table is closed. Nothing is ever widened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulkhead_graph::{
    Action, Direction, Entry, LocalWorkload, Mode, NodeGraph, PeerMatch, PeerSet, PeerSetId,
    PortMatch, RuleSet, RuleSetId, Stage, Timestamp, WorkloadUid,
};

use crate::{Changes, Desired, Limits, Need};

/// A subject that the tables have no room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// Which.
    pub uid: WorkloadUid,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// What the node would have needed with the first subject of its namespace that did not fit.
    pub needed: Need,
}

/// A graph that fits.
#[derive(Debug)]
pub struct Fitted {
    /// What to write.
    pub desired: Desired,
    /// What it takes.
    pub need: Need,
    /// Who is denied everything because there is no room. Ordered by uid.
    pub unfit: Vec<Unfit>,
    limits: Limits,
}

/// The part of a graph that fits into the limits.
pub fn fit(graph: &Arc<NodeGraph>, limits: &Limits, now: Timestamp) -> Fitted {
    let whole = match build(graph, limits, now) {
        Ok((desired, need)) if need.fits(limits) => {
            return Fitted {
                desired,
                need,
                unfit: Vec::new(),
                limits: *limits,
            };
        }
        Ok((_, need)) | Err(need) => need,
    };
    let (admitted, unfit) = admit(graph, limits, now, whole);
    let desired = Desired::build(&Arc::new(with_only(graph, &admitted, limits)), now);
    let need = Need::of(&desired, limits);
    Fitted {
        desired,
        need,
        unfit,
        limits: *limits,
    }
}

/// The tables and what they need; only that where the rules would make more work than there is time for.
fn build(graph: &Arc<NodeGraph>, limits: &Limits, now: Timestamp) -> Result<(Desired, Need), Need> {
    let rules = Need::of_rules(graph, now);
    if !rules.fits(limits) {
        return Err(rules);
    }
    let desired = Desired::build(graph, now);
    let need = Need::of(&desired, limits);
    Ok((desired, need))
}

/// What the tables of a graph need, as far as that is found out.
fn need_of(graph: NodeGraph, limits: &Limits, now: Timestamp) -> Need {
    match build(&Arc::new(graph), limits, now) {
        Ok((_, need)) | Err(need) => need,
    }
}

impl Fitted {
    /// Goes on to another graph and instant; the outcome equals [`fit`] of them.
    pub fn update(&mut self, graph: &Arc<NodeGraph>, now: Timestamp) -> Changes {
        let same_rules = self
            .desired
            .graph()
            .rule_sets
            .keys()
            .eq(graph.rule_sets.keys());
        if !self.unfit.is_empty() || (!same_rules && !Need::of_rules(graph, now).fits(&self.limits))
        {
            *self = fit(graph, &self.limits, now);
            return Changes::Everything;
        }
        let changes = self.desired.update(graph, now);
        let same_decisions = match &changes {
            Changes::Everything => false,
            Changes::Peers { fresh, gone, .. } => fresh.is_empty() && gone.is_empty(),
        };
        if same_decisions {
            self.need.peers = self.desired.peers().len();
            self.need.workloads = graph.workloads.len();
        } else {
            self.need = Need::of(&self.desired, &self.limits);
        }
        if self.need.fits(&self.limits) {
            return changes;
        }
        *self = fit(graph, &self.limits, now);
        Changes::Everything
    }
}

/// What cannot be placed: nothing passes.
pub(crate) fn deny_all(direction: Direction) -> RuleSet {
    let entry = Entry {
        stage: Stage::Quarantine,
        action: Action::Deny,
        mode: Mode::Enforce,
        peers: PeerMatch::Any,
        ports: PortMatch::Any,
        until: None,
    };
    RuleSet {
        direction,
        entries: vec![entry],
    }
}

/// Who comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Quarantined,
    ClusterTiers,
    Tenants,
}

/// Workloads of one namespace with the same rule sets: they fit together or not at all.
#[derive(Debug)]
struct Group {
    rank: Rank,
    namespace: Arc<str>,
    rules: (RuleSetId, RuleSetId),
    members: BTreeSet<WorkloadUid>,
    share: u64,
}

fn rank(graph: &NodeGraph, rules: (RuleSetId, RuleSetId)) -> Rank {
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
fn queue(graph: &Arc<NodeGraph>, limits: &Limits, now: Timestamp) -> Vec<Group> {
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
    let mut shares: BTreeMap<(RuleSetId, RuleSetId), u64> = BTreeMap::new();
    let mut waiting: BTreeMap<(Rank, Arc<str>), Vec<Group>> = BTreeMap::new();
    for ((namespace, egress, ingress), members) in members {
        let rules = (egress, ingress);
        let share = *shares
            .entry(rules)
            .or_insert_with(|| share_alone(graph, rules, limits, now));
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

/// What two rule sets would take if they were alone on the node.
fn share_alone(
    graph: &NodeGraph,
    rules: (RuleSetId, RuleSetId),
    limits: &Limits,
    now: Timestamp,
) -> u64 {
    let mut alone = NodeGraph::default();
    alone.cluster_ranges = graph.cluster_ranges.clone();
    copy_rules(graph, [rules.0, rules.1].into_iter(), &mut alone);
    need_of(alone, limits, now).share(limits)
}

/// Copies rule sets and the peer sets that they name.
fn copy_rules(graph: &NodeGraph, ids: impl Iterator<Item = RuleSetId>, into: &mut NodeGraph) {
    for id in ids {
        let Some(rules) = graph.rule_sets.get(&id) else {
            continue;
        };
        if into.rule_sets.insert(id, rules.clone()).is_none() {
            let sets: BTreeSet<PeerSetId> = rules.peer_sets().collect();
            let members = sets
                .into_iter()
                .filter_map(|set| Some((set, graph.peer_sets.get(&set)?.clone())));
            into.peer_sets.extend(members);
        }
    }
}

/// The graph in which all but some workloads are denied everything, or left out where there is no room for them.
fn with_only(graph: &NodeGraph, admitted: &BTreeSet<WorkloadUid>, limits: &Limits) -> NodeGraph {
    let mut places = limits.0.workloads.saturating_sub(admitted.len());
    let closed = [deny_all(Direction::Egress), deny_all(Direction::Ingress)];
    let [no_egress, no_ingress] = [closed[0].id(), closed[1].id()];
    let mut part = NodeGraph::default();
    let kept = graph
        .workloads
        .iter()
        .filter(|(uid, _)| admitted.contains(*uid));
    copy_rules(
        graph,
        kept.flat_map(|(_, w)| [w.egress, w.ingress]),
        &mut part,
    );
    for (uid, workload) in &graph.workloads {
        let workload = if admitted.contains(uid) {
            workload.clone()
        } else {
            if places == 0 {
                continue;
            }
            places -= 1;
            for rules in &closed {
                part.rule_sets
                    .entry(rules.id())
                    .or_insert_with(|| Arc::new(rules.clone()));
            }
            Arc::new(LocalWorkload {
                egress: no_egress,
                ingress: no_ingress,
                ..(**workload).clone()
            })
        };
        part.workloads.insert(uid.clone(), workload);
    }
    if !admitted.is_empty() {
        // Where everybody is denied everything, nobody needs to be told apart.
        part.known = Arc::new(known_without(graph, &part));
        part.services = graph.services.clone();
        part.closed = graph.closed.clone();
        part.cluster_ranges = graph.cluster_ranges.clone();
    }
    NodeGraph::new(
        part.workloads,
        part.rule_sets,
        part.peer_sets,
        part.known,
        part.cluster_ranges,
        part.services,
    )
    .with_closed(part.closed)
    .with_node_addresses(graph.node_addresses.clone())
}

/// Whoever is known by a peer set that a part of the graph does without is still known.
fn known_without(graph: &NodeGraph, part: &NodeGraph) -> PeerSet {
    let dropped = graph
        .peer_sets
        .iter()
        .filter(|(id, _)| !part.peer_sets.contains_key(*id));
    graph
        .known
        .iter()
        .chain(dropped.flat_map(|(_, members)| members.iter()))
        .collect()
}

/// Who fits, and who does not.
fn admit(
    graph: &Arc<NodeGraph>,
    limits: &Limits,
    now: Timestamp,
    whole: Need,
) -> (BTreeSet<WorkloadUid>, Vec<Unfit>) {
    let need_of =
        |admitted: &BTreeSet<WorkloadUid>| need_of(with_only(graph, admitted, limits), limits, now);
    let mut admitted: BTreeSet<WorkloadUid> = BTreeSet::new();
    let mut refused: BTreeMap<WorkloadUid, Need> = BTreeMap::new();
    let mut full: BTreeMap<(Rank, Arc<str>), Need> = BTreeMap::new();
    let mut queue: std::collections::VecDeque<Group> = queue(graph, limits, now).into();
    // Tries as many at once as went well before, twice that, and so on; needs only ever grow with the subjects.
    let mut step = queue.len();
    while !queue.is_empty() {
        let first = &queue[0];
        if let Some(needed) = full.get(&(first.rank, first.namespace.clone())).copied() {
            let group = queue.pop_front().into_iter();
            refused.extend(group.flat_map(|g| g.members).map(|uid| (uid, needed)));
            continue;
        }
        let ready = queue
            .iter()
            .take_while(|g| !full.contains_key(&(g.rank, g.namespace.clone())))
            .count();
        let count = step.clamp(1, ready);
        let mut candidate = admitted.clone();
        candidate.extend(
            queue
                .iter()
                .take(count)
                .flat_map(|group| group.members.iter().cloned()),
        );
        let needed = need_of(&candidate);
        if needed.fits(limits) {
            admitted = candidate;
            queue.drain(..count);
            step = count * 2;
        } else if count == 1 {
            full.insert((first.rank, first.namespace.clone()), needed);
            step = 1;
        } else {
            step = count / 2;
        }
    }
    let unfit = refused.into_iter().map(|(uid, needed)| {
        let workload = &graph.workloads[&uid];
        let needed = if needed == Need::default() {
            whole
        } else {
            needed
        };
        Unfit {
            namespace: workload.namespace.clone(),
            name: workload.name.clone(),
            uid,
            needed,
        }
    });
    (admitted, unfit.collect())
}
