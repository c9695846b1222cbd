//! Worlds to judge: small random ones in which everything collides, and the large regular ones of the benchmarks.
//!
//! Both come from seeds alone. Small worlds draw from a handful of names, addresses and ports, so that selectors
//! overlap, addresses are contested and references lead nowhere in most of them; they shrink by leaving objects out.
//! Tiny ones are counted through, large random ones are sampled.

mod cluster;
mod large;
mod policy;
pub mod rows;
pub mod search;
mod selector;
mod small;
mod sorted;
mod tiny;
pub mod vocabulary;

pub use large::{addresses_of, large_world};
pub use small::{SmallWorld, crowded_world, history, history_of, small_world};
pub use tiny::{tiny_addresses, tiny_world, tiny_worlds};
