//! What a source delivers.

use std::collections::BTreeMap;

use bulkhead_crds::manifest::Problem;
use bulkhead_policy::model::{Event, ObjectRef, Timestamp};

/// Which version of an object an API server holds. Another incarnation of the name has another uid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectVersion {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`: moves with every change of intent, and with nothing else.
    pub generation: i64,
}

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
    /// Versions of the policies and segments that were seen since the last update, readable or not. A folder has none.
    pub seen: BTreeMap<ObjectRef, ObjectVersion>,
}
