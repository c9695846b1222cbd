//! The controller: intent in, node graphs out, status back.
//!
//! `intent` owns the compiler, `names` puts addresses behind names before it, `board` holds each node's newest graph, `publish` decides what an agent gets next and
//! `status` what its answers mean for every object; both are pure. `server`, `http` and `run` are the shell around them.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod api;
pub mod board;
pub mod clock;
pub mod http;
pub mod intent;
pub mod keys;
pub mod metrics;
mod names;
mod oversize;
pub mod publish;
pub mod rule;
pub mod run;
pub mod server;
pub mod settings;
pub mod status;
pub mod tls;
