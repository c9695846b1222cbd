//! Intent from a folder of manifests, watched for changes.
//!
//! Invariant: an update leaves only after its number is on disk, so that no number is ever used twice, also over a
//! restart. Nobody waits in a queue here: while the receiver is busy, later changes gather in the folder itself.

mod files;
mod state;
mod watch;

pub use files::{FileError, read_paths};
pub use state::StateError;
pub use watch::{FolderConfig, FolderError, watch};
