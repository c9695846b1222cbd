//! Strings as numbers: every label key, label value and name is hashed once, when it arrives.

use rustc_hash::FxHashMap;

use crate::model::Interned;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(u32);

#[derive(Default)]
pub(super) struct Names {
    numbers: FxHashMap<Interned, Name>,
    strings: Vec<Interned>,
}

impl Names {
    pub(super) fn number(&mut self, string: &Interned) -> Name {
        if let Some(name) = self.numbers.get(string) {
            return *name;
        }
        let name = Name(
            u32::try_from(self.strings.len()).expect("fewer than 2^32 strings fit into memory"),
        );
        self.strings.push(string.clone());
        self.numbers.insert(string.clone(), name);
        name
    }

    pub(super) fn string(&self, name: Name) -> &Interned {
        &self.strings[name.0 as usize]
    }
}
