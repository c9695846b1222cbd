//! Names of the outside world: from what segments say to the addresses that stand behind it.
//!
//! A step between a source and the compiler. [`Table`] is given every event and every answer of a name server, and hands on
//! events in which segments with names have their addresses among their networks; it is pure. A task (feature `resolver`) asks
//! the name servers. Invariant: a name of which not all is known leaves its segment partial, which is nobody in an Allow and
//! everybody in a Deny; and nothing that a name server says makes a workload of the cluster a peer.

mod answer;
mod known;
mod line;
mod ranges;
#[cfg(feature = "resolver")]
mod resolver;
#[cfg(feature = "resolver")]
mod schedule;
mod table;

pub use answer::Answer;
pub use known::{ADDRESSES, GRACE};
pub use line::{Asker, Lookups, line};
#[cfg(feature = "resolver")]
pub use resolver::{NameServers, start};
pub use table::{Counts, NAMES, Table};
