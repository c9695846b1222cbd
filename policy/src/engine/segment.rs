//! Segments as the compiler sees them.

use bulkhead_graph::Network;

use super::arena::Key;
use super::entry::PeerSpec;
use super::selector::Selector;
use crate::model::{Interned, Isolation, Mode};

pub(super) struct SegmentState {
    pub(super) name: Interned,
    pub(super) mode: Mode,
    pub(super) isolation: Option<Isolation>,
    /// Who is in it by identity, one reference each.
    pub(super) selectors: Vec<Key<Selector>>,
    /// Whether one of the selectors matches every workload.
    pub(super) everybody: bool,
    pub(super) networks: Vec<Network>,
}

impl SegmentState {
    /// Its members as the peers of an entry.
    pub(super) fn peers(&self) -> PeerSpec {
        let mut sets = if self.everybody {
            Vec::new()
        } else {
            self.selectors.clone()
        };
        sets.sort_unstable();
        sets.dedup();
        PeerSpec::Of {
            everybody: self.everybody,
            sets,
            networks: self.networks.clone(),
        }
    }
}
