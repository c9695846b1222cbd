//! Rung 6 of the ladder: real packets between network namespaces.
//!
//! Whatever is asserted about traffic was found out by client and server processes in the namespaces, never read from the
//! compiler. Needs root; the programs of the product have to be built (`cargo xtask test net` does it).
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "net/lab.rs"]
mod lab;
