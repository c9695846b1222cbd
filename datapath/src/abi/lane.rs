//! Two lanes: a value that depends on the revision exists twice, and the generation says which half is read.
//!
//! A lane is chosen by address, never by shifting a wider word: only an address dependency orders the load of the
//! generation before the load of the lane on every processor.

use super::{Generation, Plain};

/// Which half of a two-lane value is meant.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Read while the generation is even.
    Even = 0,
    /// Read while the generation is odd.
    Odd = 1,
}

impl Lane {
    /// The lane that packets do not read: the one that may be written.
    pub const fn other(self) -> Self {
        match self {
            Lane::Even => Lane::Odd,
            Lane::Odd => Lane::Even,
        }
    }

    /// Position of the lane inside a two-lane value.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Generation {
    /// The lane that packets of this generation read.
    #[inline(always)]
    pub const fn lane(self) -> Lane {
        if self.0 & 1 == 0 {
            Lane::Even
        } else {
            Lane::Odd
        }
    }
}

/// A value once for each lane.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lanes<T>(pub [T; 2]);

impl<T: Plain> Lanes<T> {
    /// The same value in both lanes.
    pub const fn both(value: T) -> Self {
        Self([value, value])
    }

    /// Reads one lane. The agent may be writing the other one at the same moment.
    #[inline(always)]
    pub fn read(&self, lane: Lane) -> T {
        // SAFETY: `lane.index()` is 0 or 1, inside the array; the pointer is derived from a live reference.
        unsafe { core::ptr::read_volatile(self.0.as_ptr().add(lane.index())) }
    }

    /// Replaces one lane of a value that is not shared (tables in memory, values before they are written).
    pub fn set(&mut self, lane: Lane, value: T) {
        self.0[lane.index()] = value;
    }
}

// SAFETY: transparent over an array of plain data.
unsafe impl<T: Plain> Plain for Lanes<T> {}
