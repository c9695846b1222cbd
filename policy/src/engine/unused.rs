//! Gives back strings and namespaces that nothing speaks of any more, once they are the greater part.

use rustc_hash::FxHashSet;

use super::Engine;
use super::arena::Key;
use super::names::Name;
use super::profile::NamespaceState;
use super::selector::SelectorKey;

/// Fewer strings than this are not worth a look.
const FEW_NAMES: usize = 1024;

/// How many strings there may be before the unused ones are looked for.
#[derive(Default)]
pub(super) struct Leftovers {
    /// Names in what went since the last look; each may have been the last use of a string.
    released: usize,
    /// Strings that the last look found in use.
    used: usize,
}

impl Leftovers {
    pub(super) fn add(&mut self, names: usize) {
        self.released += names;
    }
}

impl Engine {
    /// Looks through everything when half of the strings may be unused and there are twice as many as at the last look: what
    /// it costs is a share of what it cost to bring them.
    pub(super) fn forget_unused(&mut self) {
        let names = self.names.len();
        let Leftovers { released, used } = self.leftovers;
        if names < FEW_NAMES || released < names / 2 || names < 2 * used {
            return;
        }
        let looked_into: FxHashSet<Key<NamespaceState>> = self
            .selectors
            .arena
            .iter()
            .filter_map(|(_, selector)| selector.key.looks_into())
            .chain(self.tenants.looked_into())
            .chain(self.compiled.iter().filter_map(|(_, c)| c.only_in))
            .collect();
        self.profiles
            .keep_namespaces(|namespace| looked_into.contains(&namespace));
        self.names.keep(&self.names_in_use());
        self.leftovers = Leftovers {
            released: 0,
            used: self.names.len(),
        };
    }

    fn names_in_use(&self) -> FxHashSet<Name> {
        let mut used = FxHashSet::from_iter([self.metadata_name]);
        for (_, namespace) in self.profiles.namespaces.iter() {
            used.insert(namespace.name);
            used.extend(
                namespace
                    .labels
                    .iter()
                    .flat_map(|(key, value)| [key, value]),
            );
        }
        for (_, profile) in self.profiles.arena.iter() {
            used.extend(profile.labels.iter().flat_map(|(key, value)| [key, value]));
            used.insert(profile.account);
            used.extend(profile.ports.iter().map(|(name, _, _)| name));
            used.extend(&profile.marks);
        }
        let mut of_selector = |key: &SelectorKey| {
            key.names(|name| {
                used.insert(name);
            });
        };
        for (_, selector) in self.selectors.arena.iter() {
            of_selector(&selector.key);
        }
        self.tenants.names(|name| {
            used.insert(name);
        });
        for (_, compiled) in self.compiled.iter() {
            compiled.names(|name| {
                used.insert(name);
            });
        }
        for (_, identity) in self.identities.arena.iter() {
            used.extend(identity.key.ports.iter().map(|(name, _, _)| name));
        }
        used
    }
}
