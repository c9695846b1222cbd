//! The node agent: applies node graphs to the kernel and reads them back.
//!
//! `lanes` and `reconcile` decide purely what to write, `kernel` is what it is written into, `interfaces` finds whose link is
//! whose, and `enforce` is the one thread in which they meet. `stream`, `http` and `run` are the shell.

pub mod checks;
pub mod clock;
pub mod dump;
pub mod enforce;
pub mod events;
pub mod http;
pub mod interfaces;
pub mod kernel;
pub mod keys;
pub mod lanes;
pub mod metrics;
mod reason;
pub mod reconcile;
pub mod remove;
pub mod run;
pub mod settings;
pub mod store;
pub mod stream;
pub mod talks;
