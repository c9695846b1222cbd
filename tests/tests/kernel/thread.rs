//! The thread of an agent that owns the tables, as a test talks to it.

use bulkhead_agent::enforce::Input;
use tokio::sync::{mpsc, oneshot};

/// Waits until everything that follows an outcome is done, too: tidying up, and the graph on disk.
pub(crate) fn rest(inputs: &mpsc::Sender<Input>) {
    let (sender, answer) = oneshot::channel();
    inputs.blocking_send(Input::Figures(sender)).unwrap();
    answer.blocking_recv().unwrap();
}
