//! Instructions that the BPF target has and the compiler does not offer: atomic ones on map values, unaligned loads
//! from the packet, and an addition that stays one.

#[cfg(target_arch = "bpf")]
mod target {
    use core::arch::asm;

    /// `*word += value`, atomically.
    ///
    /// # Safety
    /// `word` points to an aligned word of a map value.
    #[inline(always)]
    pub(crate) unsafe fn add(word: *mut u64, value: u64) {
        // SAFETY: promised by the caller, and checked by the verifier.
        unsafe {
            asm!("lock *(u64 *)({word} + 0) += {value}", word = in(reg) word, value = in(reg) value, options(nostack))
        }
    }

    /// `*word = new` if it was `seen`; returns what it was.
    ///
    /// # Safety
    /// `word` points to an aligned word of a map value.
    #[inline(always)]
    pub(crate) unsafe fn exchange(word: *mut u64, seen: u64, new: u64) -> u64 {
        let before: u64;
        // SAFETY: promised by the caller, and checked by the verifier.
        unsafe {
            asm!("r0 = cmpxchg_64({word} + 0, r0, {new})", word = in(reg) word, new = in(reg) new,
                inout("r0") seen => before, options(nostack));
        }
        before
    }

    /// What lies behind the pointer has to be read again.
    #[inline(always)]
    pub(crate) fn forget<T>(value: &mut T) {
        let pointer = core::ptr::from_mut(value);
        // SAFETY: moves a register to itself; that memory counts as changed is the purpose.
        unsafe { asm!("{0} = {0}", inout(reg) pointer => _, options(nostack)) };
    }

    /// A pointer moved by `offset`, in one instruction: what is compared is then exactly what is read through.
    #[inline(always)]
    pub(crate) fn moved(pointer: usize, offset: u64) -> usize {
        let mut result = pointer;
        // SAFETY: adds two registers.
        unsafe {
            asm!("{0} += {1}", inout(reg) result, in(reg) offset, options(pure, nomem, nostack))
        };
        result
    }

    /// Two bytes at any address.
    ///
    /// # Safety
    /// They lie inside the packet.
    #[inline(always)]
    pub(crate) unsafe fn load16(address: usize) -> u64 {
        let value: u64;
        // SAFETY: promised by the caller, and checked by the verifier.
        unsafe {
            asm!("{0} = *(u16 *)({1} + 0)", out(reg) value, in(reg) address, options(pure, readonly, nostack));
        }
        value
    }

    /// Four bytes at any address.
    ///
    /// # Safety
    /// They lie inside the packet.
    #[inline(always)]
    pub(crate) unsafe fn load32(address: usize) -> u64 {
        let value: u64;
        // SAFETY: promised by the caller, and checked by the verifier.
        unsafe {
            asm!("{0} = *(u32 *)({1} + 0)", out(reg) value, in(reg) address, options(pure, readonly, nostack));
        }
        value
    }
}

#[cfg(not(target_arch = "bpf"))]
mod target {
    use core::sync::atomic::{AtomicU64, Ordering};

    /// As on the target.
    ///
    /// # Safety
    /// `word` points to an aligned, live word.
    pub(crate) unsafe fn add(word: *mut u64, value: u64) {
        // SAFETY: promised by the caller.
        unsafe { AtomicU64::from_ptr(word) }.fetch_add(value, Ordering::Relaxed);
    }

    /// As on the target.
    ///
    /// # Safety
    /// `word` points to an aligned, live word.
    pub(crate) unsafe fn exchange(word: *mut u64, seen: u64, new: u64) -> u64 {
        // SAFETY: promised by the caller.
        let word = unsafe { AtomicU64::from_ptr(word) };
        match word.compare_exchange(seen, new, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(before) | Err(before) => before,
        }
    }

    /// As on the target.
    pub(crate) fn forget<T>(value: &mut T) {
        core::hint::black_box(value);
    }

    /// As on the target.
    pub(crate) fn moved(pointer: usize, offset: u64) -> usize {
        pointer.wrapping_add(offset as usize)
    }

    /// As on the target.
    ///
    /// # Safety
    /// Two readable bytes are there.
    pub(crate) unsafe fn load16(address: usize) -> u64 {
        // SAFETY: promised by the caller.
        u64::from(unsafe { (address as *const u16).read_unaligned() })
    }

    /// As on the target.
    ///
    /// # Safety
    /// Four readable bytes are there.
    pub(crate) unsafe fn load32(address: usize) -> u64 {
        // SAFETY: promised by the caller.
        u64::from(unsafe { (address as *const u32).read_unaligned() })
    }
}

pub(crate) use target::{add, exchange, forget, load16, load32, moved};
