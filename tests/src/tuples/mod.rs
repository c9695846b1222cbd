//! Tuples (source, destination, protocol, port): every half of a flow that some node judges, the packet that opens the
//! flow, and what the oracle says.

mod nodes;
mod opener;
mod overblock;
mod question;

pub use nodes::{CLOCK, Compiled, Judged, NodeTables, flows, sample};
pub use opener::{UPLINK, came_in_by, hook, opener};
pub use overblock::may_overblock;
pub use question::{Question, fits, graphs, questions};
