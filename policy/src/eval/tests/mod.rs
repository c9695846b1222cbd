//! Each sentence of the semantics as a small world and a flow.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod address;
mod audit;
mod cluster_tier;
mod fixture;
mod namespace_tier;
mod peers;
mod ports;
mod provenance;
mod quarantine;
mod room;
mod segment;
mod service;
mod side;
mod time;
mod unknown;
