//! The agent's only unsafe code: arrays mapped into memory, and system calls that no library offers.
//!
//! The programs read a mapped array at the same moment; so everything is read and written in aligned words, and what
//! must be seen after something else is stored with release order.
#![allow(
    unsafe_code,
    reason = "shared memory with the kernel and raw system calls; nowhere else in the agent"
)]

use super::KernelError;
use bulkhead_datapath::abi::{
    Generation, Lane, Lanes, NetworkValue, NodeValue, PORTS_PER_TABLE, PeerLane, PeerValue, Plain,
    PortClass, PortValue, WorkloadLane, WorkloadValue,
};
use std::io;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Plain data as aya's maps want it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raw<T>(pub(crate) T);

// SAFETY: `Plain` makes the same promise (no padding, any bit pattern), and the wrapper is transparent.
unsafe impl<T: Plain> aya::Pod for Raw<T> {}

/// An array map in this process's memory.
#[derive(Debug)]
pub struct Mapped<T> {
    base: NonNull<u8>,
    bytes: usize,
    stride: usize,
    length: u32,
    _values: PhantomData<T>,
}

// SAFETY: the mapping belongs to this value alone, and all access is by atomic words.
unsafe impl<T: Send> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Mapped<T> {}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` got from mmap.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

impl<T: Plain> Mapped<T> {
    /// Maps an array of `length` elements that was created with `BPF_F_MMAPABLE`.
    pub(crate) fn map(fd: BorrowedFd<'_>, length: u32) -> Result<Self, KernelError> {
        // The kernel pads elements to eight bytes and the whole to pages.
        let stride = size_of::<T>().next_multiple_of(8);
        // SAFETY: asks for a number.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let bytes = (stride * length as usize).next_multiple_of(page);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of a live file descriptor; the result is checked.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(KernelError::Call {
                call: "mmap of an array map",
                reason: io::Error::last_os_error(),
            });
        }
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(|| KernelError::Call {
            call: "mmap of an array map",
            reason: io::ErrorKind::AddrInUse.into(),
        })?;
        Ok(Self {
            base,
            bytes,
            stride,
            length,
            _values: PhantomData,
        })
    }

    /// How many elements there are.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Reads an element, word by word; `None` beyond the end.
    pub fn read(&self, index: u32) -> Option<T> {
        let mut bytes = vec![0_u8; size_of::<T>()];
        for (at, chunk) in bytes.chunks_mut(4).enumerate() {
            let word = self.word32(index, at * 4)?.load(Ordering::Relaxed);
            chunk.copy_from_slice(&word.to_ne_bytes()[..chunk.len()]);
        }
        T::from_bytes(&bytes)
    }

    /// Writes an element that no packet reads yet, word by word; says whether there is one.
    pub fn write(&self, index: u32, value: &T) -> bool {
        self.write_at(index, 0, value.as_bytes())
    }

    /// Makes an element what it was before anything was written.
    pub fn write_zero(&self, index: u32) {
        for offset in (0..self.stride).step_by(4) {
            if let Some(word) = self.word32(index, offset)
                && word.load(Ordering::Relaxed) != 0
            {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Writes words inside an element, and only those that differ.
    fn write_at(&self, index: u32, offset: usize, bytes: &[u8]) -> bool {
        for (at, chunk) in bytes.chunks_exact(4).enumerate() {
            let Some(word) = self.word32(index, offset + at * 4) else {
                return false;
            };
            let value = u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
            if word.load(Ordering::Relaxed) != value {
                word.store(value, Ordering::Relaxed);
            }
        }
        true
    }

    fn word32(&self, index: u32, offset: usize) -> Option<&AtomicU32> {
        // SAFETY: `place` has checked bounds and alignment; the mapping lives as long as `self`.
        self.place(index, offset, 4)
            .map(|place| unsafe { AtomicU32::from_ptr(place.cast()) })
    }

    fn word64(&self, index: u32, offset: usize) -> Option<&AtomicU64> {
        // SAFETY: as above.
        self.place(index, offset, 8)
            .map(|place| unsafe { AtomicU64::from_ptr(place.cast()) })
    }

    fn word16(&self, index: u32, offset: usize) -> Option<&AtomicU16> {
        // SAFETY: as above.
        self.place(index, offset, 2)
            .map(|place| unsafe { AtomicU16::from_ptr(place.cast()) })
    }

    fn place(&self, index: u32, offset: usize, size: usize) -> Option<*mut u8> {
        if index >= self.length || offset + size > self.stride || !offset.is_multiple_of(size) {
            return None;
        }
        // SAFETY: inside the mapping, as just checked.
        Some(unsafe {
            self.base
                .as_ptr()
                .add(index as usize * self.stride + offset)
        })
    }
}

impl Mapped<NodeValue> {
    /// The generation that packets are judged by.
    pub fn generation(&self) -> Generation {
        let word = self.word64(0, offset_of!(NodeValue, generation));
        Generation(word.map_or(0, |word| word.load(Ordering::Acquire)))
    }

    /// Changes the node's revision: one store, after everything that was written before it (I6).
    pub fn flip(&self, generation: Generation) {
        if let Some(word) = self.word64(0, offset_of!(NodeValue, generation)) {
            word.store(generation.0, Ordering::Release);
        }
    }

    /// Replaces everything but the generation: limits and switches.
    pub fn write_limits(&self, value: &NodeValue) {
        let from = offset_of!(NodeValue, generation) + size_of::<Generation>();
        self.write_at(0, from, &value.as_bytes()[from..]);
    }
}

/// Values with two lanes.
pub trait Laned: Plain {
    /// What a lane holds.
    type Lane: Plain;
    /// Where the lanes begin.
    const OFFSET: usize;
}

impl Laned for WorkloadValue {
    type Lane = WorkloadLane;
    const OFFSET: usize = offset_of!(WorkloadValue, lanes);
}

impl Laned for PeerValue {
    type Lane = PeerLane;
    const OFFSET: usize = offset_of!(PeerValue, lanes);
}

impl Laned for NetworkValue {
    type Lane = bulkhead_datapath::abi::Class;
    const OFFSET: usize = offset_of!(NetworkValue, lanes);
}

impl<T: Laned> Mapped<T> {
    /// Writes one lane of an element; says whether there is one. Meant for the idle lane.
    pub fn write_lane(&self, index: u32, lane: Lane, value: &T::Lane) -> bool {
        const { assert!(size_of::<Lanes<T::Lane>>() == 2 * size_of::<T::Lane>()) };
        self.write_at(
            index,
            T::OFFSET + lane.index() * size_of::<T::Lane>(),
            value.as_bytes(),
        )
    }
}

impl Mapped<PortValue> {
    /// Reads one lane of a table.
    pub fn read_lane(&self, table: u32, lane: Lane) -> Option<Vec<PortClass>> {
        let mut classes = Vec::with_capacity(PORTS_PER_TABLE);
        for number in 0..=u16::MAX {
            let word = self.word16(table, PortValue::offset(lane, number))?;
            classes.push(PortClass(word.load(Ordering::Relaxed)));
        }
        Some(classes)
    }

    /// Gives a run of numbers their class in one lane; says whether there is such a table.
    pub fn write_run(
        &self,
        table: u32,
        lane: Lane,
        numbers: std::ops::RangeInclusive<u16>,
        class: PortClass,
    ) -> bool {
        for number in numbers {
            let Some(word) = self.word16(table, PortValue::offset(lane, number)) else {
                return false;
            };
            if word.load(Ordering::Relaxed) != class.0 {
                word.store(class.0, Ordering::Relaxed);
            }
        }
        true
    }

    /// Whether every number of a run has this class in one lane.
    pub fn holds_run(
        &self,
        table: u32,
        lane: Lane,
        mut numbers: std::ops::RangeInclusive<u16>,
        class: PortClass,
    ) -> bool {
        numbers.all(|number| {
            let word = self.word16(table, PortValue::offset(lane, number));
            word.is_some_and(|word| word.load(Ordering::Relaxed) == class.0)
        })
    }

    /// Writes one lane of a table, only where it differs; returns how many numbers did, `None` if there is no such table.
    pub fn write_table(&self, table: u32, lane: Lane, classes: &[PortClass]) -> Option<usize> {
        let mut written = 0;
        for (number, class) in (0..=u16::MAX).zip(classes) {
            let word = self.word16(table, PortValue::offset(lane, number))?;
            if word.load(Ordering::Relaxed) != class.0 {
                word.store(class.0, Ordering::Relaxed);
                written += 1;
            }
        }
        Some(written)
    }
}

impl Mapped<u64> {
    /// Replaces one word; says whether there is one.
    pub fn store(&self, index: u32, value: u64) -> bool {
        self.word64(index, 0)
            .map(|word| word.store(value, Ordering::Release))
            .is_some()
    }
}

impl Mapped<bulkhead_datapath::abi::AllowanceValue> {
    /// Takes `count` off the word at `offset`, modulo 2⁶⁴; the programs may be adding to it at the same moment.
    pub fn release(&self, index: u32, offset: usize, count: u64) {
        if let Some(word) = self.word64(index, offset) {
            word.fetch_sub(count, Ordering::Relaxed);
        }
    }
}

/// `membarrier`'s commands; it takes no pointers.
const MEMBARRIER_QUERY: libc::c_int = 0;
const MEMBARRIER_GLOBAL: libc::c_int = 1;

/// Whether the kernel offers the barrier that waits for an RCU grace period. It does not where it is booted with `nohz_full=`.
pub(super) fn offers_membarrier() -> bool {
    // SAFETY: a system call without memory arguments.
    let offered = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_QUERY, 0, 0) };
    offered > 0 && offered & libc::c_long::from(MEMBARRIER_GLOBAL) != 0
}

/// Waits for an RCU grace period.
pub(super) fn membarrier() -> Result<(), KernelError> {
    // SAFETY: a system call without memory arguments.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_GLOBAL, 0, 0) };
    if result == 0 {
        return Ok(());
    }
    Err(KernelError::Call {
        call: "membarrier",
        reason: io::Error::last_os_error(),
    })
}

/// An array of one map, which holds an array of one number. No program uses it; replacing what it holds waits for all of them.
#[derive(Debug)]
pub(super) struct MapOfMaps {
    outer: OwnedFd,
    inner: OwnedFd,
}

/// The beginning of the kernel's `union bpf_attr` for creating a map; the rest is zero.
#[repr(C)]
struct CreateMap {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// The same for setting an element.
#[repr(C)]
struct SetElement {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const ARRAY: u32 = 2;
const ARRAY_OF_MAPS: u32 = 12;

fn bpf<T>(
    call: &'static str,
    command: libc::c_int,
    attributes: &T,
) -> Result<libc::c_long, KernelError> {
    // SAFETY: the kernel reads so many bytes of a live value, and what its pointers lead to, before the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        let reason = io::Error::last_os_error();
        return Err(KernelError::Call { call, reason });
    }
    Ok(result)
}

fn create_map(map_type: u32, inner_map_fd: u32) -> Result<OwnedFd, KernelError> {
    let attributes = CreateMap {
        map_type,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        map_flags: 0,
        inner_map_fd,
    };
    let fd = bpf("creating a map of maps", BPF_MAP_CREATE, &attributes)?;
    let fd = libc::c_int::try_from(fd).map_err(|_| KernelError::Missing("file descriptor"))?;
    // SAFETY: the kernel has just made it for us, closed on exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl MapOfMaps {
    pub(super) fn new() -> Result<Self, KernelError> {
        let inner = create_map(ARRAY, 0)?;
        let outer = create_map(ARRAY_OF_MAPS, number(&inner))?;
        Ok(Self { outer, inner })
    }

    /// Puts the inner map in once more. The kernel returns when programs that could have seen what was there are through.
    pub(super) fn replace(&self) -> Result<(), KernelError> {
        let (key, value) = (0_u32, number(&self.inner));
        let attributes = SetElement {
            map_fd: number(&self.outer),
            padding: 0,
            key: std::ptr::from_ref(&key) as u64,
            value: std::ptr::from_ref(&value) as u64,
            flags: 0,
        };
        bpf("replacing an inner map", BPF_MAP_UPDATE_ELEM, &attributes).map(drop)
    }
}

/// A file descriptor as the kernel's structures hold it.
fn number(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}
