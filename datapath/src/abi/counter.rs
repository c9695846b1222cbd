//! COUNTERS and LOSSES: sums for each processor; the agent adds them up.

use super::{Hook, Reason, plain::plain};

/// Packets and bytes with one reason at one hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterValue {
    /// Packets.
    pub packets: u64,
    /// Bytes of the frames.
    pub bytes: u64,
}

/// Index into COUNTERS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterIndex(pub u32);

impl CounterIndex {
    /// Elements of COUNTERS.
    pub const LIMIT: u32 = 512;

    /// Where packets with this reason at this hook are counted.
    #[inline(always)]
    pub const fn new(hook: Hook, reason: Reason) -> Self {
        Self::of_number(hook, reason as u8)
    }

    /// The same by the reason's number.
    #[inline(always)]
    pub const fn of_number(hook: Hook, reason: u8) -> Self {
        Self((hook as u32) << 8 | reason as u32)
    }
}

/// What observation has lost, as an index into LOSSES.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LossIndex {
    /// The ring was full.
    EventRingFull = 0,
    /// The workload had used up its events of this tick.
    EventRateLimited = 1,
    /// TALKS was full; counted in packets.
    TalksFull = 2,
}

impl LossIndex {
    /// All losses in the order of their indices.
    pub const ALL: [LossIndex; 3] = [
        LossIndex::EventRingFull,
        LossIndex::EventRateLimited,
        LossIndex::TalksFull,
    ];

    /// A stable name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            LossIndex::EventRingFull => "event_ring_full",
            LossIndex::EventRateLimited => "event_rate_limited",
            LossIndex::TalksFull => "talks_full",
        }
    }
}

plain! { CounterValue: 16, align 8; }
