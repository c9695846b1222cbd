//! Numbers that workloads give to names of ports: who looks in one namespace has to do with the numbers given there only, or
//! one tenant's ports would become lines of another's rules.

use std::collections::BTreeMap;

use bulkhead_graph::Protocol;
use rustc_hash::FxHashMap;

use super::arena::Key;
use super::names::Name;
use super::profile::NamespaceState;
use super::selector::Scope;

/// Where somebody looks: in one namespace, or anywhere.
type Where = Option<Key<NamespaceState>>;

/// A number, and how many label sets give it.
type Numbers = BTreeMap<u16, u32>;

#[derive(Default)]
pub(super) struct PortNumbers(FxHashMap<(Where, Name, Protocol), Numbers>);

impl PortNumbers {
    /// The numbers that those whom a selector may match give to the name.
    pub(super) fn seen_from(
        &self,
        scope: &Scope,
        name: Name,
        protocol: Protocol,
    ) -> impl Iterator<Item = u16> {
        let place = match scope {
            Scope::Namespace(namespace) => Some(*namespace),
            Scope::Namespaces(_) => None,
        };
        let numbers = self.0.get(&(place, name, protocol));
        numbers
            .into_iter()
            .flat_map(|numbers| numbers.keys().copied())
    }

    /// One more label set of the namespace gives the number; `true` if it is the first there.
    pub(super) fn add(&mut self, place: Key<NamespaceState>, port: (Name, Protocol, u16)) -> bool {
        self.count(None, port);
        self.count(Some(place), port)
    }

    /// One less; `true` if it was the last there.
    pub(super) fn remove(
        &mut self,
        place: Key<NamespaceState>,
        port: (Name, Protocol, u16),
    ) -> bool {
        self.discount(None, port);
        self.discount(Some(place), port)
    }

    fn count(&mut self, place: Where, port: (Name, Protocol, u16)) -> bool {
        let (name, protocol, number) = port;
        let numbers = self.0.entry((place, name, protocol)).or_default();
        let count = numbers.entry(number).or_default();
        *count += 1;
        *count == 1
    }

    fn discount(&mut self, place: Where, port: (Name, Protocol, u16)) -> bool {
        let (name, protocol, number) = port;
        let given = (place, name, protocol);
        let numbers = self.0.get_mut(&given).expect("named ports are counted");
        let count = numbers.get_mut(&number).expect("named ports are counted");
        *count -= 1;
        let last = *count == 0;
        if last {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.0.remove(&given);
            }
        }
        last
    }
}
