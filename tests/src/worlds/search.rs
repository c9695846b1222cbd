//! Looking for a counterexample among random worlds, with a seed that finds it again.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Names a seed to use instead of a fresh one.
pub const SEED: &str = "BULKHEAD_SEED";

/// Multiplies the number of cases, for runs that may take longer.
pub const EFFORT: &str = "BULKHEAD_EFFORT";

/// What a property says of a case: why it does not hold.
pub type Finding = Result<(), String>;

/// How many tuples (source, destination, protocol, port) a search has compared.
#[derive(Debug, Default)]
pub struct Tally(Cell<u64>);

impl Tally {
    /// One more.
    pub fn count(&self) {
        self.0.set(self.0.get() + 1);
    }

    /// So far.
    pub fn tuples(&self) -> u64 {
        self.0.get()
    }

    /// Says how many there were and how long they took.
    ///
    /// # Panics
    /// If there were fewer than `at_least` for one unit of effort: a search that looks at little proves little.
    pub fn close(&self, name: &str, began: Instant, at_least: u64) {
        let (tuples, seconds) = (self.tuples(), began.elapsed().as_secs_f64());
        println!("{name}: {tuples} tuples compared in {seconds:.1} s");
        let wanted = at_least * effort();
        assert!(
            tuples >= wanted,
            "{name}: {tuples} tuples, fewer than {wanted}"
        );
    }
}

/// How many times more cases the caller wants.
///
/// # Panics
/// If [`EFFORT`] is no number.
pub fn effort() -> u64 {
    number(EFFORT).unwrap_or(1)
}

/// The seed of this run: the caller's, or a fresh one.
///
/// # Panics
/// If [`SEED`] is no number.
pub fn seed() -> u64 {
    number(SEED).unwrap_or_else(|| RandomState::new().build_hasher().finish())
}

/// As [`search`], for properties that count the tuples they compare; there must be `at_least` so many.
///
/// # Panics
/// As [`search`], and if too little was compared.
pub fn search_tuples<S: Strategy>(
    name: &str,
    (cases, at_least): (u32, u64),
    strategy: S,
    property: impl Fn(S::Value, &Tally) -> Finding,
) {
    let (tally, began) = (Tally::default(), Instant::now());
    search(name, cases, strategy, |value| property(value, &tally));
    tally.close(name, began, at_least);
}

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
    let seed = seed();
    let cases = u32::try_from(u64::from(cases).saturating_mul(effort())).unwrap_or(u32::MAX);
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
