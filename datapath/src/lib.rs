//! What host and kernel share: the layout of the kernel's tables, the packet parser, the decision function and the
//! flow state machine.
//!
//! Pure and `no_std`: no clock, no randomness, no IO, no global state (I1). The same code runs in host tests and in
//! the eBPF programs (I3); whatever differs between them lies behind [`Bytes`](parse::Bytes) and
//! [`Tables`](tables::Tables).
#![cfg_attr(not(any(test, feature = "memory")), no_std)]
#![warn(missing_docs)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        reason = "a test that cannot go on should say where"
    )
)]

pub mod abi;
pub mod flow;
#[cfg(any(test, feature = "memory"))]
pub mod frame;
#[cfg(any(test, feature = "memory"))]
pub mod memory;
pub mod parse;
pub mod tables;
pub mod verdict;
