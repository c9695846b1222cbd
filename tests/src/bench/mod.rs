//! Benchmarks: figures beside their targets, taken once in one process each, so that time and peak are of that work alone.
//!
//! Of several runs the smallest figure counts: the others tell about the machine.
//!
//! Nothing here fails for being slow: the machine is noisy, and a gate would be a timed test.

pub mod apply;
pub mod compile;
pub mod datapath;
pub mod event;
pub mod measure;
pub mod memory;
mod node;
pub mod programs;
pub mod report;
pub mod restart;
pub mod rules;
