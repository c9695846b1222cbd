//! The step that leads the kernel to a graph, and back where it does not take it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bulkhead_datapath::abi::WorkloadSlot;
use bulkhead_encode::{Changes, Clock, fit};
use bulkhead_graph::NodeGraph;
use tracing::{debug, info, warn};

use super::surroundings::write_surroundings;
use super::{Note, State};
use crate::enforce::budgets::with_budgets;
use crate::enforce::error::EnforceError;
use crate::enforce::journal::{Entry, Journal, Others};
use crate::enforce::writer::Timed;
use crate::interfaces::{Found, find, recover};
use crate::lanes::{self, Attached, Interface, Kernel as _, Plan};

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

impl State {
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
}
