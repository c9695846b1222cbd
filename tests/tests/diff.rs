//! The oracle against everything that is faster: compiled rule sets, tables in memory, and the decision function of the
//! programs, on random worlds that shrink; and the compiler against itself over the order of events.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[path = "diff/claims.rs"]
mod claims;
#[path = "diff/compiled.rs"]
mod compiled;
#[path = "diff/coverage.rs"]
mod coverage;
#[path = "diff/deltas.rs"]
mod deltas;
#[path = "diff/failures.rs"]
mod failures;
#[path = "diff/fields.rs"]
mod fields;
#[path = "diff/g11.rs"]
mod g11;
#[path = "diff/metamorphic.rs"]
mod metamorphic;
#[path = "diff/orders.rs"]
mod orders;
#[path = "diff/packets.rs"]
mod packets;
#[path = "diff/provenance.rs"]
mod provenance;
#[path = "diff/rows.rs"]
mod rows;
#[path = "diff/stories.rs"]
mod stories;
#[path = "diff/symmetries.rs"]
mod symmetries;
#[path = "diff/time.rs"]
mod time;
