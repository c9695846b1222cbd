//! Strings as numbers: every label key, label value and name is hashed once, when it arrives.

use super::arena::{Arena, ContentHash, Key, Lookup};
use crate::model::Interned;

pub(super) type Name = Key<Interned>;

#[derive(Default)]
pub(super) struct Names {
    strings: Arena<Interned>,
    lookup: Lookup<Interned>,
}

impl Names {
    pub(super) fn number(&mut self, string: &Interned) -> Name {
        let hash = ContentHash::of(&**string);
        if let Some(name) = self.find(hash, string) {
            return name;
        }
        let name = self.strings.insert(string.clone());
        self.lookup.insert(hash, name);
        name
    }

    /// The same, where the string is probably that of a number at hand: what comes together is mostly alike.
    pub(super) fn number_near(&mut self, string: &Interned, near: Option<Name>) -> Name {
        let is_near = |near: &Name| self.strings.get(*near).is_some_and(|at| **at == **string);
        near.filter(is_near).unwrap_or_else(|| self.number(string))
    }

    fn find(&self, hash: ContentHash, string: &str) -> Option<Name> {
        self.lookup
            .find(hash, |name| *self.strings[name] == *string)
    }

    pub(super) fn string(&self, name: Name) -> &Interned {
        &self.strings[name]
    }

    pub(super) fn len(&self) -> usize {
        self.strings.len()
    }

    /// Forgets every string that is not among those in use.
    pub(super) fn keep(&mut self, used: &rustc_hash::FxHashSet<Name>) {
        for name in self.strings.keys() {
            if !used.contains(&name) {
                let gone = self.strings.remove(name);
                self.lookup.remove(ContentHash::of(&*gone), name);
            }
        }
    }
}
