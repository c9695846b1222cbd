//! The topmost rung of the ladder: a real Kubernetes with real pods.
//!
//! Needs root, Go and the Debian packages of `cargo xtask setup`; without them the tests fail and say so. Every story has
//! a cluster of its own name, and one cluster at a time is enough for the machine.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster_network_policy;
mod definitions;
mod harness;
mod segmentation;
mod segments_in_use;
mod story;
mod upstream;

use std::sync::{Mutex, MutexGuard, PoisonError};

static MACHINE: Mutex<()> = Mutex::new(());

/// Held by a story as long as its cluster runs.
fn machine() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}
