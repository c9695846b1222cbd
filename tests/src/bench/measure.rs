//! Time and memory of one piece of work in this process.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What a piece of work took.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// As a clock on the wall says.
    pub wall: Duration,
    /// As the processors say, all threads together. Neighbours on the machine are not in it.
    pub processor: Duration,
    /// Of that, what the kernel took: for the most part to find and clear pages.
    pub kernel: Duration,
}

/// Runs the work and says what it took.
///
/// # Errors
/// If the kernel does not tell the processor's time.
pub fn spent<T>(work: impl FnOnce() -> T) -> Result<(T, Spent)> {
    let (before, kernel_before) = (processor_time()?, kernel_time()?);
    let (outcome, wall) = timed(work);
    let took = Spent {
        wall,
        processor: processor_time()?.saturating_sub(before),
        kernel: kernel_time()?.saturating_sub(kernel_before),
    };
    Ok((outcome, took))
}

fn processor_time() -> Result<Duration> {
    let clock = nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID;
    let time = nix::time::clock_gettime(clock).context("the processor's time")?;
    Ok(Duration::from(time))
}

fn kernel_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("the kernel's share of it")?;
    let time = usage.system_time();
    let micros = u64::try_from(time.num_microseconds()).context("the kernel's share of it")?;
    Ok(Duration::from_micros(micros))
}

/// How many threads the engine may use here.
pub fn threads() -> std::num::NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN)
}

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
