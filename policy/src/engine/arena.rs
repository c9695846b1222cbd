//! Values under small typed keys. A key means nothing after its value is gone, and no order of keys may reach
//! the output: keys depend on history.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use smallvec::{Array, SmallVec};

/// A sorted list of keys, which most of the time is short.
pub(super) type Keys<T> = SmallVec<[Key<T>; 4]>;

pub(super) struct Key<T>(u32, PhantomData<fn() -> T>);

impl<T> Key<T> {
    /// Where its value's place is in a list that has one for each.
    pub(super) fn place(self) -> usize {
        self.0 as usize
    }
}

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

/// Values lie in chunks, so that an arena that grows copies nothing.
pub(super) struct Arena<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
}

const CHUNK_BITS: u32 = 9;
const CHUNK: usize = 1 << CHUNK_BITS;

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
        }
    }
}

fn place(slot: u32) -> (usize, usize) {
    ((slot >> CHUNK_BITS) as usize, slot as usize & (CHUNK - 1))
}

impl<T> Arena<T> {
    pub(super) fn insert(&mut self, value: T) -> Key<T> {
        if let Some(slot) = self.free.pop() {
            let (chunk, at) = place(slot);
            self.chunks[chunk][at] = Some(value);
            return Key(slot, PhantomData);
        }
        let slot = u32::try_from(self.slots()).expect("fewer than 2^32 objects fit into memory");
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(Some(value)),
            None => {
                // The first one grows as it likes: most arenas of a small cluster never need another.
                let room = if self.chunks.is_empty() { 4 } else { CHUNK };
                let mut chunk = Vec::with_capacity(room);
                chunk.push(Some(value));
                self.chunks.push(chunk);
            }
        }
        Key(slot, PhantomData)
    }

    fn slots(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * CHUNK + last
    }

    pub(super) fn remove(&mut self, key: Key<T>) -> T {
        let (chunk, at) = place(key.0);
        let value = self.chunks[chunk][at]
            .take()
            .expect("a key is removed once");
        self.free.push(key.0);
        value
    }

    pub(super) fn get(&self, key: Key<T>) -> Option<&T> {
        let (chunk, at) = place(key.0);
        self.chunks.get(chunk)?.get(at)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let (chunk, at) = place(key.0);
        self.chunks.get_mut(chunk)?.get_mut(at)?.as_mut()
    }

    /// In the order of keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        (0..)
            .zip(self.chunks.iter().flatten())
            .filter_map(|(at, slot)| Some((Key(at, PhantomData), slot.as_ref()?)))
    }

    /// Pieces of the arena, in order: so many values at most in each.
    pub(super) fn pieces(&self) -> impl Iterator<Item = impl Iterator<Item = (Key<T>, &T)>> {
        (0..).zip(&self.chunks).map(|(number, chunk)| {
            let first = number << CHUNK_BITS;
            (first..)
                .zip(chunk)
                .filter_map(|(at, slot)| Some((Key(at, PhantomData), slot.as_ref()?)))
        })
    }

    /// A list with one place for each key, to be found by [`Key::place`].
    pub(super) fn places<U: Clone>(&self, empty: U) -> Vec<U> {
        vec![empty; self.slots()]
    }

    pub(super) fn keys(&self) -> Vec<Key<T>> {
        self.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.slots() - self.free.len()
    }
}

impl<T> Index<Key<T>> for Arena<T> {
    type Output = T;
    fn index(&self, key: Key<T>) -> &T {
        self.get(key).expect("a key outlives its value nowhere")
    }
}

impl<T> IndexMut<Key<T>> for Arena<T> {
    fn index_mut(&mut self, key: Key<T>) -> &mut T {
        self.get_mut(key).expect("a key outlives its value nowhere")
    }
}

/// Finds the key of a value by its content, without holding the content a second time: the values themselves are
/// compared, where they lie. Several keys may lie under one hash.
pub(super) struct Lookup<T>(HashTable<(u32, Key<T>)>);

impl<T> Default for Lookup<T> {
    fn default() -> Self {
        Self(HashTable::new())
    }
}

/// What a value is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentHash(u32);

impl ContentHash {
    pub(super) fn of(content: &(impl Hash + ?Sized)) -> Self {
        let mut hasher = FxHasher::default();
        content.hash(&mut hasher);
        let hash = hasher.finish();
        Self((hash ^ (hash >> 32)) as u32)
    }

    /// The table wants its bits at both ends of a word.
    fn spread(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl<T> Lookup<T> {
    pub(super) fn find(
        &self,
        hash: ContentHash,
        mut is: impl FnMut(Key<T>) -> bool,
    ) -> Option<Key<T>> {
        self.0
            .find(hash.spread(), |(other, key)| *other == hash.0 && is(*key))
            .map(|(_, key)| *key)
    }

    /// Every key under that hash, in no particular order.
    pub(super) fn all(&self, hash: ContentHash) -> impl Iterator<Item = Key<T>> {
        self.0
            .iter_hash(hash.spread())
            .filter(move |(other, _)| *other == hash.0)
            .map(|(_, key)| *key)
    }

    /// Adds a key that is not there.
    pub(super) fn insert(&mut self, hash: ContentHash, key: Key<T>) {
        self.0
            .insert_unique(hash.spread(), (hash.0, key), |(hash, _)| {
                ContentHash(*hash).spread()
            });
    }

    pub(super) fn remove(&mut self, hash: ContentHash, key: Key<T>) {
        if let Ok(entry) = self
            .0
            .find_entry(hash.spread(), |entry| *entry == (hash.0, key))
        {
            entry.remove();
        }
    }
}

/// Inserts into a sorted list; `false` if it was there.
pub(super) fn insert_sorted<A: Array<Item: Ord>>(list: &mut SmallVec<A>, item: A::Item) -> bool {
    if list.last().is_none_or(|last| *last < item) {
        list.push(item);
        return true;
    }
    match list.binary_search(&item) {
        Ok(_) => false,
        Err(at) => {
            list.insert(at, item);
            true
        }
    }
}

/// Removes from a sorted list; `false` if it was absent.
pub(super) fn remove_sorted<A: Array<Item: Ord>>(list: &mut SmallVec<A>, item: &A::Item) -> bool {
    match list.binary_search(item) {
        Ok(at) => {
            list.remove(at);
            true
        }
        Err(_) => false,
    }
}
