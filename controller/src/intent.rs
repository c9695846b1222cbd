//! The compiler at work: the only task that owns the engine. Updates from a source and the passing of time go in, graphs
//! of the nodes they touch come out. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use bulkhead_graph::{NodeGraph, Timestamp};
use bulkhead_policy::engine::{Counters, Engine, EngineConfig, Finding, Size};
use bulkhead_policy::model::{Event, Interned, Object, ObjectRef};
use bulkhead_source::{ObjectVersion, Update};
use bulkhead_wire::Frontier;

use crate::rule::{Asked, Told};
use crate::status::ObjectState;

/// Two updates in a row as one.
pub fn append(earlier: &mut Update, later: Update) {
    earlier.events.extend(later.events);
    earlier.incarnation = later.incarnation;
    earlier.versions = later.versions;
    earlier.problems = later.problems;
    earlier.seen.extend(later.seen);
}

/// What has to be made known.
#[derive(Debug)]
pub struct Compiled {
    /// Graphs that may have changed, with their digests computed; empty ones for nodes that nothing speaks of any more.
    pub graphs: Vec<(Interned, Arc<NodeGraph>)>,
    /// Declared nodes and nodes with workloads: all that there are.
    pub nodes: BTreeSet<Interned>,
    /// The state of the inputs that they all belong to.
    pub frontier: Frontier,
    /// Which update or boundary it was.
    pub sequence: u64,
}

/// A policy or segment.
#[derive(Debug, Clone)]
struct Known {
    /// The update that last changed it.
    sequence: u64,
    /// When that was.
    changed_at: Timestamp,
    /// Where the source tells versions apart.
    version: Option<ObjectVersion>,
}

/// The engine with what has to be known about its inputs.
pub struct Intent {
    engine: Engine,
    threads: NonZeroUsize,
    /// Policies and segments.
    objects: BTreeMap<ObjectRef, Known>,
    frontier: Frontier,
    /// Counts updates and boundaries; objects and nodes are compared by it.
    sequence: u64,
    ready: bool,
}

impl Intent {
    /// Nothing compiled, at `now`. Graphs are named on so many threads.
    pub fn new(config: EngineConfig, threads: NonZeroUsize, now: Timestamp) -> Self {
        let mut engine = Engine::new(config);
        engine.advance(now);
        // Whatever boundary lies before the start is in the first compile.
        let frontier = Frontier {
            instant: now,
            ..Frontier::default()
        };
        Self {
            engine,
            threads,
            objects: BTreeMap::new(),
            frontier,
            sequence: 0,
            ready: false,
        }
    }

    /// Whether the first update was taken in.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Takes an update in. The first one has to hold everything there is.
    pub fn take(&mut self, update: Update, now: Timestamp) -> Compiled {
        self.sequence += 1;
        self.pass(now);
        for event in update.events {
            self.remember(&event, &update.seen, now);
            self.engine.apply(event);
        }
        // Those too whose present version cannot be read.
        for (object, version) in update.seen {
            if let Some(known) = self.objects.get_mut(&object) {
                known.version = Some(version);
            }
        }
        self.frontier.incarnation = update.incarnation;
        self.frontier.versions = update.versions;
        if !self.ready {
            // Of boundaries that went by before anything was there the engine knows nothing; what it says is of now all the same.
            self.frontier.instant = self.frontier.instant.max(now);
        }
        self.ready = true;
        self.compiled()
    }

    /// Takes in what became of names. Of the objects that have them nothing has changed: a name's addresses are who is in a
    /// segment and not what it says, like its pods. Nothing comes of it before the first update.
    pub fn resolve(&mut self, events: Vec<Event>, now: Timestamp) -> Option<Compiled> {
        self.pass(now);
        events
            .into_iter()
            .for_each(|event| self.engine.apply(event));
        if !self.ready {
            return None;
        }
        self.sequence += 1;
        Some(self.compiled())
    }

    /// Lets time pass. Nothing comes of it before the first update.
    pub fn advance(&mut self, now: Timestamp) -> Option<Compiled> {
        if !self.pass(now) || !self.ready {
            return None;
        }
        self.sequence += 1;
        Some(self.compiled())
    }

    /// When time itself next changes something.
    pub fn next_boundary(&self) -> Option<Timestamp> {
        self.engine.next_boundary()
    }

    /// Goes through the boundaries one by one, so that the frontier names the last of them.
    fn pass(&mut self, now: Timestamp) -> bool {
        let mut passed = false;
        while let Some(boundary) = self
            .engine
            .next_boundary()
            .filter(|boundary| *boundary <= now)
        {
            self.engine.advance(boundary);
            self.frontier.instant = self.frontier.instant.max(boundary);
            passed = true;
        }
        self.engine.advance(now);
        passed
    }

    fn compiled(&mut self) -> Compiled {
        let nodes = self.engine.take_dirty();
        Compiled {
            // Digests too: here, and not where somebody waits for a lock.
            graphs: self.engine.node_graphs(nodes, self.threads),
            nodes: self.engine.nodes(),
            frontier: self.frontier.clone(),
            sequence: self.sequence,
        }
    }

    fn remember(
        &mut self,
        event: &Event,
        seen: &BTreeMap<ObjectRef, ObjectVersion>,
        now: Timestamp,
    ) {
        match event {
            Event::Apply(object) => self.remember_object(object, seen, now),
            Event::Delete(object) => drop(self.objects.remove(object)),
            Event::Reset(kind, objects) => {
                let there: BTreeSet<ObjectRef> = objects.iter().map(Object::reference).collect();
                self.objects
                    .retain(|object, _| object.kind != *kind || there.contains(object));
                objects
                    .iter()
                    .for_each(|object| self.remember_object(object, seen, now));
            }
        }
    }

    /// A version that was known before is no change: it comes again with every relist, and with every status that we
    /// write ourselves.
    fn remember_object(
        &mut self,
        object: &Object,
        seen: &BTreeMap<ObjectRef, ObjectVersion>,
        now: Timestamp,
    ) {
        match object {
            Object::Policy(_) | Object::Segment(_) => {
                let reference = object.reference();
                let version = seen.get(&reference).cloned();
                let known = self.objects.get(&reference);
                if known.is_some_and(|known| version.is_some() && known.version == version) {
                    return;
                }
                let known = Known {
                    sequence: self.sequence,
                    changed_at: now,
                    version,
                };
                self.objects.insert(reference, known);
            }
            Object::Namespace(_)
            | Object::Workload(..)
            | Object::Node(_)
            | Object::Service(_)
            | Object::EndpointSlice(_) => {}
        }
    }

    /// Every policy and segment with the nodes it belongs on, and those of the named workloads that are its subjects.
    pub fn objects(&mut self, concerned: &BTreeSet<String>) -> Vec<ObjectState> {
        let engine = &mut self.engine;
        let state = |(object, known): (&ObjectRef, &Known)| ObjectState {
            nodes: engine.nodes_of(object),
            affected: engine.subjects_among(object, concerned),
            object: object.clone(),
            sequence: known.sequence,
            changed_at: known.changed_at,
            generation: known.version.as_ref().map(|version| version.generation),
        };
        self.objects.iter().map(state).collect()
    }

    /// Which rule decides, now. `None` if no workload of ours owns the address.
    pub fn rule(&mut self, asked: &Asked) -> Option<Told> {
        asked.answer(&mut self.engine)
    }

    /// What was done and how much there is.
    pub fn counts(&self) -> (Counters, Size) {
        (self.engine.counters(), self.engine.size())
    }

    /// What people have to know of objects that are in force otherwise than they may think.
    pub fn findings(&mut self) -> Vec<Finding> {
        self.engine.findings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g5_what_is_compiled_first_is_of_the_instant_at_which_it_is_compiled() {
        let (started, passed, first) = (Timestamp(1_000), Timestamp(4_000), Timestamp(5_000));
        let mut intent = Intent::new(EngineConfig::default(), NonZeroUsize::MIN, started);
        let compiled = intent.take(Update::default(), first);
        // Another controller has compiled a boundary in between, and nodes have its frontier.
        let of_the_other = Frontier {
            instant: passed,
            ..compiled.frontier.clone()
        };
        assert!(compiled.frontier.reaches(&of_the_other));
        let later = intent.take(Update::default(), Timestamp(9_000));
        assert_eq!(
            later.frontier.instant, first,
            "from then on boundaries count"
        );
    }
}
