//! Test harness (worlds, packets, network namespaces) and the rungs of the ladder.
#![forbid(unsafe_code)]

pub mod bench;
pub mod cluster;
pub mod demo;
pub mod lab;
pub mod packets;
pub mod tuples;
pub mod worlds;
