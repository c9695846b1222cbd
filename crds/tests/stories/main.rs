//! Stories that a policy author would recognise, told in manifests (`tests/stories/*.yaml`) and judged by the oracle.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a story that cannot be read has failed"
)]

mod story;

use bulkhead_policy::eval::{World, eval};
use bulkhead_policy::model::Moment;

use story::Expectation;

/// Issue 3 asks for 80; each later issue adds its own.
const AT_LEAST: usize = 150;

#[test]
fn every_story_ends_as_it_is_told() {
    let stories = story::all();
    let mut wrong = Vec::new();
    for (name, story) in &stories {
        let world = story.world();
        for told in story.expectations(&world) {
            wrong.extend(
                contradiction(&world, &told, story.moment())
                    .map(|what| format!("{name}\n    {what}")),
            );
        }
    }
    let count = stories.len();
    assert!(
        wrong.is_empty(),
        "of {count} stories:\n{}",
        wrong.join("\n")
    );
    assert!(count >= AT_LEAST, "{count} stories");
    println!("{count} stories");
}

/// How the oracle's answer differs from what is told.
fn contradiction(world: &World, told: &Expectation, at: Moment) -> Option<String> {
    let Expectation {
        line,
        flow,
        enforced,
        intended,
    } = told;
    let verdict = eval(world, flow, at);
    let readings = [
        ("enforced", *enforced, verdict.allowed(), &verdict.enforced),
        ("intended", *intended, verdict.intended(), &verdict.intended),
    ];
    let wrong = |(_, told, actual, _): &(&str, Option<bool>, bool, _)| {
        told.is_some_and(|told| told != *actual)
    };
    let (stance, _, actual, outcome) = readings.into_iter().find(wrong)?;
    let (egress, ingress) = (&outcome.egress.rule, &outcome.ingress.rule);
    Some(format!(
        "{line}: {stance} is {actual}; egress: {egress}; ingress: {ingress}"
    ))
}
