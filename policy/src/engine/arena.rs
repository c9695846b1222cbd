//! Values under small typed keys. A key means nothing after its value is gone, and no order of keys may reach
//! the output: keys depend on history.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

pub(super) struct Key<T>(u32, PhantomData<fn() -> T>);

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Key<T> {}
impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Key<T> {}
impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.0);
    }
}
impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

pub(super) struct Arena<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Arena<T> {
    pub(super) fn insert(&mut self, value: T) -> Key<T> {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(value);
            return Key(slot, PhantomData);
        }
        let slot =
            u32::try_from(self.slots.len()).expect("fewer than 2^32 objects fit into memory");
        self.slots.push(Some(value));
        Key(slot, PhantomData)
    }

    pub(super) fn remove(&mut self, key: Key<T>) -> T {
        let value = self.slots[key.0 as usize]
            .take()
            .expect("a key is removed once");
        self.free.push(key.0);
        value
    }

    pub(super) fn get(&self, key: Key<T>) -> Option<&T> {
        self.slots.get(key.0 as usize)?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(at, slot)| Some((Key(at, PhantomData), slot.as_ref()?)))
    }

    pub(super) fn keys(&self) -> Vec<Key<T>> {
        self.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl<T> Index<Key<T>> for Arena<T> {
    type Output = T;
    fn index(&self, key: Key<T>) -> &T {
        self.slots[key.0 as usize]
            .as_ref()
            .expect("a key outlives its value nowhere")
    }
}

impl<T> IndexMut<Key<T>> for Arena<T> {
    fn index_mut(&mut self, key: Key<T>) -> &mut T {
        self.slots[key.0 as usize]
            .as_mut()
            .expect("a key outlives its value nowhere")
    }
}

/// Inserts into a sorted list; `false` if it was there.
pub(super) fn insert_sorted<T: Ord>(list: &mut Vec<T>, item: T) -> bool {
    match list.binary_search(&item) {
        Ok(_) => false,
        Err(at) => {
            list.insert(at, item);
            true
        }
    }
}

/// Removes from a sorted list; `false` if it was absent.
pub(super) fn remove_sorted<T: Ord>(list: &mut Vec<T>, item: &T) -> bool {
    match list.binary_search(item) {
        Ok(at) => {
            list.remove(at);
            true
        }
        Err(_) => false,
    }
}
