//! Capacity arithmetic: which subjects a node has room for. A function of graph, limits and time alone (G8).
//!
//! Order: quarantined subjects, then those that only cluster tiers speak about, then everybody else in rounds, always
//! the namespace whose largest share of a table would be smallest. A subject that does not fit is denied everything,
//! and after it the rest of its namespace, whose needs are as large; nobody else notices. Where there is not even room
//! for the subject itself, it is left out: an interface that is in no table is closed. Nothing is ever widened.
//!
//! Needs only grow with the subjects, so how many of the queue fit is found by a guess and a few looks around it. What is
//! remembered from one revision to the next ([`Alone`]) makes guessing cheap and never changes what comes out (I2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulkhead_graph::{
    Action, Direction, Entry, LocalWorkload, Mode, NodeGraph, PeerMatch, PeerSet, PeerSetId,
    PortMatch, RuleSet, RuleSetId, SharedWorkload, SortedMap, Stage, Timestamp, WorkloadUid,
};

use crate::queue::{Alone, Group, Rank, queue};
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
    alone: Alone,
}

/// The part of a graph that fits into the limits.
pub fn fit(graph: &Arc<NodeGraph>, limits: &Limits, now: Timestamp) -> Fitted {
    fit_with(graph, limits, now, Alone::default())
}

/// The same with what was found out before.
fn fit_with(graph: &Arc<NodeGraph>, limits: &Limits, now: Timestamp, mut alone: Alone) -> Fitted {
    alone.keep(graph, limits, now);
    let mut whole = None;
    if !alone.is_hopeless(graph, limits) {
        match build(graph, limits, now) {
            Ok((desired, need)) if need.fits(limits) => {
                return Fitted {
                    desired,
                    need,
                    unfit: Vec::new(),
                    limits: *limits,
                    alone: Alone::default(),
                };
            }
            Ok((_, need)) | Err(need) => whole = Some(need),
        }
    }
    let admission = Admission::of(graph, limits, now, whole, &mut alone);
    let (desired, need) = admission.built.unwrap_or_else(|| {
        let part = Arc::new(with_only(graph, &admission.admitted, limits));
        let desired = Desired::build(&part, now);
        let need = Need::of(&desired, limits);
        (desired, need)
    });
    Fitted {
        desired,
        need,
        unfit: admission.unfit,
        limits: *limits,
        alone,
    }
}

/// The tables and what they need; only that where the rules would make more work than there is time for.
pub(crate) fn build(
    graph: &Arc<NodeGraph>,
    limits: &Limits,
    now: Timestamp,
) -> Result<(Desired, Need), Need> {
    let rules = Need::of_rules(graph, now);
    if !rules.fits(limits) {
        return Err(rules);
    }
    let desired = Desired::build(graph, now);
    let need = Need::of(&desired, limits);
    Ok((desired, need))
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
            return self.again(graph, now);
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
        self.again(graph, now)
    }

    /// Asks anew who fits.
    fn again(&mut self, graph: &Arc<NodeGraph>, now: Timestamp) -> Changes {
        let alone = std::mem::take(&mut self.alone);
        *self = fit_with(graph, &self.limits, now, alone);
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
        lease: None,
    };
    RuleSet {
        direction,
        entries: vec![entry],
    }
}

/// The rule sets of some ids and the peer sets that they name.
pub(crate) fn copied(
    graph: &NodeGraph,
    ids: impl Iterator<Item = RuleSetId>,
) -> (
    SortedMap<RuleSetId, Arc<RuleSet>>,
    SortedMap<PeerSetId, Arc<PeerSet>>,
) {
    let rule_sets = ids.filter_map(|id| Some((id, graph.rule_sets.get(&id)?.clone())));
    let rule_sets: SortedMap<_, _> = rule_sets.collect();
    let named: BTreeSet<PeerSetId> = rule_sets.values().flat_map(|set| set.peer_sets()).collect();
    let peer_sets = named.into_iter();
    let peer_sets = peer_sets.filter_map(|set| Some((set, graph.peer_sets.get(&set)?.clone())));
    (rule_sets, peer_sets.collect())
}

/// The graph in which all but some workloads are denied everything, or left out where there is no room for them.
fn with_only(graph: &NodeGraph, admitted: &BTreeSet<WorkloadUid>, limits: &Limits) -> NodeGraph {
    let places = limits.0.workloads.saturating_sub(admitted.len());
    let closed = [Direction::Egress, Direction::Ingress].map(|direction| {
        let rules = deny_all(direction);
        (rules.id(), Arc::new(rules))
    });
    let [no_egress, no_ingress] = [closed[0].0, closed[1].0];
    let (kept, others): (Vec<_>, Vec<_>) = graph
        .workloads
        .iter()
        .partition(|(uid, _)| admitted.contains(*uid));
    let of_kept = kept.iter().flat_map(|(_, w)| [w.egress, w.ingress]);
    let (mut rule_sets, peer_sets) = copied(graph, of_kept);
    let denied: Vec<(WorkloadUid, SharedWorkload)> = others
        .into_iter()
        .take(places)
        .map(|(uid, workload)| {
            let denied = LocalWorkload {
                egress: no_egress,
                ingress: no_ingress,
                ..(**workload).clone()
            };
            (uid.clone(), denied.into())
        })
        .collect();
    if !denied.is_empty() {
        rule_sets = rule_sets.with(closed.map(|(id, rules)| (id, Some(rules))));
    }
    let kept = kept
        .into_iter()
        .map(|(uid, workload)| (uid.clone(), workload.clone()));
    let workloads: SortedMap<_, _> = kept.chain(denied).collect();
    let part = if admitted.is_empty() {
        // Where everybody is denied everything, nobody needs to be told apart.
        let (known, ranges, services) = Default::default();
        NodeGraph::new(workloads, rule_sets, peer_sets, known, ranges, services)
    } else {
        let known = Arc::new(known_without(graph, &peer_sets));
        let (ranges, services) = (graph.cluster_ranges.clone(), graph.services.clone());
        NodeGraph::new(workloads, rule_sets, peer_sets, known, ranges, services)
            .with_closed(graph.closed.clone())
    };
    part.with_node_addresses(graph.node_addresses.clone())
}

/// Whoever is known by a peer set that is not kept is still known.
fn known_without(graph: &NodeGraph, kept: &SortedMap<PeerSetId, Arc<PeerSet>>) -> PeerSet {
    let dropped = graph
        .peer_sets
        .iter()
        .filter(|(id, _)| !kept.contains_key(*id));
    graph
        .known
        .iter()
        .chain(dropped.flat_map(|(_, members)| members.iter()))
        .collect()
}

/// Who fits, and who does not.
struct Admission {
    admitted: BTreeSet<WorkloadUid>,
    unfit: Vec<Unfit>,
    /// The tables of those who fit, if they were built on the way.
    built: Option<(Desired, Need)>,
}

impl Admission {
    /// `whole` is what the graph as it is would take, if that was asked.
    fn of(
        graph: &Arc<NodeGraph>,
        limits: &Limits,
        now: Timestamp,
        whole: Option<Need>,
        alone: &mut Alone,
    ) -> Self {
        let mut waiting: Vec<Group> = queue(graph, limits, now, alone);
        let mut admission = Self {
            admitted: BTreeSet::new(),
            unfit: Vec::new(),
            built: None,
        };
        // All of them together are known not to fit, if the graph is nothing but them.
        let is_whole = is_used(graph) && graph.workloads.len() <= limits.0.workloads;
        let mut too_many = waiting.len() + usize::from(!is_whole);
        let mut beyond: Option<(usize, Need)> =
            whole.filter(|_| is_whole).map(|need| (too_many, need));
        let mut refused: BTreeMap<WorkloadUid, Need> = BTreeMap::new();
        while !waiting.is_empty() {
            let there = admission.built.as_ref().map(|(_, need)| Need {
                workloads: admission.admitted.len(),
                ..*need
            });
            let guess = alone.guess(&waiting, limits, there.unwrap_or_default());
            let mut built = None;
            let fits = |count: usize| {
                let groups = waiting[..count].iter();
                let mut candidate = admission.admitted.clone();
                candidate.extend(groups.flat_map(|group| group.members.iter().cloned()));
                let part = Arc::new(with_only(graph, &candidate, limits));
                match build(&part, limits, now) {
                    Ok((desired, need)) if need.fits(limits) => {
                        built = Some((candidate, desired, need));
                        true
                    }
                    Ok((_, need)) | Err(need) => {
                        beyond = Some((count, need));
                        false
                    }
                }
            };
            let count = last_that_fits(too_many, guess, fits);
            if let Some((admitted, desired, need)) = built {
                admission.admitted = admitted;
                admission.built = Some((desired, need));
            }
            if count == waiting.len() {
                break;
            }
            let full: (Rank, Arc<str>) = (waiting[count].rank, waiting[count].namespace.clone());
            let needed = match beyond {
                Some((at, need)) if at == count + 1 => need,
                Some(_) | None => need_of_first(graph, limits, now, &admission, &waiting[count]),
            };
            waiting.drain(..count);
            waiting.retain(|group| {
                let is_full = (group.rank, &group.namespace) == (full.0, &full.1);
                if is_full {
                    refused.extend(group.members.iter().map(|uid| (uid.clone(), needed)));
                }
                !is_full
            });
            too_many = waiting.len() + 1;
            beyond = None;
        }
        admission.unfit = refused
            .into_iter()
            .map(|(uid, needed)| {
                let workload = &graph.workloads[&uid];
                Unfit {
                    namespace: workload.namespace.clone(),
                    name: workload.name.clone(),
                    uid,
                    needed,
                }
            })
            .collect();
        admission
    }
}

/// Whether every rule set is some workload's, and every peer set some rule set's.
fn is_used(graph: &NodeGraph) -> bool {
    let workloads = graph.workloads.values();
    let rules: BTreeSet<&RuleSetId> = workloads.flat_map(|w| [&w.egress, &w.ingress]).collect();
    let sets: BTreeSet<PeerSetId> = graph
        .rule_sets
        .values()
        .flat_map(|rules| rules.peer_sets())
        .collect();
    graph.rule_sets.keys().all(|id| rules.contains(id))
        && graph.peer_sets.keys().all(|id| sets.contains(id))
}

/// What those who fit would take together with the first who does not.
fn need_of_first(
    graph: &Arc<NodeGraph>,
    limits: &Limits,
    now: Timestamp,
    admission: &Admission,
    first: &Group,
) -> Need {
    let mut candidate = admission.admitted.clone();
    candidate.extend(first.members.iter().cloned());
    let part = Arc::new(with_only(graph, &candidate, limits));
    match build(&part, limits, now) {
        Ok((_, need)) | Err(need) => need,
    }
}

/// The largest number below `too_many` that fits. Looks at `guess` first, then ever farther away from it, then by halves.
/// The last number found to fit was the last one asked that did.
fn last_that_fits(too_many: usize, guess: usize, mut fits: impl FnMut(usize) -> bool) -> usize {
    let (mut most, mut beyond) = (0, too_many);
    let mut at = guess;
    let mut step = 1;
    let mut way: Option<bool> = None;
    let mut by_halves = false;
    while beyond - most > 1 {
        at = at.clamp(most + 1, beyond - 1);
        let fit = fits(at);
        if fit {
            most = at;
        } else {
            beyond = at;
        }
        by_halves |= *way.get_or_insert(fit) != fit;
        at = if by_halves {
            most + (beyond - most) / 2
        } else if fit {
            at + step
        } else {
            at.saturating_sub(step)
        };
        step *= 2;
    }
    most
}

#[cfg(test)]
mod tests;
