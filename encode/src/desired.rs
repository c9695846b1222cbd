//! What the tables of a node have to say, in terms of content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulkhead_graph::{
    Address, Known, NodeGraph, PeerSet, PeerSetId, Prefix, Protocol, RuleSet, RuleSetId,
    ServiceAddress, Timestamp,
};
use rustc_hash::FxHashMap;

use crate::judge::ClassIndex;
use crate::peer_match::{MatchIndex, PeerMatches};
use crate::ports::Ports;
use crate::regions::Regions;
use crate::rule_set::EffectiveRules;
use crate::service::{Itself, ServiceClass};
use crate::{Class, ClassKey, Deadline, Judge, PortClass, PortLayout, Region};

/// A class and how many addresses and prefixes are of it.
#[derive(Debug, Clone)]
pub(crate) struct UsedClass {
    pub(crate) class: Class,
    pub(crate) uses: usize,
}

/// A graph's content as tables, at one instant.
#[derive(Debug)]
pub struct Desired {
    pub(crate) graph: Arc<NodeGraph>,
    pub(crate) now: Timestamp,
    pub(crate) matches: PeerMatches,
    pub(crate) ports: Ports,
    pub(crate) regions: Regions,
    pub(crate) rule_sets: BTreeMap<RuleSetId, EffectiveRules>,
    pub(crate) classes: BTreeMap<ClassKey, UsedClass>,
    pub(crate) peers: BTreeMap<Address, ClassKey>,
    /// The ports of Services, which are cut out of PORTS.
    pub(crate) service_ports: BTreeSet<(Protocol, u16)>,
    /// Which Service addresses lead to an address.
    pub(crate) fronts: BTreeMap<Address, BTreeSet<Address>>,
}

impl Desired {
    /// What the tables have to say at `now`. The graph's references are whole (`NodeGraph::check_references`).
    pub fn build(graph: &Arc<NodeGraph>, now: Timestamp) -> Self {
        let rule_sets: Vec<(RuleSetId, &RuleSet)> = graph
            .rule_sets
            .iter()
            .map(|(id, rules)| (*id, rules.as_ref()))
            .collect();
        let (matches, peer_positions) = PeerMatches::of(rule_sets.iter().map(|(_, rules)| *rules));
        let service_ports = service_ports(graph);
        let (ports, port_positions) = Ports::of(&rule_sets, &service_ports, now);
        let effective = rule_sets
            .iter()
            .map(|(id, rules)| {
                (
                    *id,
                    EffectiveRules::at(*id, rules, now, &peer_positions, &port_positions),
                )
            })
            .collect();
        let mut classes = BTreeMap::new();
        let (ranges, closed) = (&graph.cluster_ranges, &graph.closed);
        let regions = Regions::of(&matches, ranges, closed, |known, closed, by_network| {
            let seen = matches.seen(known, std::iter::empty(), by_network);
            let plain = Class::plain(&matches, seen);
            name(&mut classes, of_nobody(plain, known, closed, &ports))
        });
        let mut desired = Self {
            graph: graph.clone(),
            now,
            matches,
            ports,
            regions,
            rule_sets: effective,
            classes,
            peers: BTreeMap::new(),
            service_ports,
            fronts: BTreeMap::new(),
        };
        let owned = desired.classify_everybody();
        desired.classify_services(&owned);
        desired.count_uses();
        desired
    }

    /// The graph that this says in other words.
    pub fn graph(&self) -> &Arc<NodeGraph> {
        &self.graph
    }

    /// The instant it holds for.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// When it has to be built again: the next date on which some entry ends. The tables end that entry by themselves; what
    /// comes after needs the next decisions. A lease that ends needs nothing: it may be renewed.
    pub fn next_date(&self) -> Option<Timestamp> {
        self.rule_sets
            .values()
            .filter_map(|rules| rules.dates.first().copied())
            .min()
    }

    /// Every end that decisions may refer to.
    pub fn deadlines(&self) -> BTreeSet<Deadline> {
        self.rule_sets
            .values()
            .flat_map(EffectiveRules::deadlines)
            .collect()
    }

    /// The rule sets of the graph.
    pub fn rule_sets(&self) -> &BTreeMap<RuleSetId, EffectiveRules> {
        &self.rule_sets
    }

    /// PEERS: addresses that are of another class than the prefix around them, and those of local workloads.
    pub fn peers(&self) -> &BTreeMap<Address, ClassKey> {
        &self.peers
    }

    /// NETWORKS, by address and length.
    pub fn regions(&self) -> &[Region] {
        &self.regions.list
    }

    /// PORTS, by protocol and first port.
    pub fn port_classes(&self) -> &[PortClass] {
        &self.ports.classes
    }

    /// The classes that some address or prefix is of.
    pub fn classes(&self) -> impl Iterator<Item = (ClassKey, &Class)> {
        self.classes.iter().map(|(key, used)| (*key, &used.class))
    }

    /// What a class is.
    pub fn class(&self, key: ClassKey) -> Option<&Class> {
        self.classes.get(&key).map(|used| &used.class)
    }

    /// The class of any address: its own, else that of the longest prefix around it.
    pub fn class_at(&self, address: Address) -> ClassKey {
        match self.peers.get(&address) {
            Some(key) => *key,
            None => self.regions.list[self.regions.at(address)].class,
        }
    }

    /// The longest region that holds a prefix.
    pub fn region_around(&self, prefix: &Prefix) -> &Region {
        &self.regions.list[self.regions.holding(prefix).unwrap_or(0)]
    }

    /// A layout with the fewest blocks; `None` if there are more port classes than numbers.
    pub fn compact_layout(&self) -> Option<PortLayout> {
        PortLayout::compact(&self.ports)
    }

    /// How many decisions it needs in a layout.
    pub fn decisions(&self, layout: &PortLayout) -> usize {
        Judge::new(self, layout).count(&ClassIndex::of(self))
    }

    /// How many decisions each rule set needs in a layout.
    pub(crate) fn counts(&self, layout: &PortLayout) -> BTreeMap<RuleSetId, usize> {
        let (judge, index) = (Judge::new(self, layout), ClassIndex::of(self));
        let sets = self.rule_sets.iter();
        sets.map(|(id, rules)| (*id, judge.count_of(rules, &index)))
            .collect()
    }

    /// Peer sets with the matches that name them, in the order of their ids.
    pub(crate) fn sets(
        &self,
    ) -> impl Iterator<Item = (&PeerSetId, &Vec<MatchIndex>, &Arc<PeerSet>)> {
        self.matches
            .by_set
            .iter()
            .filter_map(|(id, at)| self.graph.peer_sets.get(id).map(|set| (id, at, set)))
    }

    /// The class of an address as what it is, whatever Service may use it, and what is known of it.
    pub(crate) fn classify(&mut self, address: Address) -> (ClassKey, Class, Known) {
        let region = self.regions.at(address);
        let mut by_set: Vec<MatchIndex> = Vec::new();
        let mut known = self.regions.list[region].known;
        for (_, at, set) in self.sets() {
            if set.contains(address) {
                known = Known::Workload;
                by_set.extend(at);
            }
        }
        if known != Known::Workload && self.graph.known.contains(address) {
            known = Known::Workload;
        }
        let seen = self.matches.seen(
            known,
            by_set.into_iter(),
            &self.regions.list[region].by_network,
        );
        let plain = Class::plain(&self.matches, seen);
        let named = of_nobody(plain, known, self.regions.list[region].closed, &self.ports);
        let class = named.1.clone();
        (name(&mut self.classes, named), class, known)
    }

    /// Puts every address that is not of its prefix's class into `peers`. Returns the Service addresses that belong
    /// to workloads.
    fn classify_everybody(&mut self) -> BTreeSet<Address> {
        const KNOWN: u32 = u32::MAX;
        const LOCAL: u32 = u32::MAX - 1;
        let mut classes = std::mem::take(&mut self.classes);
        let sets: Vec<&Vec<MatchIndex>> = self.sets().map(|(_, at, _)| at).collect();
        // As numbers, because they compare in a few instructions.
        let mut members: Vec<(u128, u32)> = Vec::new();
        let word = |address: Address| u128::from_be_bytes(address.0);
        let mut owned = BTreeSet::new();
        for (number, (_, _, set)) in (0..).zip(self.sets()) {
            members.extend(set.iter().map(|address| (word(address), number)));
        }
        members.extend(
            self.graph
                .known
                .iter()
                .map(|address| (word(address), KNOWN)),
        );
        members.extend(self.local_addresses().map(|address| (word(address), LOCAL)));
        members.sort_unstable();
        let mut lists: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
        let mut memo: FxHashMap<(u32, usize), ClassKey> = FxHashMap::default();
        let mut peers = Vec::with_capacity(members.len());
        let mut list: Vec<u32> = Vec::new();
        for group in members.chunk_by(|a, b| a.0 == b.0) {
            let address = Address(group[0].0.to_be_bytes());
            list.clear();
            list.extend(group.iter().map(|(_, number)| *number));
            list.dedup();
            let local = list.contains(&LOCAL);
            list.retain(|number| *number != LOCAL);
            if list.len() > 1 {
                list.retain(|number| *number != KNOWN);
            }
            if !list.is_empty() && self.graph.services.contains_key(&address) {
                owned.insert(address);
            }
            let region = self.regions.at(address);
            let next = u32::try_from(lists.len()).unwrap_or(u32::MAX);
            let number = match lists.get(list.as_slice()) {
                Some(number) => *number,
                None => *lists.entry(list.clone()).or_insert(next),
            };
            let key = *memo.entry((number, region)).or_insert_with(|| {
                let region = &self.regions.list[region];
                let known = if list.is_empty() {
                    region.known
                } else {
                    Known::Workload
                };
                let named = list.iter().filter(|number| **number != KNOWN);
                let by_set = named.flat_map(|number| sets[*number as usize].iter().copied());
                let seen = self.matches.seen(known, by_set, &region.by_network);
                let plain = Class::plain(&self.matches, seen);
                name(
                    &mut classes,
                    of_nobody(plain, known, region.closed, &self.ports),
                )
            });
            if local || key != self.regions.list[region].class {
                peers.push((address, key));
            }
        }
        self.classes = classes;
        self.peers = peers.into_iter().collect();
        owned
    }

    fn local_addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.graph
            .workloads
            .values()
            .flat_map(|workload| workload.addresses.iter().copied())
    }

    /// `owned` are the Service addresses that belong to workloads.
    fn classify_services(&mut self, owned: &BTreeSet<Address>) {
        let graph = self.graph.clone();
        let mut classified: Vec<(Address, ClassKey)> = Vec::with_capacity(graph.services.len());
        for (address, service) in graph.services.iter() {
            self.add_fronts(*address, service);
            // Until the Services are put in, `peers` says what each address is by itself.
            let own = self.class_at(*address);
            let known = if owned.contains(address) {
                Known::Workload
            } else {
                Known::Outside
            };
            let class = self.classes[&own].class.clone();
            classified.push((
                *address,
                self.service_class(&graph, service, (own, class, known)),
            ));
        }
        self.peers.extend(classified);
    }

    pub(crate) fn add_fronts(&mut self, address: Address, service: &ServiceAddress) {
        for backend in service.ports.iter().flat_map(|port| &port.backends) {
            self.fronts
                .entry(backend.address)
                .or_default()
                .insert(address);
        }
    }

    pub(crate) fn remove_fronts(&mut self, address: Address, service: &ServiceAddress) {
        for backend in service.ports.iter().flat_map(|port| &port.backends) {
            if let Some(fronts) = self.fronts.get_mut(&backend.address) {
                fronts.remove(&address);
                if fronts.is_empty() {
                    self.fronts.remove(&backend.address);
                }
            }
        }
    }

    /// The class of a Service address.
    pub(crate) fn classify_service(&mut self, address: Address) -> ClassKey {
        let graph = self.graph.clone();
        let own = self.classify(address);
        match graph.services.get(&address) {
            Some(service) => self.service_class(&graph, service, own),
            None => own.0,
        }
    }

    /// `own` is the class of the address as what it is, and what is known of it.
    fn service_class(
        &mut self,
        graph: &NodeGraph,
        service: &ServiceAddress,
        (own, class, known): (ClassKey, Class, Known),
    ) -> ClassKey {
        let counts = service.external || known == Known::Workload;
        let itself = if counts {
            Itself::Counts
        } else {
            Itself::IsNothing
        };
        let ports = std::mem::take(&mut self.ports);
        let named = ServiceClass::of(service, &(own, class), itself, &ports, |backend| {
            self.plain_class(graph, backend)
        });
        self.ports = ports;
        name(&mut self.classes, named)
    }

    /// The class of a backend's address as what it is.
    fn plain_class(&mut self, graph: &NodeGraph, address: Address) -> (ClassKey, Class) {
        if graph.services.contains_key(&address) {
            let (key, class, _) = self.classify(address);
            return (key, class);
        }
        let key = self.class_at(address);
        match self.classes.get(&key) {
            Some(used) => (key, used.class.clone()),
            None => {
                let (key, class, _) = self.classify(address);
                (key, class)
            }
        }
    }

    fn count_uses(&mut self) {
        let peers = self.peers.values().copied();
        let mut uses: FxHashMap<ClassKey, usize> = FxHashMap::default();
        for key in peers.chain(self.regions.list.iter().map(|region| region.class)) {
            *uses.entry(key).or_default() += 1;
        }
        self.classes.retain(|key, used| {
            used.uses = uses.get(key).copied().unwrap_or(0);
            used.uses > 0
        });
    }
}

/// The class of an address that belongs to no Service: nobody's is closed where Service addresses were left out.
fn of_nobody(
    plain: (ClassKey, Class),
    known: Known,
    closed: bool,
    ports: &Ports,
) -> (ClassKey, Class) {
    if closed && known == Known::Outside {
        ServiceClass::nowhere(plain, ports)
    } else {
        plain
    }
}

/// The ports that clients of Services use.
pub(crate) fn service_ports(graph: &NodeGraph) -> BTreeSet<(Protocol, u16)> {
    let ports = graph.services.values().flat_map(|service| &service.ports);
    ports.map(|port| (port.protocol, port.port)).collect()
}

/// Files a class under its name.
pub(crate) fn name(
    classes: &mut BTreeMap<ClassKey, UsedClass>,
    (key, class): (ClassKey, Class),
) -> ClassKey {
    classes.entry(key).or_insert(UsedClass { class, uses: 0 });
    key
}
