//! What controller and agents say to each other, and the bytes it travels in.
//!
//! The typed messages ([`FromAgent`], [`FromController`]) are all that other rooms see; [`proto`] is generated. Every
//! conversion from bytes is total and checked: what is missing, too long or not understood is a [`Malformed`] that
//! names the field, and never becomes a default.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod assembly;
pub mod certificate;
mod delta;
mod field;
mod frontier;
pub mod limits;
mod message;
mod report;

/// Generated from `proto/bulkhead.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod proto {
    tonic::include_proto!("bulkhead.wire.v1");
}

pub use assembly::{Assembly, AssemblyError, Header, Revision};
pub use delta::{decode_delta, encode_delta};
pub use field::Malformed;
pub use frontier::Frontier;
pub use message::{Answer, FromAgent, FromController};
pub use report::{Ack, Denied, Hello, Limits, Refusal, Refused, Unprotected};
