//! Waiting until every packet that a program began to judge before is through.
//!
//! Both programs run inside an RCU read-side critical section (the hooks call them so, and so does a test-run), so what ends an
//! RCU grace period ends them, and orders what they read before what the agent writes afterwards (kernel,
//! `Documentation/RCU/Design/Requirements`, "Memory-Barrier Guarantees"). Two system calls wait for one:
//!
//! - `membarrier(MEMBARRIER_CMD_GLOBAL)` is `synchronize_rcu` and nothing else. A kernel booted with `nohz_full=` refuses it and does
//!   not list it (`membarrier(2)`), because such processors run *user* code for long without a barrier. Programs are not
//!   concerned by that: RCU waits for them there, too.
//! - Updating an element of a map of maps. `bpf(2)` does not come back before programs that could still use the old inner map
//!   are through: `maybe_wait_bpf_programs` in `kernel/bpf/syscall.c` (since 5.0), which is `synchronize_rcu` as well.

use std::fmt;
use std::io;

use super::KernelError;
use super::sys::{self, MapOfMaps};

/// How it is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By `membarrier`.
    Membarrier,
    /// By replacing an inner map.
    MapUpdate,
}

impl Way {
    /// Every way, the cheapest first.
    pub const ALL: [Self; 2] = [Self::Membarrier, Self::MapUpdate];

    /// A stable name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Membarrier => "membarrier",
            Self::MapUpdate => "map_update",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// See the module.
#[derive(Debug)]
pub struct Grace {
    wait: Wait,
}

#[derive(Debug)]
enum Wait {
    Membarrier,
    MapUpdate(MapOfMaps),
}

impl Grace {
    /// The first way that works here. Each is tried once.
    ///
    /// # Errors
    /// If none does: then no revision can ever be confirmed, and the agent must not begin.
    pub fn find() -> Result<Self, KernelError> {
        let first = match Self::by(Way::Membarrier) {
            Ok(grace) => return Ok(grace),
            Err(error) => error,
        };
        Self::by(Way::MapUpdate).map_err(|second| KernelError::NoGracePeriod {
            membarrier: Box::new(first),
            map_update: Box::new(second),
        })
    }

    /// One way, tried once.
    ///
    /// # Errors
    /// If it does not work here.
    pub fn by(way: Way) -> Result<Self, KernelError> {
        let wait = match way {
            Way::Membarrier => {
                if !sys::offers_membarrier() {
                    return Err(KernelError::Call {
                        call: "membarrier",
                        reason: io::ErrorKind::Unsupported.into(),
                    });
                }
                Wait::Membarrier
            }
            Way::MapUpdate => Wait::MapUpdate(MapOfMaps::new()?),
        };
        let grace = Self { wait };
        grace.wait()?;
        Ok(grace)
    }

    /// Which way it is.
    pub const fn way(&self) -> Way {
        match self.wait {
            Wait::Membarrier => Way::Membarrier,
            Wait::MapUpdate(_) => Way::MapUpdate,
        }
    }

    /// Returns when no program runs any more that ran when this was called.
    ///
    /// # Errors
    /// If nobody can say so.
    pub fn wait(&self) -> Result<(), KernelError> {
        match &self.wait {
            Wait::Membarrier => sys::membarrier(),
            Wait::MapUpdate(map) => map.replace(),
        }
    }
}
