//! What a source delivers.

use std::collections::BTreeMap;

use bulkhead_crds::manifest::Problem;
use bulkhead_policy::model::{Event, Timestamp};

/// A step from one state of the inputs to the next. The first one of a source holds everything there is, and comes
/// also if that is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// The changes, in order.
    pub events: Vec<Event>,
    /// Everything that is wrong with the inputs *now*, not only what is new.
    pub problems: Vec<Problem>,
    /// When the history of the inputs began; a later one supersedes all of an earlier one.
    pub incarnation: Timestamp,
    /// Versions of the inputs by kind, compared within a kind only. They never go back within an incarnation.
    pub versions: BTreeMap<String, u64>,
}
