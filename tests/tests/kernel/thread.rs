//! The thread of an agent that owns the tables, as a test talks to it.

use std::time::{Duration, Instant};

use bulkhead_agent::enforce::Input;
use bulkhead_agent::metrics::Kernel;
use tokio::sync::mpsc;
use tokio::sync::oneshot::{self, error::TryRecvError};

const LIMIT: Duration = Duration::from_secs(60);

/// Waits until what follows an outcome is done, too: tidying up, and the graph on its way to the disk.
pub(crate) fn rest(inputs: &mpsc::Sender<Input>) -> Kernel {
    let (sender, mut answer) = oneshot::channel();
    inputs.blocking_send(Input::Figures(sender)).unwrap();
    let deadline = Instant::now() + LIMIT;
    loop {
        match answer.try_recv() {
            Ok(figures) => return figures,
            Err(missing) => assert_eq!(missing, TryRecvError::Empty, "the thread has ended"),
        }
        assert!(Instant::now() < deadline, "the thread rests in time");
        std::thread::yield_now();
    }
}
