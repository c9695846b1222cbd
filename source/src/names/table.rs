//! Segments with names, and what is known of the names. Pure: events and answers in, events out.
//!
//! Invariant: of each segment with names the version that was handed on last has the addresses that are known, is partial unless
//! all of its names are, and is otherwise as its source says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bulkhead_crds::manifest::{Problem, Severity};
use bulkhead_policy::model::{
    Event, Interned, Kind, Network, Object, ObjectRef, Segment, SortedSet,
};
use ipnet::IpNet;

use super::Answer;
use super::known::{ADDRESSES, Known, Reading};
use super::ranges::Ranges;
use crate::BootTime;

/// Most names that are asked for. Those beyond, in the order of names, are never answered.
pub const NAMES: usize = 4096;

/// Addresses that a problem lists.
const LISTED: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub struct Table {
    /// The cluster's ranges beside those of its nodes.
    declared: Vec<IpNet>,
    /// Where their pods are, and they themselves.
    nodes: BTreeMap<Interned, SortedSet<IpNet>>,
    cluster: Ranges,
    segments: BTreeMap<Interned, Named>,
    names: BTreeMap<Interned, Name>,
}

/// A segment with names.
#[derive(Debug)]
struct Named {
    /// By its source.
    said: Segment,
    /// By us; `None` before the first time.
    handed: Option<Segment>,
}

#[derive(Debug, Default)]
struct Name {
    known: Known,
    /// What comes of it where the ranges are what they are now.
    reading: Reading,
    segments: BTreeSet<Interned>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Names that segments have.
    pub wanted: usize,
    /// Those of them that are not known, or not all of them.
    pub unresolved: usize,
    /// Addresses that stand for all of them.
    pub addresses: usize,
}

impl Table {
    /// Nothing known, in a cluster with these ranges beside those of its nodes.
    pub fn new(cluster_ranges: impl IntoIterator<Item = IpNet>) -> Self {
        let mut table = Self {
            declared: cluster_ranges.into_iter().collect(),
            ..Self::default()
        };
        table.count_ranges();
        table
    }

    /// A source's events as the compiler is to have them.
    pub fn handle(&mut self, events: Vec<Event>) -> Vec<Event> {
        for event in &events {
            self.note(event);
        }
        let concerns = |kind| events.iter().any(|event| kind_of(event) == kind);
        let ranges_moved = concerns(Kind::Node) && self.count_ranges();
        if concerns(Kind::Segment) {
            self.index();
        }
        let mut events: Vec<Event> = events
            .into_iter()
            .map(|event| self.rewrite(event))
            .collect();
        if ranges_moved {
            let all: Vec<Interned> = self.segments.keys().cloned().collect();
            events.extend(self.moved(all));
        }
        events
    }

    /// The segments that an answer changes. What nobody wants any more changes none.
    pub fn answer(&mut self, answer: Answer, now: BootTime) -> Vec<Event> {
        let Some(name) = self.names.get_mut(&answer.name) else {
            return Vec::new();
        };
        let concerned: Vec<Interned> = name.segments.iter().cloned().collect();
        name.known.take(answer, &self.cluster, now);
        name.reading = name.known.read(&self.cluster);
        self.moved(concerned)
    }

    /// The names to be asked for.
    pub fn wanted(&self) -> BTreeSet<Interned> {
        self.names.keys().take(NAMES).cloned().collect()
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            wanted: self.names.len(),
            ..Counts::default()
        };
        for name in self.names.values() {
            counts.unresolved += usize::from(!name.reading.is_whole);
            counts.addresses += name.reading.addresses.len();
        }
        counts
    }

    /// What people have to know of names.
    pub fn problems(&self) -> Vec<Problem> {
        let beyond: BTreeSet<&Interned> = self.names.keys().skip(NAMES).collect();
        let mut problems = Vec::new();
        for (segment, named) in &self.segments {
            let object = ObjectRef::cluster(Kind::Segment, segment).to_string();
            for (index, name) in named.said.members.domains.iter().enumerate() {
                let messages = match (beyond.contains(name), self.names.get(name)) {
                    (true, _) => vec![unasked(name)],
                    (false, Some(known)) => messages(name, &known.reading),
                    (false, None) => Vec::new(),
                };
                problems.extend(messages.into_iter().map(|message| Problem {
                    severity: Severity::Warning,
                    file: "".into(),
                    line: None,
                    object: Some(object.clone()),
                    field: Some(format!("spec.domains[{index}]")),
                    message,
                }));
            }
        }
        problems
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Apply(object) => self.note_object(object),
            Event::Delete(object) if object.kind == Kind::Segment => {
                self.segments.remove(&object.name);
            }
            Event::Delete(object) if object.kind == Kind::Node => {
                self.nodes.remove(&object.name);
            }
            Event::Delete(_) => {}
            Event::Reset(kind, objects) => {
                match kind {
                    Kind::Segment => self.segments.clear(),
                    Kind::Node => self.nodes.clear(),
                    Kind::ClusterNetworkPolicy
                    | Kind::ClusterSegmentationPolicy
                    | Kind::NetworkPolicy
                    | Kind::SegmentationPolicy
                    | Kind::Quarantine
                    | Kind::Namespace
                    | Kind::Pod
                    | Kind::Workload
                    | Kind::Service
                    | Kind::EndpointSlice => return,
                }
                objects.iter().for_each(|object| self.note_object(object));
            }
        }
    }

    fn note_object(&mut self, object: &Object) {
        match object {
            Object::Segment(segment) if segment.members.domains.is_empty() => {
                self.segments.remove(&segment.name);
            }
            Object::Segment(segment) => {
                let named = Named {
                    said: (**segment).clone(),
                    handed: None,
                };
                self.segments.insert(segment.name.clone(), named);
            }
            Object::Node(node) => {
                let hosts = node.addresses.iter().copied().map(IpNet::from);
                let ranges = node.pod_ranges.iter().copied().chain(hosts).collect();
                self.nodes.insert(node.name.clone(), ranges);
            }
            Object::Namespace(_)
            | Object::Workload(..)
            | Object::Service(_)
            | Object::EndpointSlice(_)
            | Object::Policy(_) => {}
        }
    }

    /// Whether they are others than before.
    fn count_ranges(&mut self) -> bool {
        let of_nodes = self
            .nodes
            .values()
            .flat_map(|ranges| ranges.iter().copied());
        let ranges = self.declared.iter().copied().chain(of_nodes).collect();
        let before = std::mem::replace(&mut self.cluster, ranges);
        let moved = before != self.cluster;
        if moved {
            let names = self.names.values_mut();
            names.for_each(|name| name.reading = name.known.read(&self.cluster));
        }
        moved
    }

    /// Which names there are, and in which segments. What is known of a name is kept as long as it stands in one.
    fn index(&mut self) {
        self.names
            .values_mut()
            .for_each(|name| name.segments.clear());
        for (segment, named) in &self.segments {
            for name in &named.said.members.domains {
                let name = self.names.entry(name.clone()).or_default();
                name.segments.insert(segment.clone());
            }
        }
        self.names.retain(|_, name| !name.segments.is_empty());
    }

    fn rewrite(&mut self, event: Event) -> Event {
        match event {
            Event::Apply(object) => Event::Apply(self.rewrite_object(object)),
            Event::Reset(Kind::Segment, objects) => {
                let objects = objects.into_iter();
                let objects = objects.map(|object| self.rewrite_object(object)).collect();
                Event::Reset(Kind::Segment, objects)
            }
            Event::Delete(_) | Event::Reset(..) => event,
        }
    }

    fn rewrite_object(&mut self, object: Object) -> Object {
        match object {
            Object::Segment(segment) if !segment.members.domains.is_empty() => {
                let resolved = self.resolved(&segment);
                if let Some(named) = self.segments.get_mut(&segment.name) {
                    named.handed = Some(resolved.clone());
                }
                Object::Segment(Box::new(resolved))
            }
            Object::Segment(_)
            | Object::Namespace(_)
            | Object::Workload(..)
            | Object::Node(_)
            | Object::Service(_)
            | Object::EndpointSlice(_)
            | Object::Policy(_) => object,
        }
    }

    /// Those of the segments that are no longer as they were handed on.
    fn moved(&mut self, segments: Vec<Interned>) -> Vec<Event> {
        let mut events = Vec::new();
        for segment in segments {
            let Some(named) = self.segments.get(&segment) else {
                continue;
            };
            let resolved = self.resolved(&named.said);
            if named.handed.as_ref() == Some(&resolved) {
                continue;
            }
            events.push(Event::Apply(Object::Segment(Box::new(resolved.clone()))));
            if let Some(named) = self.segments.get_mut(&segment) {
                named.handed = Some(resolved);
            }
        }
        events
    }

    fn resolved(&self, said: &Segment) -> Segment {
        let (mut addresses, mut is_whole) = (BTreeSet::new(), true);
        for name in &said.members.domains {
            let known = self.names.get(name);
            is_whole &= known.is_some_and(|name| name.reading.is_whole);
            let told = known.into_iter().flat_map(|name| &name.reading.addresses);
            addresses.extend(told.copied());
        }
        let mut segment = said.clone();
        let members = &mut segment.members;
        let hosts = addresses.into_iter().map(IpNet::from);
        members
            .networks
            .extend(hosts.map(|host| Network::new(host, [])));
        members.partial = members.unread || !is_whole;
        segment
    }
}

fn kind_of(event: &Event) -> Kind {
    match event {
        Event::Apply(object) => object.reference().kind,
        Event::Delete(object) => object.kind,
        Event::Reset(kind, _) => *kind,
    }
}

fn unasked(name: &str) -> String {
    format!(
        "{name} is not asked for, because segments have more than {NAMES} names: it is nobody in an Allow and everybody in a Deny; \
         remove names, or write networks"
    )
}

/// What people have to know of one name.
fn messages(name: &str, reading: &Reading) -> Vec<String> {
    let mut messages = Vec::new();
    match (reading.is_whole, &reading.failure) {
        (true, None) => {}
        (true, Some(why)) => messages.push(format!(
            "{name} is answered no more ({why}): the addresses that it had last stay in force; correct the name, or see to the \
             name servers that the controller asks"
        )),
        // What there is too much of is told below.
        (false, _) if reading.is_beyond => {}
        (false, None) => messages.push(format!(
            "{name} has no answer yet: until it has, it is nobody in an Allow and everybody in a Deny; the controller asks for names if it \
             is started with --resolve-names"
        )),
        (false, Some(why)) => messages.push(format!(
            "{name} is not known ({why}): it is nobody in an Allow, but for addresses that were answered, and everybody in a Deny; correct the name, or see to the \
             name servers that the controller asks (--dns-server)"
        )),
    }
    if reading.is_beyond {
        messages.push(format!(
            "{name} has more than {ADDRESSES} addresses: the lowest of them count in an Allow, and in a Deny everybody; write its \
             networks instead"
        ));
    }
    if !reading.refused.is_empty() {
        messages.push(format!(
            "{name} is answered with {}, which no name can stand for (this host, this link, a node, or an address of the \
             cluster's ranges): that is left out; name workloads by their labels, or correct the name's records",
            listed(&reading.refused)
        ));
    }
    messages
}

fn listed(addresses: &BTreeSet<IpAddr>) -> String {
    let mut texts: Vec<String> = addresses
        .iter()
        .take(LISTED)
        .map(ToString::to_string)
        .collect();
    let more = addresses.len().saturating_sub(LISTED);
    if more > 0 {
        texts.push(format!("{more} more"));
    }
    texts.join(", ")
}
