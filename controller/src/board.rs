//! Where the compiler leaves each node's newest graph, and connections pick it up.
//!
//! Only the newest is kept. The frontier is moved after the graphs that belong to it, and read before them: whoever
//! labels a graph with the frontier read never claims more than is in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkhead_graph::{Digest, NodeGraph};
use bulkhead_source::BootTime;
use bulkhead_wire::Frontier;
use tokio::sync::watch;

type Nodes = BTreeMap<String, watch::Sender<Arc<NodeGraph>>>;

/// See the module.
pub struct Board {
    nodes: Mutex<Nodes>,
    /// `None` until the sources were read once: before that, an empty graph would mean nothing.
    frontier: watch::Sender<Option<Frontier>>,
    /// When the source last knew that all of its inputs are in the graphs here.
    known_at: Mutex<Option<BootTime>>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            nodes: Mutex::default(),
            frontier: watch::Sender::new(None),
            known_at: Mutex::default(),
        }
    }
}

/// One connection's view of the board.
pub struct Subscription {
    graph: watch::Receiver<Arc<NodeGraph>>,
    frontier: watch::Receiver<Option<Frontier>>,
}

impl Board {
    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        // A panic while it was held left a whole map: entries are only ever added.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces a node's graph; that of a node which nothing speaks of is empty.
    pub fn put(&self, node: &str, graph: Arc<NodeGraph>) {
        let mut nodes = self.nodes();
        let sender = nodes
            .entry(node.to_owned())
            .or_insert_with(|| watch::Sender::new(Arc::default()));
        sender.send_replace(graph);
    }

    /// All graphs of this state of the inputs are there.
    pub fn reached(&self, frontier: Frontier) {
        self.frontier.send_replace(Some(frontier));
    }

    /// All inputs that there were at that moment are in the graphs here, as far as the source knows.
    pub fn known(&self, at: BootTime) {
        let mut known_at = self.known_at.lock().unwrap_or_else(PoisonError::into_inner);
        *known_at = (*known_at).max(Some(at));
    }

    /// The newest such moment. To be read before the graphs that it is to be told of.
    pub fn known_at(&self) -> Option<BootTime> {
        *self.known_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of the inputs, once there is one.
    pub fn frontier(&self) -> Option<Frontier> {
        self.frontier.borrow().clone()
    }

    /// What each node ought to enforce.
    pub fn desired(&self) -> BTreeMap<String, Digest> {
        self.nodes()
            .iter()
            .map(|(node, sender)| (node.clone(), sender.borrow().digest()))
            .collect()
    }

    /// Follows one node.
    pub fn subscribe(&self, node: &str) -> Subscription {
        let mut nodes = self.nodes();
        let sender = nodes
            .entry(node.to_owned())
            .or_insert_with(|| watch::Sender::new(Arc::default()));
        Subscription {
            graph: sender.subscribe(),
            frontier: self.frontier.subscribe(),
        }
    }
}

impl Subscription {
    /// The newest graph and inputs that it is at least as new as; `None` until there are any.
    pub fn newest(&mut self) -> Option<(Arc<NodeGraph>, Frontier)> {
        let frontier = self.frontier.borrow_and_update().clone()?;
        Some((self.graph.borrow_and_update().clone(), frontier))
    }

    /// Waits for something newer; `false` when the board is gone.
    pub async fn changed(&mut self) -> bool {
        // The graph alone may change before the frontier does; both together are one thing to look at.
        tokio::select! {
            graph = self.graph.changed() => graph.is_ok(),
            frontier = self.frontier.changed() => frontier.is_ok(),
        }
    }
}
