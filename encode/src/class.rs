//! Classes of peers: all that a node's rule sets can see of one.

use std::fmt;
use std::sync::Arc;

use bulkhead_graph::{Hasher, Matched};

use crate::peer_match::{MatchIndex, PeerMatches};
use crate::service::ServiceClass;

/// Names a class by its content, on every node and in every revision alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassKey(pub [u8; 16]);

impl fmt::Debug for ClassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a class is.
#[derive(Debug, Clone)]
pub struct Class {
    /// The matches that its members are in, ascending.
    pub(crate) seen: Arc<[(MatchIndex, Matched)]>,
    /// What stands behind it, if it is the class of a Service address, or of one that there was no room for.
    pub(crate) service: Option<Arc<ServiceClass>>,
}

impl Class {
    /// Whether addresses of this class lead to backends.
    pub fn is_service(&self) -> bool {
        self.service.is_some()
    }

    /// A class without backends, and its name.
    pub(crate) fn plain(
        matches: &PeerMatches,
        seen: Vec<(MatchIndex, Matched)>,
    ) -> (ClassKey, Self) {
        let mut h = Hasher::new("class/1");
        h.number(seen.len() as u64);
        for (index, matched) in &seen {
            h.fixed(&matches.ids[*index as usize])
                .fixed(&[u8::from(*matched == Matched::Yes)]);
        }
        (
            ClassKey(h.finish()),
            Self {
                seen: seen.into(),
                service: None,
            },
        )
    }

    pub(crate) fn matched(seen: &[(MatchIndex, Matched)], index: MatchIndex) -> Matched {
        match seen.binary_search_by_key(&index, |(at, _)| *at) {
            Ok(at) => seen[at].1,
            Err(_) => Matched::No,
        }
    }
}
