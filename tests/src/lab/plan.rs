//! What a lab consists of and which addresses everything has. Pure: the same inputs give the same plan.
//!
//! Every lab has the same addresses. Its wires end in namespaces of its own, so labs that run at the same time never meet.
//!
//! ```text
//! fabric    10.70.0.1        fd70::1           routes between nodes and to the outside; the controller runs here
//! node n    10.70.0.(10+n)   fd70::(10+n)      workloads in 10.71.n.0/24 and fd71:0:0:n::/64, each behind a veth pair
//! outside   203.0.113.x      2001:db8:113::x   machines that belong to nobody we know
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};
use ipnet::IpNet;

/// Where the controller listens, for every node.
pub const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(10, 70, 0, 1);
/// The longest name the kernel gives to an interface.
const INTERFACE_NAME_MAX: usize = 15;
/// Workloads' numbers start here, so that gateways and workloads are told apart by eye.
const FIRST_WORKLOAD: u8 = 10;

/// Both addresses of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addresses {
    /// IPv4.
    pub v4: Ipv4Addr,
    /// IPv6.
    pub v6: Ipv6Addr,
}

impl Addresses {
    /// IPv4 first.
    pub fn both(self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    /// The address of a family.
    pub fn of(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }
}

/// Version of the Internet protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A node, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeNumber(u8);

impl NodeNumber {
    /// The node's name, in the lab and in manifests.
    pub fn name(self) -> String {
        format!("node-{}", self.0)
    }

    /// The node's own addresses.
    pub fn addresses(self) -> Addresses {
        Addresses {
            v4: Ipv4Addr::new(10, 70, 0, 10 + self.0),
            v6: Ipv6Addr::new(0xfd70, 0, 0, 0, 0, 0, 0, 10 + u16::from(self.0)),
        }
    }

    /// The ranges of its workloads.
    pub fn ranges(self) -> [IpNet; 2] {
        let Addresses { v4, v6 } = self.in_range(0);
        [
            IpNet::new_assert(v4.into(), 24),
            IpNet::new_assert(v6.into(), 64),
        ]
    }

    /// What its workloads send everything to.
    pub fn gateway(self) -> Addresses {
        self.in_range(1)
    }

    /// The nodes 1 to `count`.
    pub fn first(count: u8) -> Vec<Self> {
        (1..=count).map(Self).collect()
    }

    fn in_range(self, host: u8) -> Addresses {
        Addresses {
            v4: Ipv4Addr::new(10, 71, self.0, host),
            v6: Ipv6Addr::new(0xfd71, 0, 0, u16::from(self.0), 0, 0, 0, u16::from(host)),
        }
    }
}

/// One workload: a network namespace whose only way out is the veth pair to its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadPlan {
    /// As in the manifests.
    pub namespace: String,
    /// As in the manifests.
    pub name: String,
    /// Where it runs.
    pub node: NodeNumber,
    /// Its own.
    pub addresses: Addresses,
    /// Its own.
    pub mac: Mac,
    /// The node's end of the pair.
    pub interface: String,
    /// Ethernet address of the node's end.
    pub gateway_mac: Mac,
    /// TCP ports on which it serves; UDP ones as well, same numbers.
    pub ports: Vec<u16>,
}

impl WorkloadPlan {
    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A machine beyond the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsidePlan {
    /// What people call it.
    pub name: String,
    /// Its own.
    pub addresses: Addresses,
    /// TCP and UDP ports on which it serves.
    pub ports: Vec<u16>,
}

/// A whole lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    nodes: Vec<NodeNumber>,
    workloads: Vec<WorkloadPlan>,
    outside: Vec<OutsidePlan>,
}

impl Plan {
    /// Nodes and nothing on them.
    pub fn new(nodes: u8) -> Self {
        Self {
            nodes: NodeNumber::first(nodes),
            workloads: Vec::new(),
            outside: Vec::new(),
        }
    }

    /// Adds a workload `namespace/name` on the node of that number (from 1).
    pub fn workload(mut self, key: &str, node: u8, ports: &[u16]) -> Result<Self> {
        let Some((namespace, name)) = key.split_once('/') else {
            bail!("workload {key:?}: write it as namespace/name");
        };
        if !self.nodes.contains(&NodeNumber(node)) {
            bail!(
                "workload {key}: there is no node {node}, only {}",
                self.nodes.len()
            );
        }
        if name.len() > INTERFACE_NAME_MAX || self.workloads.iter().any(|w| w.interface == name) {
            bail!(
                "workload {key}: its name becomes its interface, so it has to be unique and at most {INTERFACE_NAME_MAX} letters"
            );
        }
        let node = NodeNumber(node);
        let on_node = self.workloads.iter().filter(|w| w.node == node).count();
        let host = u8::try_from(on_node)? + FIRST_WORKLOAD;
        self.workloads.push(WorkloadPlan {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            node,
            addresses: node.in_range(host),
            mac: Mac([0x02, 0x71, 0, 0, node.0, host]),
            interface: name.to_owned(),
            gateway_mac: Mac([0x02, 0x70, 0, 0, node.0, host]),
            ports: ports.to_vec(),
        });
        Ok(self)
    }

    /// Adds a machine outside; `host` is the last number of its addresses, 2 to 254.
    pub fn outside(mut self, name: &str, host: u8, ports: &[u16]) -> Self {
        self.outside.push(OutsidePlan {
            name: name.to_owned(),
            addresses: outside_addresses(host),
            ports: ports.to_vec(),
        });
        self
    }

    /// All nodes.
    pub fn nodes(&self) -> &[NodeNumber] {
        &self.nodes
    }

    /// All workloads, in the order in which they were added.
    pub fn workloads(&self) -> &[WorkloadPlan] {
        &self.workloads
    }

    /// The machines beyond.
    pub fn outsiders(&self) -> &[OutsidePlan] {
        &self.outside
    }

    /// The workload `namespace/name`.
    pub fn find(&self, key: &str) -> Option<&WorkloadPlan> {
        self.workloads.iter().find(|w| w.key() == key)
    }
}

/// Addresses outside; host 1 is the fabric.
pub(crate) fn outside_addresses(host: u8) -> Addresses {
    Addresses {
        v4: Ipv4Addr::new(203, 0, 113, host),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, u16::from(host)),
    }
}

/// Addresses of the fabric on the nodes' side.
pub(crate) fn fabric_addresses() -> Addresses {
    Addresses {
        v4: CONTROL_PLANE,
        v6: Ipv6Addr::new(0xfd70, 0, 0, 0, 0, 0, 0, 1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
    use super::*;

    #[test]
    fn no_two_workloads_share_an_address() {
        let plan = Plan::new(2)
            .workload("a/one", 1, &[])
            .and_then(|p| p.workload("a/two", 1, &[]))
            .and_then(|p| p.workload("b/three", 2, &[]))
            .unwrap();
        let mut addresses: Vec<IpAddr> = plan
            .workloads()
            .iter()
            .flat_map(|w| w.addresses.both())
            .collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 6);
        let one = plan.find("a/one").unwrap();
        assert!(
            one.node
                .ranges()
                .iter()
                .zip(one.addresses.both())
                .all(|(range, address)| range.contains(&address))
        );
    }

    #[test]
    fn a_workload_that_cannot_be_built_is_named() {
        let unknown_node = Plan::new(1)
            .workload("a/one", 2, &[])
            .unwrap_err()
            .to_string();
        assert!(unknown_node.contains("a/one"), "{unknown_node}");
        let twice = Plan::new(1)
            .workload("a/one", 1, &[])
            .unwrap()
            .workload("b/one", 1, &[])
            .unwrap_err()
            .to_string();
        assert!(twice.contains("b/one"), "{twice}");
    }
}
