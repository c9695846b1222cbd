//! Why the kernel could not be led to a graph.

use thiserror::Error;

use crate::kernel::KernelError;
use crate::lanes::{CommitError, PlanError};

/// Why the kernel could not be led to a graph.
#[derive(Debug, Error)]
pub enum EnforceError {
    /// Old and new revision do not fit beside each other.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A write, a wait or the read-back failed.
    #[error(transparent)]
    Commit(#[from] CommitError<KernelError>),
    /// Something beside the tables.
    #[error(transparent)]
    Kernel(KernelError),
}

impl From<KernelError> for EnforceError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use aya::maps::MapError;
    use aya::sys::SyscallError;
    use bulkhead_datapath::abi::MapName;

    use super::*;

    #[test]
    fn the_systems_reason_is_told_once_with_and_without_the_causes() {
        let refused = || io::Error::from_raw_os_error(libc::EPERM);
        let call = KernelError::Call {
            call: "membarrier",
            reason: refused(),
        };
        let map = KernelError::Map {
            map: MapName::Peers,
            reason: Box::new(MapError::SyscallError(SyscallError {
                call: "bpf_map_lookup_elem",
                io_error: refused(),
            })),
        };
        for (error, expected) in [
            (
                CommitError::Grace(call),
                "waiting for packets under way failed: membarrier",
            ),
            (
                CommitError::ReadBack(map),
                "reading back failed: map PEERS: `bpf_map_lookup_elem` failed",
            ),
        ] {
            let error = EnforceError::from(error);
            let expected = format!("{expected}: {}", refused());
            assert_eq!(error.to_string(), expected);
            assert_eq!(format!("{:#}", anyhow::Error::new(error)), expected);
        }
    }
}
