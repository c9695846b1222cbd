//! Rung 6 of the ladder: real packets between network namespaces.
//!
//! Whatever is asserted about traffic was found out by client and server processes in the namespaces, never read from the
//! compiler. Needs root; the programs of the product have to be built (`cargo xtask test net` does it).
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "net/adoption.rs"]
mod adoption;
#[path = "net/audit.rs"]
mod audit;
#[path = "net/continuity.rs"]
mod continuity;
#[path = "net/controller_metrics.rs"]
mod controller_metrics;
#[path = "net/deadline.rs"]
mod deadline;
#[path = "net/demo.rs"]
mod demo;
#[path = "net/false_controller.rs"]
mod false_controller;
#[path = "net/floods.rs"]
mod floods;
#[path = "net/full_map.rs"]
mod full_map;
#[path = "net/granted.rs"]
mod granted;
#[path = "net/guarded.rs"]
mod guarded;
#[path = "net/host.rs"]
mod host;
#[path = "net/identity.rs"]
mod identity;
#[path = "net/lab.rs"]
mod lab;
#[path = "net/random_revocations.rs"]
mod random_revocations;
#[path = "net/removal.rs"]
mod removal;
#[path = "net/renewal.rs"]
mod renewal;
#[path = "net/restored.rs"]
mod restored;
#[path = "net/revocation.rs"]
mod revocation;
#[path = "net/scan.rs"]
mod scan;
#[path = "net/services.rs"]
mod services;
#[path = "net/spoofing.rs"]
mod spoofing;
#[path = "net/staleness.rs"]
mod staleness;
#[path = "net/status.rs"]
mod status;
