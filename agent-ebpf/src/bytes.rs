//! The packet's bytes by direct access.
//!
//! Headers are pulled into the linear part before its limits are taken. Each read is bounded by a constant, moved to
//! in one instruction, compared with the end, and made through the pointer that was compared.

use crate::machine::{load16, load32, moved};
use aya_ebpf::helpers::bpf_skb_pull_data;
use aya_ebpf::programs::TcContext;
use bulkhead_datapath::parse::{Bytes, HEADER_LIMIT, Window};

/// The linear part of a packet.
pub(crate) struct Linear {
    start: usize,
    end: usize,
    length: u32,
}

impl Linear {
    /// Makes the headers linear. What could not be pulled is missing to the parser, which then drops.
    #[inline(always)]
    pub(crate) fn pull(context: &TcContext) -> Self {
        let length = context.len();
        let wanted = if length < HEADER_LIMIT {
            length
        } else {
            HEADER_LIMIT
        };
        if context.data() + wanted as usize > context.data_end() {
            // SAFETY: the context is valid; pointers into the packet are taken below, after this.
            let _ = unsafe { bpf_skb_pull_data(context.skb.skb, wanted) };
        }
        Self {
            start: context.data(),
            end: context.data_end(),
            length,
        }
    }
}

impl Bytes for Linear {
    type Window<'a> = Checked;

    #[inline(always)]
    fn length(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    fn window<const N: usize>(&self, offset: u32) -> Option<Checked> {
        if offset > HEADER_LIMIT - N as u32 {
            return None;
        }
        let at = moved(self.start, u64::from(offset));
        if at + N > self.end {
            return None;
        }
        Some(Checked(at))
    }
}

/// A pointer into the packet that was compared with its end. It may be unaligned, which Rust's own reads must not be.
pub(crate) struct Checked(usize);

impl Window for Checked {
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        // SAFETY: inside the window, which lies inside the packet.
        unsafe { *((self.0 + at) as *const u8) }
    }

    #[inline(always)]
    fn wire16(&self, at: usize) -> u16 {
        // SAFETY: as above.
        unsafe { load16(self.0 + at) as u16 }
    }

    #[inline(always)]
    fn wire32(&self, at: usize) -> u32 {
        // SAFETY: as above.
        unsafe { load32(self.0 + at) as u32 }
    }
}
