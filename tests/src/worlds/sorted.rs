//! Random sorted sets and maps.

use std::fmt::Debug;

use bulkhead_policy::model::{SortedMap, SortedSet};
use proptest::collection::{SizeRange, btree_map, btree_set};
use proptest::prelude::*;

/// So many different elements.
pub(super) fn sorted_set<T: Ord + Debug>(
    element: impl Strategy<Value = T>,
    size: impl Into<SizeRange>,
) -> impl Strategy<Value = SortedSet<T>> {
    btree_set(element, size).prop_map(|set| set.into_iter().collect())
}

/// So many different keys.
pub(super) fn sorted_map<K: Ord + Debug, V: Debug>(
    key: impl Strategy<Value = K>,
    value: impl Strategy<Value = V>,
    size: impl Into<SizeRange>,
) -> impl Strategy<Value = SortedMap<K, V>> {
    btree_map(key, value, size).prop_map(|map| map.into_iter().collect())
}
