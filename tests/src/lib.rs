//! Test harness (worlds, packets, network namespaces) and the rungs of the ladder.

pub mod cluster;
