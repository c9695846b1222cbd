//! Sets and maps as sorted lists. Most of them have one or two elements, there are very many of them, and they are seldom
//! changed once they are made. A tree has room for eleven in each node; a list takes what is in it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::{Deref, Index};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Each element once, in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SortedSet<T>(Box<[T]>);

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T> SortedSet<T> {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<T: Ord> SortedSet<T> {
    /// Whether it is in the set.
    pub fn contains<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.0
            .binary_search_by(|own| own.borrow().cmp(element))
            .is_ok()
    }

    /// Adds an element; `false` if it is there. The list is made anew: whoever has many elements collects them.
    pub fn insert(&mut self, element: T) -> bool {
        let Err(at) = self.0.binary_search(&element) else {
            return false;
        };
        let mut list = std::mem::take(&mut self.0).into_vec();
        list.insert(at, element);
        self.0 = list.into();
        true
    }
}

impl<T> Deref for SortedSet<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Ord> FromIterator<T> for SortedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut list: Vec<T> = elements.into_iter().collect();
        list.sort();
        list.dedup();
        Self(list.into())
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for SortedSet<T> {
    fn from(elements: [T; N]) -> Self {
        elements.into_iter().collect()
    }
}

impl<T> IntoIterator for SortedSet<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<'a, T> IntoIterator for &'a SortedSet<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Ord + Deserialize<'de>> Deserialize<'de> for SortedSet<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

/// Each key once, in order, with its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortedMap<K, V>(Box<[(K, V)]>);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<K, V> SortedMap<K, V> {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order of keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// In order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// In the order of keys, to be changed.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// In the order of keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(own, _)| own.borrow().cmp(key))
    }

    /// The key's value.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| &self.0[at].1)
    }

    /// Whether the key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Gives the key a value; the one it had before comes back. The list is made anew: whoever has many pairs collects them.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                let mut list = std::mem::take(&mut self.0).into_vec();
                list.insert(at, (key, value));
                self.0 = list.into();
                None
            }
        }
    }
}

impl<K: Ord + Clone, V: Clone> SortedMap<K, V> {
    /// The same with these changes: keys with their new values, or with none if they go. Of several for one key the last
    /// counts.
    #[must_use]
    pub fn with(&self, changes: impl IntoIterator<Item = (K, Option<V>)>) -> Self {
        let mut changes = SortedMap::from_iter(changes).into_iter().peekable();
        let mut list = Vec::with_capacity(self.len() + changes.len());
        let put = |list: &mut Vec<(K, V)>, (key, value): (K, Option<V>)| {
            list.extend(value.map(|value| (key, value)));
        };
        for (key, value) in self {
            while let Some(before) = changes.next_if(|(other, _)| other < key) {
                put(&mut list, before);
            }
            match changes.next_if(|(other, _)| other == key) {
                Some(change) => put(&mut list, change),
                None => list.push((key.clone(), value.clone())),
            }
        }
        changes.for_each(|change| put(&mut list, change));
        Self(list.into())
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for SortedMap<K, V> {
    type Output = V;
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is there")
    }
}

/// Of a key that comes twice, the last value counts.
impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut list: Vec<(K, V)> = pairs.into_iter().collect();
        list.sort_by(|(a, _), (b, _)| a.cmp(b));
        list.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self(list.into())
    }
}

impl<K: Ord, V> From<BTreeMap<K, V>> for SortedMap<K, V> {
    fn from(tree: BTreeMap<K, V>) -> Self {
        Self(tree.into_iter().collect())
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for SortedMap<K, V> {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<K, V> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<'a, K, V> IntoIterator for &'a SortedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (K, V)>, fn(&'a (K, V)) -> (&'a K, &'a V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<K: Serialize, V: Serialize> Serialize for SortedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, K, V> Deserialize<'de> for SortedMap<K, V>
where
    K: Ord + Deserialize<'de>,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every list of up to five of three numbers: the same as a tree makes of it.
    #[test]
    fn they_are_what_trees_are() {
        for number in 0..3_u32.pow(5) {
            let digits: Vec<u32> = (0..5).map(|at| number / 3_u32.pow(at) % 3).collect();
            for len in 0..=digits.len() {
                let numbers = &digits[..len];
                let tree: BTreeSet<u32> = numbers.iter().copied().collect();
                let set: SortedSet<u32> = numbers.iter().copied().collect();
                let mut grown = SortedSet::new();
                let came = numbers.iter().filter(|number| grown.insert(**number));
                assert_eq!(came.count(), tree.len());
                assert!(set == grown && set.iter().eq(&tree));
                assert_eq!(set.contains(&2), tree.contains(&2));

                let pairs = || numbers.iter().copied().zip(0..);
                let mut tree: BTreeMap<u32, i32> = pairs().collect();
                let mut map: SortedMap<u32, i32> = pairs().collect();
                assert!(map.iter().eq(&tree));
                assert_eq!(map.insert(1, 9), tree.insert(1, 9));
                assert!(map.iter().eq(&tree));
                assert!((0..4).all(|key| map.get(&key) == tree.get(&key)));

                for changes in [
                    vec![(1, None), (3, Some(7)), (0, Some(8))],
                    vec![(2, Some(5)), (2, None), (4, None), (1, None), (1, Some(6))],
                ] {
                    let mut tree = tree.clone();
                    for (key, value) in &changes {
                        match value {
                            Some(value) => drop(tree.insert(*key, *value)),
                            None => drop(tree.remove(key)),
                        }
                    }
                    assert!(map.with(changes).iter().eq(&tree));
                }
            }
        }
    }
}
