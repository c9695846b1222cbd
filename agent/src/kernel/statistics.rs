//! What the kernel knows about the programs and their maps: identity, size, work of the verifier, runs, memory.

use super::maps::failed;
use super::{Kernel, KernelError};
use aya::maps::MapInfo;
use bulkhead_datapath::abi::{Hook, MapName};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
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

/// One map as the kernel accounts for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapStatistics {
    /// Which.
    pub map: MapName,
    /// Entries that it has room for (EVENTS: bytes).
    pub capacity: u32,
    /// Memory that the kernel holds for it, used or not.
    pub bytes: u64,
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
                reason: error.io_error,
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
        let failed = |reason| KernelError::Program {
            program: hook.name(),
            reason: Box::new(reason),
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

    /// Every map that the programs use and the ABI names.
    pub fn map_statistics(&self) -> Result<Vec<MapStatistics>, KernelError> {
        let mut ids = BTreeSet::new();
        for hook in Hook::ALL {
            let failed = |reason| KernelError::Program {
                program: hook.name(),
                reason: Box::new(reason),
            };
            let info = self.program(hook)?.info().map_err(failed)?;
            ids.extend(info.map_ids().map_err(failed)?.unwrap_or_default());
        }
        let mut statistics = Vec::new();
        for id in ids {
            statistics.extend(map_statistics(id)?);
        }
        statistics.sort_by_key(|map| map.map);
        Ok(statistics)
    }
}

/// The map of that number, if it is one of the ABI's.
fn map_statistics(id: u32) -> Result<Option<MapStatistics>, KernelError> {
    let info = MapInfo::from_id(id).map_err(|reason| failed(MapName::Node, reason))?;
    let named = |map: &MapName| info.name_as_str() == Some(map.name());
    let Some(map) = MapName::ALL.into_iter().find(named) else {
        return Ok(None);
    };
    let fd = info.fd().map_err(|reason| failed(map, reason))?;
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let call = "reading a map's fdinfo";
    let text =
        std::fs::read_to_string(path).map_err(|reason| KernelError::Call { call, reason })?;
    let bytes = memory_of(&text).ok_or_else(|| KernelError::Call {
        call,
        reason: io::ErrorKind::InvalidData.into(),
    })?;
    Ok(Some(MapStatistics {
        map,
        capacity: info.max_entries(),
        bytes,
    }))
}

/// `memlock` of a map's fdinfo: since kernel 6.4 what the map really takes.
fn memory_of(fdinfo: &str) -> Option<u64> {
    let line = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("memlock:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_fdinfo() {
        assert_eq!(
            memory_of("pos:\t0\nmap_type:\t1\nmemlock:\t12582912\nmap_id:\t7\n"),
            Some(12_582_912)
        );
        assert_eq!(memory_of("pos:\t0\n"), None);
    }
}
