//! What is in force, and the steps that change it. Time comes in as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_datapath::abi::{
    Capacity, CounterIndex, EventRecord, ExpiryId, Generation, Hook, LossIndex, NODE_ADDRESS_OTHER,
    NODE_ADDRESS_OWN, Reason, TalkKey, TalkValue, WorkloadSlot,
};
use bulkhead_encode::{Changes, Clock, Fitted, Limits, fit, table_address};
use bulkhead_graph::{
    Digest, LocalWorkload, NodeGraph, PeerSet, SharedWorkload, Timestamp, WorkloadUid,
};
use bulkhead_wire::{self as wire, Frontier};
use thiserror::Error;
use tracing::{debug, error, info, warn};

use super::budgets::with_budgets;
use super::hooks::Hooks;
use super::journal::{Entry, Journal, Others};
use super::writer::Timed;
use crate::clock;
use crate::events::full_name;
use crate::interfaces::{Found, Links, Unfound, find, recover};
use crate::kernel::{Kernel, KernelError, Timeouts};
use crate::lanes::{self, Attached, CommitError, Interface, Kernel as _, Plan, PlanError, Planner};
use crate::metrics::{Kernel as Figures, Swept};
use crate::talks::{Names, Reading, Talks};

/// Why the kernel could not be led to a graph.
#[derive(Debug, Error)]
pub enum EnforceError {
    /// Old and new revision do not fit beside each other.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A write, a wait or the read-back failed.
    #[error("{}", with_source(.0))]
    Commit(#[from] CommitError<KernelError>),
    /// Something beside the tables.
    #[error(transparent)]
    Kernel(KernelError),
}

fn with_source(error: &CommitError<KernelError>) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// What an ack says beside digest and times.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Use of the tables.
    pub used: wire::Limits,
    /// Cut off, because they do not fit.
    pub denied: Vec<wire::Denied>,
    /// Without hook.
    pub unprotected: Vec<wire::Unprotected>,
    /// Behind both hooks.
    pub protected: u32,
}

/// A commit that was read back.
#[derive(Debug)]
pub struct Done {
    /// Nothing if the kernel was as desired already.
    committed: Option<lanes::Committed>,
    /// Writes up to the flip.
    pub writes: usize,
    /// When the last write before the wait was made.
    pub flipped_at: Instant,
}

/// What a successor has to know of a revision.
#[derive(Debug, Clone)]
pub struct Note {
    /// Its name; `None` where everything is closed because nobody knows yet who the workloads are.
    pub digest: Option<Digest>,
    /// Its inputs.
    pub frontier: Frontier,
}

/// The element of EXPIRIES that no decision refers to holds when the controller was last heard.
pub(super) const HEARD: u32 = ExpiryId::NONE.0;

/// Leases are not moved by less: it comes with every answer.
const HEARD_STEP_NS: u64 = 500_000_000;

/// What came of hearing the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Every lease counts from then on.
    Renewed,
    /// The next commit has to bring the leases there.
    ToCommit,
    /// It is no news.
    Known,
}

/// See the module.
pub struct State {
    kernel: Kernel,
    planner: Planner,
    limits: Limits,
    /// `None` before the first graph.
    fitted: Option<Fitted>,
    /// The graph in force.
    graph: Arc<NodeGraph>,
    links: Links,
    found: Found,
    /// What kept hooks off interfaces that were found.
    unattached: BTreeMap<WorkloadUid, String>,
    hooks: Hooks,
    /// Whether some revision was in force, by this agent or one before it.
    has_been_enforced: bool,
    /// Programs of other ABI versions on interfaces.
    others: Others,
    journal: Journal,
    talks: Talks,
    /// When what is enforced was last known to be right, by the programs' clock. It lies in the kernel, so that a restart makes
    /// it no newer; a kernel that was booted has heard nothing.
    heard_ns: u64,
}

/// Who is who on this node now.
struct Owners<'a> {
    graph: &'a NodeGraph,
    planner: &'a Planner,
    by_address: BTreeMap<bulkhead_graph::Address, &'a LocalWorkload>,
}

impl Names for Owners<'_> {
    fn workload(&self, slot: WorkloadSlot, incarnation: u8) -> Option<String> {
        let held = self.planner.tables().workloads.get(&slot)?;
        let owner = self.graph.workloads.get(self.planner.owner(slot)?)?;
        (held.incarnation == incarnation).then(|| full_name(owner))
    }

    fn peer(&self, address: bulkhead_graph::Address) -> Option<String> {
        self.by_address.get(&address).map(|owner| full_name(owner))
    }
}

impl State {
    /// Takes over a kernel as it is, with the node's links. Hooks that hold older programs get those of this binary, in place.
    ///
    /// # Errors
    /// If the tables cannot be read.
    pub fn open(mut kernel: Kernel, links: Links) -> Result<Self, KernelError> {
        let limits = Limits::of(&kernel.maps.capacity);
        write_surroundings(&mut kernel, None, &links)?;
        let planner = Planner::new(kernel.read()?);
        let mut hooks = Hooks::default();
        hooks.forget(&mut kernel, &links);
        let updated = kernel.update_links()?;
        debug!(updated, "the hooks hold this binary's programs");
        hooks.adopt(&kernel, &links)?;
        let others = if kernel.other_links()?.is_empty() {
            Others::None
        } else {
            Others::Guard
        };
        let journal = Journal::from_bytes(&kernel.slate.read()?);
        let has_been_enforced = !hooks.guarded().is_empty();
        let heard_ns = kernel.maps.expiries.read(HEARD).unwrap_or(0);
        Ok(Self {
            kernel,
            planner,
            limits,
            fitted: None,
            graph: Arc::default(),
            links,
            found: Found::default(),
            unattached: BTreeMap::new(),
            hooks,
            has_been_enforced,
            others,
            journal,
            talks: Talks::default(),
            heard_ns,
        })
    }

    /// The number of what is in force.
    pub fn generation(&self) -> Generation {
        self.planner.generation()
    }

    /// What the last agent noted, or this one has.
    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether programs of other ABI versions stand on interfaces.
    pub(super) fn others(&self) -> Others {
        self.others
    }

    /// The node's links, as they were given last.
    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    /// The graph in force; the empty one before the first.
    pub fn graph(&self) -> &NodeGraph {
        &self.graph
    }

    /// The same, to be kept.
    pub fn shared_graph(&self) -> Arc<NodeGraph> {
        self.graph.clone()
    }

    /// Whether there has been one.
    pub fn has_graph(&self) -> bool {
        self.fitted.is_some()
    }

    /// Leads the kernel to `graph` and reads it back. On an error the graph in force is the same as before, unless only
    /// waiting or reading back failed: then it is the new one, which the next commit has to confirm.
    ///
    /// # Errors
    /// If the kernel does not take or hold it.
    pub fn commit(
        &mut self,
        graph: Arc<NodeGraph>,
        note: &Note,
        clock: Clock,
    ) -> Result<Done, EnforceError> {
        let clock = self.hearing(clock);
        let before = self.has_graph().then(|| self.graph.clone());
        let generation = self.generation();
        let mut outcome = self.try_commit(&graph, note, clock);
        if outcome.is_err() && before.is_none() && self.generation() == generation {
            // The first one of this agent: what an apply of another one has left may have been in its way.
            self.fitted = None;
            if self.make_room() > 0 {
                outcome = self.try_commit(&graph, note, clock);
            }
        }
        match outcome {
            Ok(done) => {
                self.graph = graph;
                self.note(note);
                self.keep_heard();
                Ok(done)
            }
            Err(error) => {
                self.make_room();
                let flipped = self.generation() != generation;
                match (before, &mut self.fitted) {
                    _ if flipped => self.graph = graph,
                    (Some(before), Some(fitted)) => drop(fitted.update(&before, clock.wall)),
                    // There is none to go on with.
                    (None, fitted) => *fitted = None,
                    (Some(_), None) => {}
                }
                Err(error)
            }
        }
    }

    /// After a failure: starts from what the kernel really holds, and takes out what it left behind, or somebody else put there,
    /// and what would take the room that the next one needs. Returns how many entries that were.
    fn make_room(&mut self) -> usize {
        match self.kernel.read() {
            Ok(tables) => self.planner.reread(tables),
            Err(error) => warn!(%error, "the tables cannot be read after a failure"),
        }
        match lanes::clear_away(&mut self.kernel, &mut self.planner) {
            Ok(writes) => {
                debug!(writes, "entries that nothing leads to are gone");
                writes
            }
            Err(error) => {
                warn!(%error, "what is left over stays for now");
                0
            }
        }
    }

    fn hearing(&self, clock: Clock) -> Clock {
        Clock {
            heard_ns: self.heard_ns,
            ..clock
        }
    }

    /// When what is enforced was last known to be right; `None` = never since the machine was started.
    pub fn heard_ns(&self) -> Option<u64> {
        (self.heard_ns != 0).then_some(self.heard_ns)
    }

    /// What is enforced was right at `heard_ns`. Kept in the kernel after everything that follows from it: whoever is killed in
    /// between leaves leases that its successor does not take for its own.
    ///
    /// # Errors
    /// If the kernel does not take a store.
    pub fn heard(&mut self, heard_ns: u64, clock: Clock) -> Result<Heard, KernelError> {
        if heard_ns < self.heard_ns.saturating_add(HEARD_STEP_NS) {
            return Ok(Heard::Known);
        }
        // What the leases in the kernel count from, and not what a commit that failed was to bring them to.
        let before = Clock {
            heard_ns: self.kernel.maps.expiries.read(HEARD).unwrap_or(0),
            ..clock
        };
        let after = Clock { heard_ns, ..clock };
        match self.planner.renewal(before, after) {
            lanes::Renewal::Stores(stores) => {
                for store in stores {
                    self.kernel.write(&store)?;
                    self.planner.note(&store);
                }
                self.heard_ns = heard_ns;
                self.keep_heard();
                Ok(Heard::Renewed)
            }
            lanes::Renewal::Anew => {
                self.planner.doubt();
                self.heard_ns = heard_ns;
                Ok(Heard::ToCommit)
            }
        }
    }

    /// Notes in the kernel what the leases in it count from.
    fn keep_heard(&mut self) {
        let element = self.kernel.maps.expiries.read(HEARD);
        if element != Some(self.heard_ns) && !self.kernel.maps.expiries.store(HEARD, self.heard_ns)
        {
            error!(
                "when the controller was heard cannot be noted; a restarted agent takes leases for ended"
            );
        }
    }

    /// Notes in the kernel what is in force.
    pub(super) fn note(&mut self, note: &Note) {
        let current = Entry::new(self.generation(), note.digest, &note.frontier);
        self.write_journal(Journal {
            current: Some(current),
            next: None,
        });
    }

    fn write_journal(&mut self, journal: Journal) {
        if journal == self.journal {
            return;
        }
        self.journal = journal;
        if let Err(error) = self.kernel.slate.write(&self.journal.to_bytes()) {
            // Whatever was there names another generation: the next agent will leave the kernel alone.
            error!(%error, "what is in force cannot be noted; a restarted agent would wait for the controller");
        }
    }

    fn try_commit(
        &mut self,
        graph: &Arc<NodeGraph>,
        note: &Note,
        clock: Clock,
    ) -> Result<Done, EnforceError> {
        if !self.has_graph() || self.graph.node_addresses != graph.node_addresses {
            write_surroundings(&mut self.kernel, Some(&graph.node_addresses), &self.links)
                .map_err(EnforceError::Kernel)?;
        }
        let found = match self.fitted {
            Some(_) => find(graph, &self.links, &self.found.bindings),
            None => {
                let guarded = self.hooks.guarded();
                let tables = self.planner.tables();
                let before = recover(graph, &self.links, tables, &guarded);
                find(graph, &self.links, &before)
            }
        };
        let attached: Attached = found
            .bindings
            .iter()
            .map(|(uid, binding)| {
                (
                    uid.clone(),
                    Interface {
                        ifindex: binding.ifindex,
                        mac: binding.mac,
                        flags: 0,
                    },
                )
            })
            .collect();
        let (fitted, changes) = match &mut self.fitted {
            Some(fitted) => {
                let changes = fitted.update(graph, clock.wall);
                (fitted, changes)
            }
            empty @ None => (
                empty.insert(fit(graph, &self.limits, clock.wall)),
                Changes::Everything,
            ),
        };
        let plan = self
            .planner
            .plan(&fitted.desired, &attached, &changes, clock);
        let committed = plan
            .map_err(EnforceError::from)
            .and_then(|plan| self.perform(plan, note));
        self.share_flows(attached.len());
        // Before there was a revision, nothing is closed because it could not be taken. From then on a workload that comes
        // while none can be taken is guarded all the same, and closed: the tables do not know its interface.
        if committed.is_ok() || self.has_been_enforced {
            self.attach(&found);
        }
        let done = committed?;
        self.has_been_enforced = true;
        self.found = found;
        self.supersede();
        Ok(done)
    }

    /// Gives every workload its share of the flow table, whichever of the old and the new ones are more.
    fn share_flows(&mut self, workloads: usize) {
        let held = self.planner.tables().interfaces.values();
        let held: BTreeSet<_> = held.filter(|slot| **slot != WorkloadSlot::BRIDGE).collect();
        let maps = &self.kernel.maps;
        if let Some(node) = maps.node.read(0) {
            let shared = with_budgets(node, &maps.capacity, workloads.max(held.len()));
            maps.node.write_limits(&shared);
        }
    }

    /// Performs a plan up to the flip and its read-back.
    fn perform(&mut self, plan: Plan, note: &Note) -> Result<Done, EnforceError> {
        debug!(writes = plan.len(), flips = plan.flip.is_some(), "planned");
        let mut done = Done {
            committed: None,
            writes: 0,
            flipped_at: Instant::now(),
        };
        if let Some(generation) = plan.flip {
            // Before it is in force: whenever this process ends, its successor knows which revision the kernel holds.
            self.write_journal(Journal {
                current: self.journal.current.clone(),
                next: Some(Entry::new(generation, note.digest, &note.frontier)),
            });
        }
        if !plan.is_empty() {
            let mut kernel = Timed {
                kernel: &mut self.kernel,
                flipped_at: None,
            };
            let committed = lanes::commit(&mut kernel, &mut self.planner, plan)?;
            done.flipped_at = kernel.flipped_at.unwrap_or(done.flipped_at);
            done.writes = committed.writes;
            done.committed = Some(committed);
        }
        Ok(done)
    }

    fn attach(&mut self, found: &Found) {
        self.unattached.clear();
        for (uid, binding) in &found.bindings {
            // One interface that cannot be guarded keeps no other workload from its rules (I10).
            if let Err(error) = self.hooks.attach(&mut self.kernel, binding) {
                warn!(%error, interface = binding.name, "cannot be guarded");
                self.unattached
                    .insert(uid.clone(), format!("interface {}: {error}", binding.name));
            }
        }
    }

    /// Programs of another ABI version guard until the own tables hold what they should.
    fn supersede(&mut self) {
        if self.others == Others::None {
            return;
        }
        match self.hooks.supersede(&mut self.kernel, &self.links) {
            Ok(links) => {
                self.others = Others::None;
                info!(links, "took over from programs of another version");
            }
            Err(error) => warn!(%error, "programs of another version stay and judge, too"),
        }
    }

    /// Tidies up after the ack. Returns all writes of the step.
    ///
    /// # Errors
    /// If the kernel refuses; the revision is in force all the same.
    pub fn settle(&mut self, done: Done) -> Result<usize, EnforceError> {
        let Some(committed) = done.committed else {
            return Ok(done.writes);
        };
        let settled = lanes::settle(&mut self.kernel, &mut self.planner, committed);
        if settled.is_err() {
            // The next commit compares everything, and so finishes this one.
            self.reread()?;
        }
        Ok(settled?)
    }

    /// The links as they are now. Says whether something depends on the change.
    pub fn set_links(&mut self, links: Links) -> bool {
        if links == self.links {
            return false;
        }
        let nodes = self.has_graph().then_some(&*self.graph.node_addresses);
        if let Err(error) = write_surroundings(&mut self.kernel, nodes, &links) {
            warn!(%error, "the node's own addresses could not be written");
        }
        self.hooks.forget(&mut self.kernel, &links);
        self.links = links;
        true
    }

    /// Whether looking for interfaces again soon may find more.
    pub fn is_waiting(&self) -> bool {
        self.found.is_waiting() || self.is_unattached()
    }

    /// Whether an interface that was found could not be guarded.
    pub fn is_unattached(&self) -> bool {
        !self.unattached.is_empty()
    }

    /// For the ack.
    pub fn report(&self) -> Report {
        let name = |uid: &WorkloadUid| match self.graph_workload(uid) {
            Some(workload) => format!("{}/{}", workload.namespace, workload.name),
            None => uid.0.to_string(),
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mut report = Report::default();
        if let Some(fitted) = &self.fitted {
            report.used = wire::Limits {
                workloads: count(self.found.bindings.len()),
                peers: count(fitted.need.peers),
                networks: count(fitted.need.networks),
                decisions: count(fitted.need.decisions),
                expiries: count(fitted.need.deadlines),
            };
            report.denied = fitted
                .unfit
                .iter()
                .map(|unfit| wire::Denied {
                    uid: unfit.uid.0.to_string(),
                    name: format!("{}/{}", unfit.namespace, unfit.name),
                    reason: unfit.needed.excess(&self.limits),
                })
                .collect();
        }
        for (uid, unfound) in &self.found.unfound {
            // Without an address there is nothing to guard yet.
            if *unfound != Unfound::NoAddress {
                let reason = unfound.reason();
                report.unprotected.push(wire::Unprotected {
                    uid: uid.0.to_string(),
                    name: name(uid),
                    reason,
                });
            }
        }
        for (uid, reason) in &self.unattached {
            let reason = reason.clone();
            report.unprotected.push(wire::Unprotected {
                uid: uid.0.to_string(),
                name: name(uid),
                reason,
            });
        }
        report.unprotected.sort();
        report.protected = count(self.found.bindings.len() - self.unattached.len());
        report
    }

    fn graph_workload(&self, uid: &WorkloadUid) -> Option<&SharedWorkload> {
        let fitted = self.fitted.as_ref().map(|fitted| fitted.desired.graph());
        self.graph
            .workloads
            .get(uid)
            .or_else(|| fitted?.workloads.get(uid))
    }

    /// Which sizes a revision may have here, for Hello.
    pub fn limits(capacity: &Capacity) -> wire::Limits {
        let Limits(limits) = Limits::of(capacity);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        wire::Limits {
            workloads: capacity.workloads,
            peers: count(limits.peers),
            networks: count(limits.networks),
            decisions: count(limits.decisions),
            expiries: count(limits.deadlines),
        }
    }

    /// Whether a deadline has passed since the tables were computed.
    pub fn deadline_passed(&self, now: Timestamp) -> bool {
        let next = self
            .fitted
            .as_ref()
            .and_then(|fitted| fitted.desired.next_date());
        next.is_some_and(|deadline| deadline <= now)
    }

    /// Starts from what the kernel really holds: the next commit repairs what drifted.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn reread(&mut self) -> Result<(), KernelError> {
        let tables = self.kernel.read()?;
        self.planner.reread(tables);
        Ok(())
    }

    /// Puts hooks back that somebody took off. Returns how many interfaces lacked them.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn check_hooks(&mut self) -> Result<usize, KernelError> {
        self.hooks.check(&mut self.kernel)
    }

    /// Takes out flows that are over, and puts budgets right.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn sweep(&mut self, timeouts: &Timeouts, tick: u32) -> Result<Swept, KernelError> {
        let tables = self.planner.tables();
        let owned: BTreeSet<WorkloadSlot> = tables.interfaces.values().copied().collect();
        let incarnations: BTreeMap<WorkloadSlot, u8> = tables
            .workloads
            .iter()
            .map(|(slot, workload)| (*slot, workload.incarnation))
            .collect();
        let is_owner = |slot: WorkloadSlot, incarnation: u8| {
            owned.contains(&slot) && incarnations.get(&slot) == Some(&incarnation)
        };
        let sweep = self.kernel.sweep(timeouts, tick, is_owner)?;
        Ok(Swept {
            live: sweep.live.len(),
            over: sweep.over.len(),
            corrected: sweep.corrected,
        })
    }

    /// Takes up what was denied since the last time.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn read_talks(&mut self) -> Result<Reading, KernelError> {
        let workloads = self.graph.workloads.values();
        let owners = Owners {
            graph: &self.graph,
            planner: &self.planner,
            by_address: workloads
                .flat_map(|workload| workload.addresses.iter().map(move |at| (*at, &**workload)))
                .collect(),
        };
        let talks = &mut self.kernel.maps.talks;
        let sum = |values: Vec<TalkValue>| TalkValue {
            packets: values.iter().map(|value| value.packets).sum(),
            bytes: values.iter().map(|value| value.bytes).sum(),
        };
        // A reading that meets a deletion may begin again, and tell an entry twice.
        let entries: BTreeMap<TalkKey, Vec<TalkValue>> = talks.entries()?.into_iter().collect();
        let entries = entries.into_iter().map(|(key, values)| (key, sum(values)));
        let capacity = self.kernel.maps.capacity.talks;
        let mut reading = self.talks.read(entries.collect(), capacity, &owners);
        for key in &reading.over {
            if let Some(last) = talks.take(key)? {
                reading
                    .added
                    .extend(self.talks.taken(key, sum(last), &owners));
            }
        }
        let here: BTreeSet<String> = self
            .graph
            .workloads
            .values()
            .map(|w| full_name(w))
            .collect();
        reading.gone = self.talks.keep(|workload| here.contains(workload));
        Ok(reading)
    }

    /// Logs what the programs say of themselves.
    pub fn drain_diagnostics(&mut self) {
        self.kernel.diagnostics.drain();
    }

    /// What the programs reported.
    pub fn drain_events(&mut self, limit: usize) -> Vec<EventRecord> {
        self.kernel.events.drain(limit)
    }

    /// Who owns a slot.
    pub fn owner(&self, slot: WorkloadSlot) -> Option<&LocalWorkload> {
        self.graph
            .workloads
            .get(self.planner.owner(slot)?)
            .map(|workload| &**workload)
    }

    /// For how long it has not been known that what is enforced is right.
    fn unheard(&self, now_ns: u64) -> Option<Duration> {
        let heard_ns = self.heard_ns()?;
        Some(Duration::from_nanos(now_ns.saturating_sub(heard_ns)))
    }

    /// What the kernel counts.
    pub fn figures(&self) -> Figures {
        let maps = &self.kernel.maps;
        let mut figures = Figures {
            generation: self.planner.generation().0,
            unheard: self.unheard(clock::monotonic_ns()),
            ..Figures::default()
        };
        for hook in Hook::ALL {
            for reason in Reason::ALL {
                let Ok(values) = maps.counters.get(CounterIndex::new(hook, *reason).0) else {
                    continue;
                };
                let packets: u64 = values.iter().map(|value| value.packets).sum();
                if packets > 0 {
                    let bytes = values.iter().map(|value| value.bytes).sum();
                    figures.packets.push((
                        hook.name(),
                        reason.name(),
                        reason.passes(),
                        packets,
                        bytes,
                    ));
                }
            }
        }
        for loss in LossIndex::ALL {
            let lost = maps
                .losses
                .get(loss as u32)
                .map_or(0, |values| values.iter().sum());
            figures.losses.push((loss.name(), lost));
        }
        figures
    }
}

/// What the programs have to know beside the node's workloads: its own addresses, those of all nodes, and its bridges.
/// Before there is a graph nobody knows the other nodes, and what stands there of them stays.
fn write_surroundings(
    kernel: &mut Kernel,
    nodes: Option<&PeerSet>,
    links: &Links,
) -> Result<(), KernelError> {
    let others = nodes.into_iter().flat_map(PeerSet::iter);
    let mut wanted: BTreeMap<_, u32> = others
        .map(|address| (table_address(address), NODE_ADDRESS_OTHER))
        .collect();
    let own = links.own.iter();
    wanted.extend(own.map(|address| (table_address(*address), NODE_ADDRESS_OWN)));
    let map = &mut kernel.maps.node_addresses;
    for (address, bits) in map.entries()? {
        if wanted.get(&address) == Some(&bits) {
            wanted.remove(&address);
        } else if nodes.is_some() || bits & NODE_ADDRESS_OWN != 0 || wanted.contains_key(&address) {
            map.remove(&address)?;
        }
    }
    for (address, bits) in wanted {
        map.insert(&address, &bits)?;
    }
    for ifindex in &links.bridges {
        kernel
            .maps
            .interfaces
            .insert(ifindex, &WorkloadSlot::BRIDGE)?;
    }
    Ok(())
}
