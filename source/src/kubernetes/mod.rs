//! Intent from the Kubernetes API: one streaming watch for each kind, all into one store.
//!
//! Invariant: a kind is replaced as a whole or changed object by object; a half-read list is never visible. The first
//! update comes when every kind has been read once. A version is that of the last list, event or bookmark that was
//! seen, and never `0`, which would mean *whatever a replica happens to have*.

mod follow;
mod pulse;
mod reason;
mod resources;
mod store;
mod watch;

pub use reason::reason_of;
pub use watch::{KubernetesError, watch};
