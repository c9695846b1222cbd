//! DIRECT: INTERFACES once more, by the low bits of the index. A load instead of a call, for every packet.
//!
//! What it says is in INTERFACES too; what is not in it may be: two interfaces may share a place.

use super::{WorkloadSlot, plain::plain};

/// Places in DIRECT; a power of two.
pub const DIRECT_PLACES: u32 = 4_096;

/// One place: interface index and slot in one word, so that a reader never sees half of it. Zero = nobody's.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direct(pub u64);

impl Direct {
    /// What stands for an interface, whose index is never 0.
    pub const fn new(ifindex: u32, slot: WorkloadSlot) -> Self {
        Self((ifindex as u64) << 32 | slot.0 as u64)
    }

    /// Where an interface may be found.
    #[inline(always)]
    pub const fn place(ifindex: u32) -> u32 {
        ifindex & (DIRECT_PLACES - 1)
    }

    /// The slot, if the place is this interface's.
    #[inline(always)]
    pub const fn slot(self, ifindex: u32) -> Option<WorkloadSlot> {
        if self.0 != 0 && (self.0 >> 32) as u32 == ifindex {
            Some(WorkloadSlot(self.0 as u32))
        } else {
            None
        }
    }
}

plain! {
    Direct: 8, align 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_interfaces() {
        let slot = WorkloadSlot(7);
        let one = Direct::new(5, slot);
        assert_eq!(one.slot(5), Some(slot));
        assert_eq!(one.slot(5 + DIRECT_PLACES), None);
        assert_eq!(Direct::place(5), Direct::place(5 + DIRECT_PLACES));
        assert_eq!(Direct::new(DIRECT_PLACES, WorkloadSlot(0)).slot(0), None);
        assert_eq!(Direct::default().slot(0), None);
        assert_eq!(
            Direct::new(9, WorkloadSlot::BRIDGE).slot(9),
            Some(WorkloadSlot::BRIDGE)
        );
    }
}
