//! What people have to know of objects that are in force otherwise than they may think.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Engine;
use super::arena::Key;
use super::compile::Compiled;
use super::names::Name;
use super::selector::{PortName, Selector};
use super::workload::{Owner, WorkloadState};
use crate::model::{
    Action, Direction, Interned, Kind, ObjectRef, Policy, Port, Ports, Protocol, Subject, Tier,
};

/// One thing that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Whose it is.
    pub object: ObjectRef,
    /// What is wrong and what to do.
    pub message: String,
}

impl Engine {
    /// Addresses with several owners, Services and peers of policies that there is no room for, names of ports that a destination does not give where
    /// that closes more than is written, and quarantines of who is not there. Sorted.
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
        findings.extend(self.crowded_policies());
        findings.extend(self.void_claims());
        findings.extend(self.void_port_names());
        findings.extend(self.void_quarantines());
        findings.sort();
        findings
    }

    /// Rules that deny a whole protocol to somebody, because they name a port that is called so nowhere there.
    fn void_port_names(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (_, state) in self.policies.arena.iter() {
            let Some(compiled) = state.compiled else {
                continue;
            };
            for direction in [Direction::Ingress, Direction::Egress] {
                for (at, name) in
                    self.void_names(&state.policy, &self.compiled[compiled], direction)
                {
                    let word = match direction {
                        Direction::Ingress => "ingress",
                        Direction::Egress => "egress",
                    };
                    findings.push(Finding {
                        object: state.policy.object.clone(),
                        message: format!(
                            "{word}[{at}] denies the whole protocol to those destinations that call no port {name}; \
                             correct the name, or write the port as a number"
                        ),
                    });
                }
            }
        }
        findings
    }

    /// Index of the rule, and the name that somebody does not give.
    fn void_names(
        &self,
        policy: &Policy,
        compiled: &Compiled,
        direction: Direction,
    ) -> BTreeSet<(usize, Interned)> {
        let mut void = BTreeSet::new();
        for (at, rule) in policy.rules(direction).iter().enumerate() {
            let Ports::Of(ports) = &rule.ports else {
                continue;
            };
            if rule.action != Action::Deny {
                continue;
            }
            for port in ports {
                let Port::Named { protocol, name } = port else {
                    continue;
                };
                let is_void = match direction {
                    Direction::Ingress => self.some_lack(&compiled.subjects, name, *protocol),
                    Direction::Egress => self.some_peers_lack(&compiled.peers, name, *protocol),
                };
                if is_void {
                    void.insert((at, name.clone()));
                }
            }
        }
        void
    }

    fn some_lack(&self, subjects: &[Key<Selector>], name: &Interned, protocol: Protocol) -> bool {
        let is_it = |(own, of, _): &(Name, Protocol, u16)| {
            *of == protocol && self.names.string(*own) == name
        };
        let subjects = subjects.iter().map(|it| &self.selectors.arena[*it]);
        subjects
            .flat_map(|selector| &selector.members)
            .any(|profile| !self.profiles.arena[*profile].ports.iter().any(is_it))
    }

    /// Whoever does not give the name has a selector of his own.
    fn some_peers_lack(
        &self,
        peers: &[Key<Selector>],
        name: &Interned,
        protocol: Protocol,
    ) -> bool {
        let is_it = |meaning: Option<PortName>| matches!(meaning, Some(PortName::MeansNothing(own, of)) if of == protocol && self.names.string(own) == name);
        let mut peers = peers.iter().map(|it| &self.selectors.arena[*it]);
        peers.any(|selector| is_it(selector.key.port_name) && !selector.members.is_empty())
    }

    /// Quarantines of somebody who is not there.
    fn void_quarantines(&mut self) -> Vec<Finding> {
        let policies = self.policies.arena.iter();
        let quarantines: Vec<Arc<Policy>> = policies
            .map(|(_, state)| &state.policy)
            .filter(|policy| policy.tier == Tier::Quarantine && policy.is_active(self.now))
            .cloned()
            .collect();
        let mut findings = Vec::new();
        for quarantine in quarantines {
            for (at, subject) in quarantine.subjects.iter().enumerate() {
                let (Subject::Workload(mark) | Subject::Owner(mark)) = subject else {
                    continue;
                };
                let mut found = self.workloads.of_mark(mark);
                let is_nobody = found.len() == 0;
                if found.any(|(_, workload)| workload.profile.is_some()) {
                    continue;
                }
                let why = if !is_nobody {
                    format!(
                        "whatever is {mark} is over or on its node's own network, which no quarantine cuts off"
                    )
                } else if matches!(subject, Subject::Owner(_)) {
                    format!("{mark} has no pod now; correct the name if it should have some")
                } else {
                    format!(
                        "no workload has the uid {mark} now; name its owner, which takes replacements too"
                    )
                };
                findings.push(Finding {
                    object: quarantine.object.clone(),
                    message: format!("subjects[{at}] cuts nobody off: {why}"),
                });
            }
        }
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
