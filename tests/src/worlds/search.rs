//! Looking for a counterexample among random worlds, with a seed that finds it again.

use std::hash::{BuildHasher, Hasher, RandomState};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Names a seed to use instead of a fresh one.
pub const SEED: &str = "BULKHEAD_SEED";

/// Multiplies the number of cases, for runs that may take longer.
pub const EFFORT: &str = "BULKHEAD_EFFORT";

/// What a property says of a case: why it does not hold.
pub type Finding = Result<(), String>;

/// Holds a property against random values, prints the seed, and panics with the smallest counterexample.
///
/// # Panics
/// If there is one, or if an environment variable is no number.
pub fn search<S: Strategy>(
    name: &str,
    cases: u32,
    strategy: S,
    property: impl Fn(S::Value) -> Finding,
) {
    let seed = number(SEED).unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let effort = number(EFFORT).unwrap_or(1);
    let cases = u32::try_from(u64::from(cases).saturating_mul(effort)).unwrap_or(u32::MAX);
    println!("{name}: {cases} cases, {SEED}={seed}");
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        max_shrink_time: 30_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, rng).run(&strategy, |value| {
        property(value).map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, value)) => {
            panic!("{name}: {SEED}={seed}\n{value:#?}\n{why}")
        }
        Err(TestError::Abort(why)) => panic!("{name}: {SEED}={seed}: gave up: {why}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")),
    )
}
