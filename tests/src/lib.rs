//! Test harness (worlds, packets, network namespaces) and the rungs of the ladder.

pub mod cluster;
pub mod demo;
pub mod lab;
pub mod worlds;
