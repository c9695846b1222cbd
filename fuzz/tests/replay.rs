//! The committed corpora, the seeds, and some thousand damaged copies of both, in the normal run.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bulkhead_fuzz::{Target, mutated};
use fastrand::Rng;

/// Damaged inputs for each target; the time is a bound for slow machines.
const DAMAGED: u64 = 4_000;
const AT_MOST: Duration = Duration::from_secs(8);

/// No input of a committed corpus is larger: it is read by people when it fails.
const LARGEST_BYTES: usize = 16 * 1024;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn corpus(target: Target) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name());
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for (path, input) in paths.iter().zip(&inputs) {
        assert!(input.len() <= LARGEST_BYTES, "{}", path.display());
    }
    inputs
}

fn replay(target: Target) {
    let mut inputs = corpus(target);
    let committed = inputs.len();
    inputs.extend(target.seeds());
    inputs.iter().for_each(|input| target.run(input));
    let seed = number("BULKHEAD_SEED").unwrap_or_else(|| fastrand::u64(..));
    let effort = number("BULKHEAD_EFFORT").unwrap_or(1).max(1);
    let mut rng = Rng::with_seed(seed);
    let until = Instant::now() + AT_MOST * u32::try_from(effort).unwrap_or(1);
    let mut damaged = 0;
    while damaged < DAMAGED * effort && Instant::now() < until {
        let (input, other) = (rng.choice(&inputs).unwrap(), rng.choice(&inputs).unwrap());
        let bytes = mutated(&mut rng.clone(), input, other);
        rng.u64(..);
        damaged += 1;
        let outcome = std::panic::catch_unwind(|| target.run(&bytes));
        if outcome.is_err() {
            panic!(
                "{}: BULKHEAD_SEED={seed}, {}",
                target.name(),
                bytes.escape_ascii()
            );
        }
    }
    println!(
        "{}: {committed} committed inputs, {} seeds, {damaged} damaged, BULKHEAD_SEED={seed}",
        target.name(),
        inputs.len() - committed
    );
    assert!(damaged > 100, "{damaged} in {AT_MOST:?}");
}

#[test]
fn g14_the_parser_understands_or_refuses() {
    replay(Target::Parser);
}

#[test]
fn g14_what_is_not_understood_passes_no_hook() {
    replay(Target::Hooks);
}

#[test]
fn manifests_break_nothing_and_rejections_are_named() {
    replay(Target::Manifests);
}

#[test]
fn the_stream_is_read_as_it_was_written() {
    replay(Target::Wire);
}

#[test]
fn the_agents_file_is_read_whole_or_not_at_all() {
    replay(Target::Store);
}
