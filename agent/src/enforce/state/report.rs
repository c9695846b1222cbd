//! What an ack says of a revision beside digest and times.

use bulkhead_datapath::abi::Capacity;
use bulkhead_encode::Limits;
use bulkhead_graph::{SharedWorkload, WorkloadUid};
use bulkhead_wire as wire;

use super::State;
use crate::interfaces::Unfound;

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

impl State {
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
}
