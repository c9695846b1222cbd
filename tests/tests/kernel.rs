//! The programs in a real kernel: what the verifier makes of them, and whether they judge as the host does.
//!
//! Needs root and a kernel with TCX (6.6); says so where that is missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]

#[path = "kernel/acks.rs"]
mod acks;
#[path = "kernel/answers.rs"]
mod answers;
#[path = "kernel/atomic.rs"]
mod atomic;
#[path = "kernel/budget.rs"]
mod budget;
#[path = "kernel/capacity.rs"]
mod capacity;
#[path = "kernel/diagnostics.rs"]
mod diagnostics;
#[path = "kernel/flips.rs"]
mod flips;
#[path = "kernel/node.rs"]
mod node;
#[path = "kernel/nonlinear.rs"]
mod nonlinear;
#[path = "kernel/pins.rs"]
mod pins;
#[path = "kernel/place.rs"]
mod place;
#[path = "kernel/policies.rs"]
mod policies;
#[path = "kernel/replaced.rs"]
mod replaced;
#[path = "kernel/restart.rs"]
mod restart;
#[path = "kernel/shares.rs"]
mod shares;
#[path = "kernel/thread.rs"]
mod thread;
#[path = "kernel/verdict.rs"]
mod verdict;
#[path = "../../encode/tests/world/mod.rs"]
mod world;

use bulkhead_agent::kernel::{Kernel, Options};

/// Loads the programs, or says what this machine lacks.
fn kernel(options: &Options) -> Kernel {
    Kernel::open(options)
        .unwrap_or_else(|error| panic!("kernel tests need root, and the programs built: {error}"))
}
