//! The two programs on a workload's interface, and the only place where a reason becomes an action (I4).
//!
//! Everything is decided in `bulkhead-datapath`; here are the packet's bytes, the maps, and the way in and out. The
//! crate also compiles on the host, so that `check` needs no BPF toolchain, but nothing in it can run there.
//!
//! Licence: Apache-2.0 like the rest, and GPL-2.0 for what is loaded into the kernel.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![allow(
    unsafe_code,
    reason = "packet bytes and map values are raw memory; the verifier checks each access"
)]

mod bench;
mod bytes;
mod clock;
mod diagnose;
mod machine;
mod maps;
mod tables;

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use bulkhead_datapath::abi::{Hook, Reason};
use bulkhead_datapath::verdict::{Arrival, Socket, Tag, process};

// `inline(always)`, because what the macro makes of a program else calls it, and each return costs.

/// A packet that a workload sends.
#[classifier]
#[inline(always)]
pub(crate) fn from_workload(context: TcContext) -> i32 {
    enter(&context, Hook::FromWorkload)
}

/// A packet that a workload is about to receive.
#[classifier]
#[inline(always)]
pub(crate) fn to_workload(context: TcContext) -> i32 {
    enter(&context, Hook::ToWorkload)
}

#[inline(always)]
fn enter(context: &TcContext, hook: Hook) -> i32 {
    let reason = match maps::scratch(hook) {
        Some(scratch) => {
            let bytes = bytes::Linear::pull(context);
            process(&tables::Maps, &bytes, &arrival(context, hook), scratch)
        }
        None => Reason::Internal as u8,
    };
    note(context, reason);
    if Reason::number_passes(reason) {
        // Not "accept": other programs on the hook have their say too.
        TC_ACT_UNSPEC
    } else {
        if reason == Reason::Internal as u8 {
            diagnose::internal(arrival(context, hook).ifindex, hook as u32);
        }
        TC_ACT_SHOT
    }
}

#[inline(always)]
fn arrival(context: &TcContext, hook: Hook) -> Arrival {
    let skb = context.skb.skb;
    // SAFETY: the context is valid for the program's run; the verifier allows exactly these fields.
    let (ifindex, ingress_ifindex, socket, tagged) = unsafe {
        (
            (*skb).ifindex,
            (*skb).ingress_ifindex,
            (*skb).__bindgen_anon_2.sk,
            (*skb).vlan_present,
        )
    };
    let socket = if socket.is_null() {
        Socket::None
    } else {
        Socket::Some
    };
    Arrival {
        hook,
        ifindex,
        ingress_ifindex,
        socket,
        tag: if tagged == 0 { Tag::None } else { Tag::Some },
    }
}

/// Leaves the reason with the packet, where a test-run can read it.
#[inline(always)]
fn note(context: &TcContext, reason: u8) {
    // SAFETY: the context is valid, and `cb` is the programs' own scratch space.
    unsafe { (*context.skb.skb).cb[4] = u32::from(reason) };
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers that only GPL programs may call need this.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";

/// On the host there is nothing to run.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
