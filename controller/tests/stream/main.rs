//! The stream between a controller and agents over real TLS on loopback, without kernels: who gets what, and who does not.
#![allow(clippy::unwrap_used, reason = "tests")]

mod agent;
mod connections;
mod controller;
mod http;
mod keys;
mod names;
mod revisions;
