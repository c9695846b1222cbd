//! What the kernel knows about the programs: identity, size, work of the verifier, runs.

use super::{Kernel, KernelError};
use bulkhead_datapath::abi::Hook;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// One program as the kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStatistics {
    /// Which.
    pub hook: Hook,
    /// The kernel's number for it.
    pub id: u32,
    /// A hash of its instructions.
    pub tag: u64,
    /// Instructions that the verifier walked; bounded by a test.
    pub verified_instructions: Option<u32>,
    /// Bytes of the translated program.
    pub translated_bytes: Option<u32>,
    /// Runs since [`StatisticsSwitch`] is on.
    pub run_count: u64,
    /// Time of those runs.
    pub run_time: Duration,
}

/// The kernel counts runs while one of these lives. (It costs each run 20 to 40 ns.)
#[derive(Debug)]
pub struct StatisticsSwitch(#[allow(dead_code, reason = "closing it is what matters")] OwnedFd);

impl StatisticsSwitch {
    /// Begins counting.
    pub fn on() -> Result<Self, KernelError> {
        let fd = aya::sys::enable_stats(aya::sys::Stats::RunTime).map_err(|error| {
            KernelError::Call {
                call: error.call,
                source: error.io_error,
            }
        })?;
        Ok(Self(fd))
    }
}

impl Kernel {
    /// Both programs.
    pub fn statistics(&self) -> Result<[ProgramStatistics; 2], KernelError> {
        Ok([
            self.program_statistics(Hook::FromWorkload)?,
            self.program_statistics(Hook::ToWorkload)?,
        ])
    }

    fn program_statistics(&self, hook: Hook) -> Result<ProgramStatistics, KernelError> {
        let failed = |source| KernelError::Program {
            program: hook.name(),
            source: Box::new(source),
        };
        let info = self.program(hook)?.info().map_err(failed)?;
        Ok(ProgramStatistics {
            hook,
            id: info.id(),
            tag: info.tag(),
            verified_instructions: info.verified_instruction_count(),
            translated_bytes: info.size_translated(),
            run_count: info.run_count(),
            run_time: info.run_time(),
        })
    }
}
