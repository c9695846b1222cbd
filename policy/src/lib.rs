//! What a policy means, twice: [`eval`] is the oracle, slow and obvious; `engine` is the incremental compiler
//! that has to agree with it. Pure: no clock, no randomness, no IO, and no order that leaks.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod engine;
pub mod eval;
pub mod model;
