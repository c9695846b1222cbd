//! The kernel's side of a node: programs, maps and links, and everything that touches them.
//!
//! Programs, maps and links are pinned under a path that carries the ABI version, outlive the agent, and are taken up
//! again by the next one (I9). Nothing here decides what the tables hold; that comes from `encode`.

mod answers;
mod attach;
mod clock;
mod diagnostics;
mod error;
mod events;
mod fill;
mod flows;
mod grace;
mod interfaces;
mod load;
mod maps;
mod run;
mod slate;
mod statistics;
mod sys;

pub use attach::{Attached, attached, carries};
pub use diagnostics::Diagnostics;
pub use error::KernelError;
pub use events::Events;
pub use flows::{Sweep, Timeouts, expired};
pub use grace::{Grace, Way};
pub use interfaces::Interfaces;
pub use load::{Kernel, Opened, Options, object};
pub use maps::{Array, Hash, Maps, Networks, PerCpuArray, PerCpuHash};
pub use run::{Ran, Skb};
pub use slate::Slate;
pub use statistics::{MapStatistics, ProgramStatistics, StatisticsSwitch};
pub use sys::Mapped;
