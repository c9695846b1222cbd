//! What people have to know of objects that are in force otherwise than they may think.

use super::Engine;
use super::arena::Key;
use super::workload::{Owner, WorkloadState};
use crate::model::{Kind, ObjectRef};

/// One thing that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Whose it is.
    pub object: ObjectRef,
    /// What is wrong and what to do.
    pub message: String,
}

impl Engine {
    /// Addresses with several owners, and Services that there is no room for. Sorted.
    pub fn findings(&mut self) -> Vec<Finding> {
        self.settle();
        let mut findings: Vec<Finding> = self
            .services
            .problems()
            .iter()
            .map(|(object, message)| Finding {
                object: object.clone(),
                message: message.clone(),
            })
            .collect();
        for address in &self.workloads.contested {
            let mut claimants: Vec<ObjectRef> = self
                .workloads
                .claimants(*address)
                .iter()
                .map(|claimant| self.workloads.arena[*claimant].object())
                .collect();
            claimants.sort();
            let [first, others @ ..] = &claimants[..] else {
                continue;
            };
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            findings.push(Finding {
                object: first.clone(),
                message: format!(
                    "{} also claims {address}; the address belongs to nobody and is denied: correct the addresses or remove one",
                    others.join(", ")
                ),
            });
        }
        findings.extend(self.void_claims());
        findings.sort();
        findings
    }

    /// Declared workloads without a right to what they claim.
    fn void_claims(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for address in self.workloads.declared() {
            let claimants = self.workloads.claimants(address);
            let is_pod =
                |claimant: &&Key<WorkloadState>| self.workloads.arena[**claimant].kind == Kind::Pod;
            let why = if let Some(pod) = claimants.iter().find(is_pod) {
                format!("{} has it", self.workloads.arena[*pod].object())
            } else if self.workloads.owner(address, &self.nodes) == Owner::Nobody {
                "it lies in the range of a node's pods".to_owned()
            } else {
                continue;
            };
            findings.extend(claimants.iter().filter(|claimant| !is_pod(claimant)).map(|claimant| Finding {
                object: self.workloads.arena[*claimant].object(),
                message: format!("its claim on {address} counts for nothing, because {why}; correct the address"),
            }));
        }
        findings
    }
}
