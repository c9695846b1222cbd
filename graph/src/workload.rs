//! The workloads of a node.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Address, Hasher, RuleSetId};

/// Names one incarnation of a workload: the pod's uid, or what stands for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkloadUid(pub Arc<str>);

/// A workload of this node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LocalWorkload {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// What it may use as a source; sorted; empty until it has one.
    pub addresses: Box<[Address]>,
    /// The host-side interface, where the intent names it; else the agent finds it by address.
    pub interface: Option<Arc<str>>,
    /// Judges what it opens.
    pub egress: RuleSetId,
    /// Judges what is opened to it.
    pub ingress: RuleSetId,
}

impl LocalWorkload {
    /// Of what it is: two blocks of the hash mostly, where three would be needed with what judges it.
    fn hash(&self) -> [u8; 16] {
        let mut h = Hasher::new("workload/1");
        h.bytes(self.namespace.as_bytes())
            .bytes(self.name.as_bytes());
        h.number(self.addresses.len() as u64);
        self.addresses.iter().for_each(|address| {
            h.fixed(&address.0);
        });
        h.number(u64::from(self.interface.is_some()));
        h.bytes(self.interface.as_deref().unwrap_or_default().as_bytes());
        h.finish()
    }
}

/// A workload as graphs have it: hashed once, where it is made, and shared by every revision in which it is the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "LocalWorkload", into = "LocalWorkload")]
pub struct SharedWorkload(Arc<Hashed>);

#[derive(Debug)]
struct Hashed {
    hash: [u8; 16],
    workload: LocalWorkload,
}

impl SharedWorkload {
    /// Of everything that is said of it but its rule sets.
    pub(crate) fn hash(&self) -> &[u8; 16] {
        &self.0.hash
    }
}

impl From<LocalWorkload> for SharedWorkload {
    fn from(workload: LocalWorkload) -> Self {
        let hash = workload.hash();
        Self(Arc::new(Hashed { hash, workload }))
    }
}

impl From<SharedWorkload> for LocalWorkload {
    fn from(shared: SharedWorkload) -> Self {
        (*shared).clone()
    }
}

impl Deref for SharedWorkload {
    type Target = LocalWorkload;
    fn deref(&self) -> &LocalWorkload {
        &self.0.workload
    }
}

impl PartialEq for SharedWorkload {
    fn eq(&self, other: &Self) -> bool {
        let said = |of: &Self| (of.0.hash, of.egress, of.ingress);
        Arc::ptr_eq(&self.0, &other.0) || said(self) == said(other)
    }
}
impl Eq for SharedWorkload {}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn whatever_is_said_of_a_workload_is_in_its_hash() {
        let workload = LocalWorkload {
            namespace: "shop".into(),
            name: "web".into(),
            addresses: [IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)).into()].into(),
            interface: None,
            egress: RuleSetId([1; 16]),
            ingress: RuleSetId([2; 16]),
        };
        let same = workload.clone();
        let others = [
            LocalWorkload {
                namespace: "shopw".into(),
                name: "eb".into(),
                ..same.clone()
            },
            LocalWorkload {
                name: "web-2".into(),
                ..same.clone()
            },
            LocalWorkload {
                addresses: Box::default(),
                ..same.clone()
            },
            LocalWorkload {
                interface: Some("veth".into()),
                ..same.clone()
            },
            LocalWorkload {
                interface: Some("".into()),
                ..same.clone()
            },
            LocalWorkload {
                egress: RuleSetId([3; 16]),
                ..same.clone()
            },
            LocalWorkload {
                ingress: RuleSetId([3; 16]),
                ..same.clone()
            },
            LocalWorkload {
                egress: RuleSetId([2; 16]),
                ingress: RuleSetId([1; 16]),
                ..same.clone()
            },
        ];
        let shared = SharedWorkload::from(workload);
        assert_eq!(shared, SharedWorkload::from(same));
        for other in others {
            assert_ne!(shared, SharedWorkload::from(other));
        }
    }
}
