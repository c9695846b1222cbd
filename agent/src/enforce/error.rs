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
    #[error("{}", with_source(.0))]
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

fn with_source(error: &CommitError<KernelError>) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
