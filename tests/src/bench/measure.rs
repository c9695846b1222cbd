//! Time and memory of one piece of work in this process.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Runs the work and says how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let outcome = work();
    (outcome, start.elapsed())
}

/// Forgets the peak so far: from here on it is that of what follows and of what is still there.
///
/// # Errors
/// If the kernel does not let us.
pub fn reset_peak() -> Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("/proc/self/clear_refs")
}

/// Greatest resident size since the last [`reset_peak`], in bytes.
///
/// # Errors
/// If the kernel does not say.
pub fn peak() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM in /proc/self/status")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}

/// The value below which that share of the sorted durations lies.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted[((last as f64) * share).round() as usize]
}

/// Milliseconds with fractions.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Microseconds with fractions.
pub fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
