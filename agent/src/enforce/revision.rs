//! What the controller says: a revision, that the one in force is right for newer inputs, and how old those are.

use std::time::Instant;

use bulkhead_graph::Digest;
use bulkhead_wire::{Answer, Frontier, Refusal, Refused, Revision};
use tracing::{debug, error, info, info_span, warn};

use super::accept::accept;
use super::{Enforcer, Heard, Note};
use crate::clock;

impl Enforcer {
    pub(super) fn revision(&mut self, revision: &Revision) {
        let arrived = Instant::now();
        let target = revision.delta.target;
        let _span = info_span!("revision", revision = %target).entered();
        let accepted = accept(self.frontier.as_ref(), self.state.graph(), revision);
        let before = self.state.generation();
        let outcome = accepted.and_then(|(graph, inputs)| {
            let enforced = self.enforce(graph, inputs, arrived);
            enforced.map_err(|error| (Refusal::Kernel, error.to_string()))
        });
        match outcome {
            Ok(writes) => {
                let micros = u64::try_from(arrived.elapsed().as_micros()).unwrap_or(u64::MAX);
                info!(writes, micros, "in force");
            }
            Err((refusal, reason)) => {
                let refusal_name = refusal.name();
                if self.state.generation() == before {
                    warn!(
                        refusal = refusal_name,
                        reason, "refused; what was in force still is"
                    );
                } else {
                    error!(
                        reason,
                        "in force, but not as it should be; it is not acknowledged"
                    );
                }
                self.outputs.metrics.refused(refusal);
                let refused = Refused {
                    digest: target,
                    refusal,
                    reason,
                };
                if self.outputs.refusals.try_send(refused).is_err() {
                    debug!("nobody to tell the refusal to");
                }
            }
        }
    }

    /// Says whether this is what is in force here, of inputs that are no older.
    pub(super) fn confirm(&mut self, digest: Digest, frontier: Frontier) -> bool {
        let known = self.frontier.as_ref();
        if !known.is_some_and(|(held, before)| *held == digest && frontier.reaches(before)) {
            return false;
        }
        let mut is_acked = false;
        self.outputs.acks.send_if_modified(|ack| match ack {
            Some(ack) if ack.digest == digest => {
                is_acked = true;
                let moved = ack.frontier != frontier;
                ack.frontier = frontier.clone();
                moved
            }
            Some(_) | None => false,
        });
        if is_acked {
            // On disk it is noted in the rhythm of the audits: a disk is not to be written for every bookmark.
            self.state.note(&Note {
                digest: Some(digest),
                frontier: frontier.clone(),
            });
            self.frontier = Some((digest, frontier));
        }
        is_acked
    }

    /// Leases count from when it was asked, less the age of what was answered: whatever held the answer up makes it no newer.
    pub(super) fn heard(&mut self, answer: Answer) {
        let clock = clock::now();
        if answer.at > clock.monotonic_ns {
            warn!("an answer to a question that was never asked; it counts for nothing");
            return;
        }
        let age_ns = answer.age_ms.saturating_mul(1_000_000);
        let heard_ns = answer.at.saturating_sub(age_ns);
        match self.state.heard(heard_ns, clock) {
            Ok(Heard::Renewed | Heard::Known) => {}
            Ok(Heard::ToCommit) => self.again("leases get new numbers"),
            Err(error) => error!(%error, "leases cannot be renewed; what they allow ends"),
        }
    }
}
