//! Worlds to judge: small random ones in which everything collides, and the large regular ones of the benchmarks.
//!
//! Both come from seeds alone. Small worlds draw from a handful of names, addresses and ports, so that selectors
//! overlap, addresses are contested and references lead nowhere in most of them; they shrink by leaving objects out.

mod cluster;
mod policy;
pub mod rows;
pub mod search;
mod selector;
mod small;
pub mod vocabulary;

pub use small::{SmallWorld, history, small_world};
