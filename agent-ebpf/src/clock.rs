//! What time it is, for almost nothing.
//!
//! The kernel's tick counter is a load that the verifier inlines, while each helper that knows nanoseconds is a call. Both
//! advance together: the counter is driven by the monotonic clock. So the loader lets [`clock`] sample both, and
//! from then on the counter tells the time, to the tick. Until it has, the helper does.

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::TcContext;

/// Private to the programs and their loader: nanoseconds of a tick (0 = not known), and the time at tick 0 (wrapping).
#[map]
static CLOCK: Array<[u64; 2]> = Array::with_max_entries(1, 0);

/// Private likewise: ticks and nanoseconds at the same moment.
#[map]
static CLOCK_SAMPLE: Array<[u64; 2]> = Array::with_max_entries(1, 0);

/// Takes a sample.
#[classifier]
#[inline(always)]
pub(crate) fn clock(_: TcContext) -> i32 {
    if let Some(sample) = CLOCK_SAMPLE.get_ptr_mut(0) {
        // SAFETY: helpers without arguments; a value that the map returned.
        unsafe { sample.write([bpf_jiffies64(), bpf_ktime_get_coarse_ns()]) };
    }
    TC_ACT_UNSPEC
}

/// Monotonic nanoseconds, to the tick.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    if let Some(clock) = CLOCK.get_ptr(0) {
        // SAFETY: written once, before the programs are attached; the helper has no arguments.
        let (tick_ns, start_ns) = unsafe { ((*clock)[0], (*clock)[1]) };
        if tick_ns != 0 {
            // SAFETY: as above.
            return unsafe { bpf_jiffies64() }
                .wrapping_mul(tick_ns)
                .wrapping_add(start_ns);
        }
    }
    // SAFETY: as above.
    unsafe { bpf_ktime_get_coarse_ns() }
}
