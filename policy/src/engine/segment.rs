//! Segments as the compiler sees them.

use bulkhead_graph::Network;

use super::arena::Keys;
use super::entry::PeerSpec;
use super::selector::Selector;
use crate::model::{Action, Interned, Isolation, Mode};

pub(super) struct SegmentState {
    pub(super) name: Interned,
    pub(super) mode: Mode,
    pub(super) isolation: Option<Isolation>,
    /// Who is in it by identity, one reference each.
    pub(super) selectors: Keys<Selector>,
    /// Whether one of the selectors matches every workload.
    pub(super) everybody: bool,
    pub(super) networks: Vec<Network>,
    /// Whoever is not in it for certain may be.
    pub(super) partial: bool,
}

impl SegmentState {
    /// Those whom an entry with this action finds in it.
    pub(super) fn peers(&self, action: Action) -> PeerSpec {
        if self.partial && action == Action::Deny {
            return PeerSpec::Any;
        }
        let mut sets = if self.everybody {
            Keys::new()
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
