//! Where a test of the kernel rung is alone: a network and a bpf file system that end with its thread.

use std::path::{Path, PathBuf};
use std::process::Command;

use bulkhead_agent::kernel::Options;
use bulkhead_datapath::abi::Capacity;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Runs a test in a thread of its own, and passes its panic on.
pub(crate) fn alone(test: impl FnOnce() + Send + 'static) {
    if let Err(panic) = std::thread::spawn(test).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Changes links of this thread's network.
pub(crate) fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).status().unwrap();
    assert!(done.success(), "ip {}", arguments.join(" "));
}

/// A bpf file system and a network of the test's own; both end with its thread.
pub(crate) struct Place {
    pins: PathBuf,
}

impl Place {
    /// In this thread: what it starts is in it, too.
    pub(crate) fn new(name: &str) -> Self {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .expect("kernel tests need root");
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_PRIVATE | MsFlags::MS_REC,
            None::<&str>,
        )
        .unwrap();
        let pins = std::env::temp_dir().join(format!("bulkhead-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&pins).unwrap();
        mount(
            Some("bpf"),
            &pins,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .expect("a bpf file system");
        ip(&["link", "set", "lo", "up"]);
        Self { pins }
    }

    /// For tables of a test's own sizes, pinned here.
    pub(crate) fn options(&self, capacity: Capacity) -> Options {
        Options {
            pins: Some(self.pins.clone()),
            capacity,
        }
    }

    /// Where.
    pub(crate) fn pins(&self) -> &Path {
        &self.pins
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // In a mount namespace of its own; only the empty folder is outside.
        let _ = umount2(&self.pins, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_dir(&self.pins);
    }
}
