//! From a plan to interfaces, addresses and routes.

use std::fmt::Write;
use std::thread;

use anyhow::{Result, anyhow};

use super::netns::{self, Netns};
use super::plan::{
    Addresses, NodeNumber, OutsidePlan, Plan, WorkloadPlan, fabric_addresses, outside_addresses,
};

/// Addresses are usable at once, and nothing filters but what is under test.
const EVERYWHERE: &[(&str, &str)] = &[
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
];
/// Nodes believe router advertisements on purpose: a workload's rogue one has to die before it gets to the node.
const FORWARDING: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/forwarding", "1"),
    ("ipv6/conf/default/accept_ra", "2"),
];

/// The namespaces of one lab by what they stand for.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn new(lab: &str) -> Self {
        Self {
            prefix: format!("{lab}-"),
        }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn fabric(&self) -> Netns {
        self.named("fabric")
    }

    pub(crate) fn node(&self, node: NodeNumber) -> Netns {
        self.named(&node.name())
    }

    pub(crate) fn workload(&self, workload: &WorkloadPlan) -> Netns {
        self.named(&format!("{}.{}", workload.namespace, workload.name))
    }

    pub(crate) fn outsider(&self, outsider: &OutsidePlan) -> Netns {
        self.named(&format!("outside.{}", outsider.name))
    }

    fn named(&self, part: &str) -> Netns {
        Netns::named(format!("{}{part}", self.prefix))
    }
}

/// Makes all namespaces of the plan and everything in them.
pub(crate) fn build(names: &Names, plan: &Plan) -> Result<()> {
    let routers: Vec<Netns> = [names.fabric()]
        .into_iter()
        .chain(plan.nodes().iter().map(|node| names.node(*node)))
        .collect();
    let leaves: Vec<Netns> = plan
        .workloads()
        .iter()
        .map(|w| names.workload(w))
        .chain(plan.outsiders().iter().map(|o| names.outsider(o)))
        .collect();
    netns::create(routers.iter().chain(&leaves))?;
    for router in &routers {
        router.configure(EVERYWHERE)?;
        router.configure(FORWARDING)?;
    }
    for leaf in &leaves {
        leaf.configure(EVERYWHERE)?;
    }
    names.fabric().ip(&fabric_lines(names, plan))?;
    let mut work: Vec<(Netns, String)> = Vec::new();
    for node in plan.nodes() {
        names.node(*node).ip(&node_lines(names, plan, *node))?;
    }
    work.extend(
        plan.workloads()
            .iter()
            .map(|w| (names.workload(w), workload_lines(w))),
    );
    work.extend(
        plan.outsiders()
            .iter()
            .map(|o| (names.outsider(o), outsider_lines(o))),
    );
    in_parallel(work, |(netns, lines)| netns.ip(&lines))
}

fn in_parallel<T: Send>(work: Vec<T>, run: impl Fn(T) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = work
            .into_iter()
            .map(|item| scope.spawn(|| run(item)))
            .collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow!("a thread that wires the lab panicked"))??;
        }
        Ok(())
    })
}

fn fabric_lines(names: &Names, plan: &Plan) -> String {
    let Addresses { v4, v6 } = fabric_addresses();
    let outside = outside_addresses(1);
    let mut lines = format!(
        "link set lo up\n\
         link add nodes type bridge forward_delay 0\n\
         addr add {v4}/24 dev nodes\n\
         addr add {v6}/64 dev nodes nodad\n\
         link set nodes up\n\
         link add outside type bridge forward_delay 0\n\
         addr add {}/24 dev outside\n\
         addr add {}/64 dev outside nodad\n\
         link set outside up\n",
        outside.v4, outside.v6
    );
    for node in plan.nodes() {
        let (name, addresses) = (node.name(), node.addresses());
        push(
            &mut lines,
            &format!(
                "link add {name} type veth peer name eth0 netns {}",
                names.node(*node).name()
            ),
        );
        push(&mut lines, &format!("link set {name} master nodes up"));
        for (range, via) in node.ranges().iter().zip(addresses.both()) {
            push(&mut lines, &format!("route add {range} via {via}"));
        }
    }
    for outsider in plan.outsiders() {
        let name = &outsider.name;
        push(
            &mut lines,
            &format!(
                "link add {name} type veth peer name eth0 netns {}",
                names.outsider(outsider).name()
            ),
        );
        push(&mut lines, &format!("link set {name} master outside up"));
    }
    lines
}

fn node_lines(names: &Names, plan: &Plan, node: NodeNumber) -> String {
    let Addresses { v4, v6 } = node.addresses();
    let fabric = fabric_addresses();
    let mut lines = format!(
        "link set lo up\n\
         addr add {v4}/24 dev eth0\n\
         addr add {v6}/64 dev eth0 nodad\n\
         link set eth0 up\n\
         route add default via {}\n\
         route add default via {}\n",
        fabric.v4, fabric.v6
    );
    for other in plan.nodes().iter().filter(|other| **other != node) {
        for (range, via) in other.ranges().iter().zip(other.addresses().both()) {
            push(&mut lines, &format!("route add {range} via {via}"));
        }
    }
    let gateway = node.gateway();
    for workload in plan.workloads().iter().filter(|w| w.node == node) {
        let WorkloadPlan {
            interface,
            gateway_mac,
            mac,
            addresses,
            ..
        } = workload;
        let inside = names.workload(workload);
        push(
            &mut lines,
            &format!(
                "link add {interface} address {gateway_mac} type veth peer name eth0 address {mac} netns {}",
                inside.name()
            ),
        );
        push(
            &mut lines,
            &format!("addr add {}/32 dev {interface}", gateway.v4),
        );
        push(
            &mut lines,
            &format!("addr add {}/128 dev {interface} nodad", gateway.v6),
        );
        push(&mut lines, &format!("link set {interface} up"));
        push(
            &mut lines,
            &format!("route add {}/32 dev {interface}", addresses.v4),
        );
        push(
            &mut lines,
            &format!("route add {}/128 dev {interface}", addresses.v6),
        );
    }
    lines
}

fn workload_lines(workload: &WorkloadPlan) -> String {
    let Addresses { v4, v6 } = workload.addresses;
    let gateway = workload.node.gateway();
    format!(
        "link set lo up\n\
         addr add {v4}/32 dev eth0\n\
         addr add {v6}/128 dev eth0 nodad\n\
         link set eth0 up\n\
         route add {0}/32 dev eth0 scope link\n\
         route add default via {0} dev eth0\n\
         route add {1}/128 dev eth0\n\
         route add default via {1} dev eth0\n",
        gateway.v4, gateway.v6
    )
}

fn outsider_lines(outsider: &OutsidePlan) -> String {
    let Addresses { v4, v6 } = outsider.addresses;
    let fabric = outside_addresses(1);
    format!(
        "link set lo up\n\
         addr add {v4}/24 dev eth0\n\
         addr add {v6}/64 dev eth0 nodad\n\
         link set eth0 up\n\
         route add default via {}\n\
         route add default via {}\n",
        fabric.v4, fabric.v6
    )
}

fn push(lines: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _infallible = writeln!(lines, "{line}");
}
