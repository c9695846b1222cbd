//! Messages about what cannot be, for people; at most one a second, whatever happens.
//!
//! Called after a packet's fate is decided, and only for [`Reason::Internal`](bulkhead_datapath::abi::Reason::Internal):
//! no packet that passes, and no ordinary drop, comes here. The counters count every such packet; the message says where.

use aya_ebpf::bindings::TC_ACT_SHOT;
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::error;
use bulkhead_datapath::abi::Hook;

/// Private to the programs: when the last message was written, monotonic nanoseconds.
#[map]
static DIAGNOSED: Array<u64> = Array::with_max_entries(1, 0);

const APART_NS: u64 = 1_000_000_000;

/// A function of its own, so that it takes neither room nor registers where packets pass.
#[cold]
#[inline(never)]
pub(crate) fn internal(ifindex: u32, hook: u32) {
    let Some(last) = DIAGNOSED.get_ptr_mut(0) else {
        return;
    };
    let now = crate::clock::now_ns();
    // SAFETY: an aligned word of a value that the map returned. Two processors at the same moment may write one message
    // each.
    unsafe {
        let before = last.read_volatile();
        if before != 0 && now.wrapping_sub(before) < APART_NS {
            return;
        }
        last.write_volatile(now);
    }
    error!(
        (),
        "a program met what cannot be on interface {} (hook {}); the packet was dropped",
        ifindex,
        hook
    );
}

/// What happens in that case, for tests: there is no packet that leads there.
#[classifier]
pub(crate) fn test_diagnose(context: TcContext) -> i32 {
    // SAFETY: the context is valid for the program's run.
    internal(
        unsafe { (*context.skb.skb).ifindex },
        Hook::ToWorkload as u32,
    );
    TC_ACT_SHOT
}
