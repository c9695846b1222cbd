//! Who fits, against the definition: one subject after the other, each asked for by itself.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

#[path = "../../tests/world/mod.rs"]
mod world;

const NOW: Timestamp = Timestamp(0);

/// The definition: whoever is next is let in if the tables hold him beside those who are in; else his namespace is full.
fn one_by_one(
    graph: &Arc<NodeGraph>,
    limits: &Limits,
) -> (BTreeSet<WorkloadUid>, BTreeMap<WorkloadUid, Need>) {
    let mut admitted = BTreeSet::new();
    let mut refused = BTreeMap::new();
    let mut full: BTreeMap<(Rank, Arc<str>), Need> = BTreeMap::new();
    let mut alone = Alone::default();
    alone.keep(graph, limits, NOW);
    for group in queue(graph, limits, NOW, &mut alone) {
        let place = (group.rank, group.namespace.clone());
        let mut candidate = admitted.clone();
        candidate.extend(group.members.iter().cloned());
        if !full.contains_key(&place) {
            let part = Arc::new(with_only(graph, &candidate, limits));
            match build(&part, limits, NOW) {
                Ok((_, need)) if need.fits(limits) => {
                    admitted = candidate;
                    continue;
                }
                Ok((_, need)) | Err(need) => drop(full.insert(place.clone(), need)),
            }
        }
        refused.extend(group.members.into_iter().map(|uid| (uid, full[&place])));
    }
    (admitted, refused)
}

/// Several small worlds on one node.
fn crowd() -> impl Strategy<Value = NodeGraph> {
    prop::collection::vec(world::parts(), 1..5).prop_map(|parts| {
        let mut crowd = NodeGraph::default();
        for (number, part) in parts.into_iter().enumerate() {
            for (uid, workload) in &part.workloads {
                let uid = WorkloadUid(format!("{}-{number}", uid.0).into());
                let namespace = format!("{}-{}", workload.namespace, number % 3);
                let workload = LocalWorkload {
                    namespace: namespace.into(),
                    ..(**workload).clone()
                };
                crowd.workloads.insert(uid, workload.into());
            }
            let rule_sets = crowd.rule_sets.into_iter().chain(part.rule_sets.clone());
            crowd.rule_sets = rule_sets.collect();
            let peer_sets = crowd.peer_sets.into_iter().chain(part.peer_sets.clone());
            crowd.peer_sets = peer_sets.collect();
            crowd.cluster_ranges = part.cluster_ranges.clone();
            crowd.services = part.services.clone();
        }
        crowd
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn g8_a_guess_and_a_few_looks_find_what_asking_one_by_one_does(
        graph in crowd(),
        (workloads, peers, networks, decisions) in (0_usize..14, 0_usize..14, 2_usize..16, 0_usize..60),
    ) {
        let limits = Limits(Need { workloads, peers, networks, decisions, ..Limits::default().0 });
        let graph = Arc::new(graph);
        let fitted = fit(&graph, &limits, NOW);
        let whole = build(&graph, &limits, NOW);
        if whole.is_ok_and(|(_, need)| need.fits(&limits)) {
            prop_assert!(fitted.unfit.is_empty());
            return Ok(());
        }
        let (admitted, refused) = one_by_one(&graph, &limits);
        let told: BTreeMap<WorkloadUid, Need> = fitted
            .unfit
            .iter()
            .map(|unfit| (unfit.uid.clone(), unfit.needed))
            .collect();
        prop_assert_eq!(told, refused);
        let part = with_only(&graph, &admitted, &limits);
        prop_assert_eq!(fitted.desired.graph().digest(), part.digest());
    }
}

#[test]
fn the_last_that_fits_is_found_from_wherever_it_is_looked_for() {
    for too_many in 1..40 {
        for most in 0..too_many {
            for guess in 0..too_many + 3 {
                let (mut asked, mut last) = (0, 0);
                let found = last_that_fits(too_many, guess, |count| {
                    asked += 1;
                    if count <= most {
                        last = count;
                    }
                    count <= most
                });
                assert_eq!((found, last), (most, most), "of {too_many} from {guess}");
                let far = most.abs_diff(guess);
                let looks = 2 * (far + 2).ilog2() + 2;
                assert!(
                    asked <= looks,
                    "{asked} looks for {most} of {too_many} from {guess}"
                );
            }
        }
    }
}
