//! Endpoints: the processes that stand for workloads. They are real clients and servers; whatever the lab finds out about
//! reachability, it finds out from them.

mod handle;
mod link;
mod probe;
mod process;
mod protocol;
mod record;
mod serve;
mod stream;

pub use handle::{Endpoint, Pending};
pub(crate) use probe::internet_checksum;
pub use process::run;
pub use protocol::{
    Flood, Instant, Intake, Outcome, Question, Sent, StreamId, StreamPlan, Transport,
};
pub use record::now;
