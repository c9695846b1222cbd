//! Random worlds are worth their time only if every answer of the pipeline comes up in them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bulkhead_policy::eval::{Provenance, eval};
use bulkhead_policy::model::ObjectRef;
use bulkhead_tests::worlds::search::search;
use bulkhead_tests::worlds::small_world;
use bulkhead_tests::worlds::vocabulary::NOW;

use crate::halves::{graphs, questions};

/// What gave an answer, without names.
fn origin(rule: &Provenance, allowed: bool) -> String {
    let verdict = if allowed { "allow" } else { "deny" };
    let kind = |object: &ObjectRef| object.kind.name();
    match rule {
        Provenance::Rule(rule) => format!("{verdict} by a rule of {}", kind(&rule.object)),
        Provenance::Isolated { stage, .. } => format!("isolated in {stage:?}"),
        Provenance::Within { stage, .. } => format!("{verdict} within in {stage:?}"),
        Provenance::Unopposed
        | Provenance::OwnAddress
        | Provenance::NotOurs
        | Provenance::Contested
        | Provenance::JudgedAtEndpoint => format!("{rule:?}"),
        Provenance::NoEndpoint(_) => "no endpoint".to_owned(),
    }
}

const EXPECTED: &[&str] = &[
    "Contested",
    "JudgedAtEndpoint",
    "NotOurs",
    "Unopposed",
    "allow by a rule of ClusterNetworkPolicy",
    "allow by a rule of ClusterSegmentationPolicy",
    "allow by a rule of NetworkPolicy",
    "allow by a rule of Quarantine",
    "allow by a rule of SegmentationPolicy",
    "allow within in Segment",
    "deny by a rule of ClusterNetworkPolicy",
    "deny by a rule of ClusterSegmentationPolicy",
    "deny by a rule of SegmentationPolicy",
    "deny within in Boundary",
    "deny within in Segment",
    "isolated in Boundary",
    "isolated in Namespace",
    "isolated in Quarantine",
    "isolated in Segment",
    "no endpoint",
];

#[test]
fn every_answer_of_the_pipeline_comes_up() {
    let seen: RefCell<BTreeMap<String, u64>> = RefCell::default();
    let differing = RefCell::new(0_u64);
    search("coverage", 500, small_world(), |case| {
        let world = case.world();
        let mut seen = seen.borrow_mut();
        for graph in graphs(&mut case.engine(NOW)).values() {
            for asked in graph
                .workloads
                .values()
                .flat_map(|w| questions(w).into_iter().step_by(5))
            {
                let verdict = eval(&world, &asked.flow(), NOW);
                for half in [&verdict.enforced.egress, &verdict.enforced.ingress] {
                    *seen.entry(origin(&half.rule, half.allowed)).or_default() += 1;
                }
                *differing.borrow_mut() += u64::from(verdict.allowed() != verdict.intended());
            }
        }
        Ok(())
    });
    let (seen, differing) = (seen.into_inner(), differing.into_inner());
    println!("{seen:#?}\nenforced is not intended: {differing}");
    let missing: Vec<&&str> = EXPECTED
        .iter()
        .filter(|origin| !seen.contains_key(**origin))
        .collect();
    assert!(
        missing.is_empty() && differing > 0,
        "never came up: {missing:?}"
    );
}
