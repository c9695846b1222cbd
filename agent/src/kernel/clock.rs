//! Tells the programs how the kernel's tick counter and the monotonic clock belong together.
//!
//! Done once, before anything is attached. Where the length of a tick cannot be told, the programs go on asking
//! the clock itself.

use super::KernelError;
use super::load::classifier_mut;
use aya::Ebpf;
use aya::maps::Array;
use aya::programs::{TestRun, TestRunOptions};
use std::thread;
use std::time::Duration;

/// The program that takes a sample, and the maps in between.
const PROGRAM: &str = "clock";
const SAMPLE: &str = "CLOCK_SAMPLE";
const CLOCK: &str = "CLOCK";

/// Ticks of the kernels there are (`CONFIG_HZ` 1000, 300, 250, 100), in nanoseconds as the kernel rounds them.
const TICKS_NS: [u64; 4] = [1_000_000, 3_333_333, 4_000_000, 10_000_000];

/// Long enough to tell them apart although samples are late by a tick.
const APART: Duration = Duration::from_millis(60);

/// Samples twice, and writes down what follows.
pub(super) fn set(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let failed = |reason| KernelError::Program {
        program: PROGRAM,
        reason: Box::new(reason),
    };
    classifier_mut(ebpf, PROGRAM)?.load().map_err(failed)?;
    let first = sample(ebpf)?;
    thread::sleep(APART);
    let second = sample(ebpf)?;
    let Some(tick_ns) = tick_ns(first, second) else {
        return Ok(());
    };
    let [ticks, ns] = second;
    let value = [tick_ns, ns.wrapping_sub(ticks.wrapping_mul(tick_ns))];
    let map = ebpf.map_mut(CLOCK).ok_or(KernelError::Missing(CLOCK))?;
    let written = Array::<_, [u64; 2]>::try_from(map).and_then(|mut array| array.set(0, value, 0));
    written.map_err(|_| KernelError::Missing(CLOCK))
}

fn sample(ebpf: &mut Ebpf) -> Result<[u64; 2], KernelError> {
    let failed = |reason| KernelError::Program {
        program: PROGRAM,
        reason: Box::new(reason),
    };
    let options = TestRunOptions {
        data_in: Some(&[0; 64]),
        ..TestRunOptions::default()
    };
    classifier_mut(ebpf, PROGRAM)?
        .test_run(options)
        .map_err(failed)?;
    let map = ebpf.map(SAMPLE).ok_or(KernelError::Missing(SAMPLE))?;
    let read = Array::<_, [u64; 2]>::try_from(map).and_then(|array| array.get(&0, 0));
    read.map_err(|_| KernelError::Missing(SAMPLE))
}

/// The length of a tick, if two samples leave no doubt.
fn tick_ns([first_ticks, first_ns]: [u64; 2], [ticks, ns]: [u64; 2]) -> Option<u64> {
    let measured = ns
        .checked_sub(first_ns)?
        .checked_div(ticks.checked_sub(first_ticks)?)?;
    TICKS_NS
        .into_iter()
        .find(|tick| measured.abs_diff(*tick) < tick / 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_told_from_samples() {
        for tick in TICKS_NS {
            let count = 60_000_000 / tick;
            assert_eq!(
                tick_ns([5, 1_000], [5 + count, 1_000 + count * tick]),
                Some(tick)
            );
            assert_eq!(
                tick_ns(
                    [5, 1_000],
                    [5 + count, 1_000 + count * tick + tick / 13 * count]
                ),
                Some(tick)
            );
        }
        assert_eq!(tick_ns([5, 1_000], [5, 1_000]), None, "no time has passed");
        assert_eq!(
            tick_ns([5, 1_000], [15, 1_000 + 20_000_000]),
            None,
            "nobody ticks every 2 ms"
        );
    }
}
