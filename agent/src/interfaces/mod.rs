//! Which host-side interface belongs to which workload: facts are read from the kernel by [`read`], and put together here, purely.
//!
//! A workload is guarded on the interface that the intent names, or on the one veth whose far end holds one of its
//! addresses. Where several claim an address, what the host routes there decides, and what was bound before stays bound, also
//! when the agent is restarted: a workload that gives itself another's address gains nothing by it.

mod links;
mod netlink;
mod recover;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulkhead_datapath::abi::Mac;
use bulkhead_graph::{LocalWorkload, NodeGraph, WorkloadUid};

pub use links::{Far, Link, Links};
pub use netlink::{Netlink, NetlinkError};
pub(crate) use recover::recover;

/// How sure a binding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// By name alone; the far end may still be set up, and its Ethernet address change.
    Name,
    /// The far end held an address of the workload. From then on its Ethernet address is what it was then.
    Address,
}

/// The interface of a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The host side.
    pub ifindex: u32,
    /// Its name, for people.
    pub name: String,
    /// Ethernet address of the far end: the workload's own.
    pub mac: Mac,
    /// What it rests on.
    pub proof: Proof,
}

/// Why a workload has no interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfound {
    /// It has no address yet, so nothing can reach it.
    NoAddress,
    /// The interface that the intent names does not exist.
    NoSuchInterface(Arc<str>),
    /// It exists and is no veth with a far end that can be seen.
    NoVeth(Arc<str>),
    /// No interface leads to its addresses.
    NoneLeadsThere,
    /// Several do, and nothing tells which is right.
    Several(Vec<String>),
    /// The interface is that of another workload.
    Taken(String),
}

impl Unfound {
    /// For people.
    pub fn reason(&self) -> String {
        match self {
            Self::NoAddress => "has no address yet".to_owned(),
            Self::NoSuchInterface(name) => format!("interface {name} does not exist on this node"),
            Self::NoVeth(name) => {
                format!("interface {name} is no veth whose other end can be seen; only veth pairs can be guarded")
            }
            Self::NoneLeadsThere => {
                "no veth leads to its address (host network, ipvlan, macvlan and SR-IOV cannot be guarded)".to_owned()
            }
            Self::Several(names) => format!("several interfaces claim its address: {}", names.join(", ")),
            Self::Taken(name) => format!("its interface {name} is already that of another workload"),
        }
    }
}

/// Bindings found, and workloads without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// By incarnation.
    pub bindings: BTreeMap<WorkloadUid, Binding>,
    /// By incarnation.
    pub unfound: BTreeMap<WorkloadUid, Unfound>,
}

/// Finds the interface of every workload of a graph. What was bound stays bound while the interface is there.
pub fn find(graph: &NodeGraph, links: &Links, before: &BTreeMap<WorkloadUid, Binding>) -> Found {
    let mut found = Found::default();
    let mut taken = BTreeSet::new();
    // First what is certain: bindings that still stand, then names, then addresses.
    for (uid, workload) in &graph.workloads {
        let Some(binding) = before.get(uid) else {
            continue;
        };
        if let Some(binding) = still_stands(binding, workload, links)
            && !is_anothers(graph, workload, &binding, links)
            && taken.insert(binding.ifindex)
        {
            found.bindings.insert(uid.clone(), binding);
        }
    }
    let open = |found: &Found, uid: &WorkloadUid| !found.bindings.contains_key(uid);
    let named = |workload: &LocalWorkload| workload.interface.is_some();
    for by_name in [true, false] {
        for (uid, workload) in &graph.workloads {
            if named(workload) != by_name || !open(&found, uid) {
                continue;
            }
            let outcome = if by_name {
                by_hint(graph, workload, links)
            } else {
                by_address(workload, links, &taken)
            };
            match outcome {
                Ok(binding) if taken.insert(binding.ifindex) => {
                    found.bindings.insert(uid.clone(), binding);
                }
                Ok(binding) => {
                    found
                        .unfound
                        .insert(uid.clone(), Unfound::Taken(binding.name));
                }
                Err(unfound) => {
                    found.unfound.insert(uid.clone(), unfound);
                }
            }
        }
    }
    found
}

fn still_stands(before: &Binding, workload: &LocalWorkload, links: &Links) -> Option<Binding> {
    let link = links.by_index.get(&before.ifindex)?;
    let as_named = workload
        .interface
        .as_deref()
        .is_none_or(|name| name == link.name);
    let now = binding(workload, (&before.ifindex, link))?;
    let stands = as_named && link.name == before.name;
    stands.then(|| match before.proof {
        Proof::Address => before.clone(),
        Proof::Name => now,
    })
}

fn holds(far: &Far, workload: &LocalWorkload) -> bool {
    workload
        .addresses
        .iter()
        .any(|address| far.addresses.contains(address))
}

/// Whether a workload names an interface that leads to one which is found by its address: then it is that one's.
fn is_anothers(
    graph: &NodeGraph,
    workload: &LocalWorkload,
    binding: &Binding,
    links: &Links,
) -> bool {
    let far = links
        .by_index
        .get(&binding.ifindex)
        .and_then(|link| link.far.as_ref());
    let leads_to = |other: &LocalWorkload| {
        other.interface.is_none() && far.is_some_and(|far| holds(far, other))
    };
    workload.interface.is_some() && graph.workloads.values().any(|other| leads_to(other))
}

fn by_hint(graph: &NodeGraph, workload: &LocalWorkload, links: &Links) -> Result<Binding, Unfound> {
    let name = workload.interface.clone().unwrap_or_default();
    let link = links
        .by_index
        .iter()
        .find(|(_, link)| *link.name == *name)
        .ok_or_else(|| Unfound::NoSuchInterface(name.clone()))?;
    let binding = binding(workload, link).ok_or(Unfound::NoVeth(name))?;
    if is_anothers(graph, workload, &binding, links) {
        return Err(Unfound::Taken(binding.name));
    }
    Ok(binding)
}

fn by_address(
    workload: &LocalWorkload,
    links: &Links,
    taken: &BTreeSet<u32>,
) -> Result<Binding, Unfound> {
    if workload.addresses.is_empty() {
        return Err(Unfound::NoAddress);
    }
    let claims: Vec<(&u32, &Link)> = links
        .by_index
        .iter()
        .filter(|(ifindex, link)| {
            !taken.contains(ifindex) && link.far.as_ref().is_some_and(|far| holds(far, workload))
        })
        .collect();
    let routed = |(ifindex, _): &&(&u32, &Link)| {
        workload
            .addresses
            .iter()
            .any(|address| links.routes.get(address) == Some(ifindex))
    };
    let chosen = match (
        claims.as_slice(),
        claims.iter().filter(routed).collect::<Vec<_>>().as_slice(),
    ) {
        ([], _) => return Err(Unfound::NoneLeadsThere),
        ([one], _) => *one,
        (_, [one]) => **one,
        (several, _) => {
            return Err(Unfound::Several(
                several.iter().map(|(_, link)| link.name.clone()).collect(),
            ));
        }
    };
    binding(workload, chosen).ok_or(Unfound::NoneLeadsThere)
}

fn binding(workload: &LocalWorkload, (ifindex, link): (&u32, &Link)) -> Option<Binding> {
    let far = link.far.as_ref()?;
    let proof = if holds(far, workload) {
        Proof::Address
    } else {
        Proof::Name
    };
    Some(Binding {
        ifindex: *ifindex,
        name: link.name.clone(),
        mac: far.mac,
        proof,
    })
}

impl Found {
    /// Whether looking again soon may find more: a far end can change without the host hearing of it.
    pub fn is_waiting(&self) -> bool {
        let waits = |unfound: &Unfound| !matches!(unfound, Unfound::NoAddress);
        self.unfound.values().any(waits)
            || self
                .bindings
                .values()
                .any(|binding| binding.proof == Proof::Name)
    }
}

#[cfg(test)]
mod tests;
