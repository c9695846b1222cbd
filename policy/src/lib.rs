//! The policy model, the oracle and the incremental compiler. Pure.
