//! Where intent comes from: a folder of manifests, or the Kubernetes API. Both end in [`Update`]s.
//!
//! Invariant: an unreadable new version of an object never replaces a good one, and what is wrong with one object never
//! delays another. An update is a step from one whole state of the inputs to the next; it is never a half-read one.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod boot_time;
pub mod folder;
mod freshness;
pub mod index;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod names;
pub mod review;
mod update;

pub use boot_time::BootTime;
pub use bulkhead_crds::manifest::{Problem, Severity};
pub use freshness::Freshness;
pub use update::{ObjectVersion, Update};
