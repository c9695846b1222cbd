//! Plain data: values that may be copied to and from a map byte for byte.

/// A type whose every byte is data: no padding, no pointers, any bit pattern valid.
///
/// # Safety
/// The type is `#[repr(C)]` or transparent, has no padding bytes and accepts every bit pattern.
pub unsafe trait Plain: Copy + 'static {
    /// The value as the bytes that the kernel sees.
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: `Plain` promises that all `size_of::<Self>()` bytes are initialised data.
        unsafe {
            core::slice::from_raw_parts(core::ptr::from_ref(self).cast::<u8>(), size_of::<Self>())
        }
    }

    /// Reads a value back; `None` when the length is not exactly the size of the type.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: the length matches, `read_unaligned` needs no alignment, every bit pattern is valid.
        Some(unsafe { core::ptr::read_unaligned(bytes.as_ptr().cast::<Self>()) })
    }

    /// The value with every byte zero: what an array element holds before anything was written.
    fn zeroed() -> Self {
        // SAFETY: every bit pattern is valid, so all zeroes are.
        unsafe { core::mem::zeroed() }
    }
}

// SAFETY: integers have no padding and accept every bit pattern.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}

/// Declares plain types together with the size and alignment that both sides of the ABI rely on.
macro_rules! plain {
    ($($type:ty: $size:literal, align $align:literal;)+) => {$(
        const _: () = assert!(size_of::<$type>() == $size && align_of::<$type>() == $align);
        // SAFETY: `repr(C)`/transparent over integers; the asserted size is the sum of the fields (checked at each use).
        unsafe impl $crate::abi::Plain for $type {}
    )+};
}
pub(super) use plain;
