//! The Kubernetes face of the policy model: our kinds, the kinds of others that verdicts depend on, and the one
//! conversion that admission, controller, command line and tests share.
//!
//! Invariant: what is converted either means what its author wrote, or less is allowed than that, and then a
//! [`Fault`](bulkhead_policy::model::Fault) or a [`Rejection`](convert::Rejection) says so with the field and what to do.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod convert;
pub mod kinds;
pub mod manifest;
pub mod upstream;
