//! Where each port class has its bit: a number, of which the high bits name a block of 64 and the low bits a place.

use bulkhead_datapath::abi;

use crate::ports::{PortClass, Ports};

/// The largest number that the tables can hold.
const LAST_NUMBER: u32 = u16::MAX as u32;

/// The numbers of a graph's port classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortLayout {
    /// By position of the class.
    pub(crate) numbers: Vec<abi::PortClass>,
    /// The blocks in use, ascending.
    pub(crate) blocks: Vec<u32>,
    /// By position of the class: which of `blocks`, and which bit.
    pub(crate) places: Vec<(usize, u32)>,
}

impl PortLayout {
    /// The layout that follows from a number for each class, in the order of the classes.
    pub fn new(numbers: Vec<abi::PortClass>) -> Self {
        let mut blocks: Vec<u32> = numbers
            .iter()
            .map(|number| u32::from(number.0) >> 6)
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        let places = numbers
            .iter()
            .map(|number| {
                let word = blocks
                    .binary_search(&(u32::from(number.0) >> 6))
                    .unwrap_or(0);
                (word, u32::from(number.0) & 63)
            })
            .collect();
        Self {
            numbers,
            blocks,
            places,
        }
    }

    /// Numbers from 1 on, each group in blocks of its own; `None` if there are more classes than numbers.
    pub(crate) fn compact(ports: &Ports) -> Option<Self> {
        let mut numbers = vec![abi::PortClass::NONE; ports.classes.len()];
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_by_key(|at| ports.classes[*at].group);
        let mut free = FreeNumbers::from_block(0);
        let mut group = 0;
        for at in order {
            let class: &PortClass = &ports.classes[at];
            if class.group != group {
                group = class.group;
                free.skip_to_block();
            }
            numbers[at] = free.take()?;
        }
        Some(Self::new(numbers))
    }

    /// The number of the class at a position.
    pub fn number(&self, position: usize) -> abi::PortClass {
        self.numbers[position]
    }

    /// The blocks in use, ascending.
    pub fn blocks(&self) -> &[u32] {
        &self.blocks
    }
}

/// Hands out numbers in ascending order.
struct FreeNumbers {
    next: u32,
}

impl FreeNumbers {
    /// Number 0 means "no class" and is never handed out.
    fn from_block(block: u32) -> Self {
        Self {
            next: (block << 6).max(1),
        }
    }

    fn skip_to_block(&mut self) {
        if self.next > 1 {
            self.next = self.next.next_multiple_of(64);
        }
    }

    fn take(&mut self) -> Option<abi::PortClass> {
        if self.next > LAST_NUMBER {
            return None;
        }
        let number = u16::try_from(self.next).ok()?;
        self.next += 1;
        Some(abi::PortClass(number))
    }
}
