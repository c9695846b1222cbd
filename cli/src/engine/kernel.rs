//! The real programs: each packet through the sender's hook and the receiver's, by test-run, with tables of its own for
//! each node.
//!
//! Nothing is attached and nothing is pinned; programs and tables end with this process. Interfaces have to exist for a
//! test-run, so they are made in a network namespace of this process, which ends with it too.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bulkhead_agent::kernel::{Kernel, Options, Skb, StatisticsSwitch};
use bulkhead_datapath::abi::{EventKind, Hook, WorkloadSlot};
use bulkhead_datapath::frame::{IpFrame, Payload, SYN};
use bulkhead_encode::{Clock, Memory};
use bulkhead_graph::{Address, NodeGraph, Protocol};
use bulkhead_policy::eval::Flow;
use bulkhead_policy::model::{Moment, Object};
use ipnet::IpNet;
use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};

use super::compiled::{Compilation, compile, heard_ns};
use super::{Answer, Evidence, Judge, Side};

/// Where packets from elsewhere come in; nothing of ours has this interface.
const UPLINK: u32 = 900_000;

/// Interfaces come in pairs; the other end of one is so much further.
const FAR_END: u32 = 1_000_000;

/// The port from which everything is opened.
const CLIENT_PORT: u16 = 40_000;

/// One kernel for each node.
pub(crate) struct Kernels {
    nodes: Vec<Node>,
    places: BTreeMap<Address, Place>,
    _counting: StatisticsSwitch,
}

struct Node {
    name: String,
    kernel: Kernel,
}

/// Where an address is guarded.
#[derive(Clone, Copy)]
struct Place {
    node: usize,
    slot: WorkloadSlot,
}

/// What a hook said.
struct Half {
    side: Side,
    intended: bool,
}

impl Kernels {
    /// Compiles, loads the programs once for each node, and fills its tables.
    pub(crate) fn new(objects: &[Object], ranges: &[IpNet], at: Moment) -> Result<Self> {
        ensure!(
            nix::unistd::Uid::effective().is_root(),
            "--engine kernel loads programs into the kernel: run it as root"
        );
        let monotonic_ns = monotonic_ns()?;
        let clock = Clock {
            wall: at.now,
            monotonic_ns,
            heard_ns: heard_ns(monotonic_ns, at)?,
        };
        let Compilation {
            nodes: compiled,
            contested,
            ..
        } = compile(objects, ranges, clock)?;
        ensure!(
            contested.is_empty(),
            "addresses claimed by several workloads cannot be asked of the kernel; see the warnings"
        );
        let counting = StatisticsSwitch::on().context("counting runs of programs")?;
        unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
        let most = compiled
            .iter()
            .map(|node| node.memory.slots.len())
            .max()
            .unwrap_or_default();
        make_interfaces(u32::try_from(most).context("too many workloads on one node")?)?;
        let (mut nodes, mut places) = (Vec::new(), BTreeMap::new());
        for (index, node) in compiled.into_iter().enumerate() {
            places.extend(place(index, &node.graph, &node.memory));
            let kernel = load(&node.name, node.memory)?;
            nodes.push(Node {
                name: node.name.to_string(),
                kernel,
            });
        }
        Ok(Self {
            nodes,
            places,
            _counting: counting,
        })
    }

    fn half(&mut self, hook: Hook, subject: Address, peer: Address, flow: &Flow) -> Result<Half> {
        let Some(place) = self.places.get(&subject).copied() else {
            let side = Side {
                allowed: true,
                rule: "no known workload".to_owned(),
            };
            return Ok(Half {
                side,
                intended: true,
            });
        };
        let own = Memory::ifindex(place.slot);
        let ingress_ifindex = match (hook, self.places.get(&peer)) {
            (Hook::FromWorkload, _) => own,
            (Hook::ToWorkload, Some(other)) if other.node == place.node => {
                Memory::ifindex(other.slot)
            }
            (Hook::ToWorkload, _) => UPLINK,
        };
        let frame = IpFrame::new(
            Memory::mac(place.slot),
            flow.source.ip(),
            flow.destination.ip(),
            opener(flow),
        )
        .build();
        let kernel = &mut self.nodes[place.node].kernel;
        let ran = kernel.run(
            hook,
            &frame,
            Skb {
                ifindex: own,
                ingress_ifindex,
            },
        )?;
        let allowed = ran.reason.passes();
        let events = kernel.events.drain(usize::MAX);
        let is = |kind| {
            events
                .iter()
                .any(|event| EventKind::from_number(event.kind) == Some(kind))
        };
        let intended = if allowed {
            !is(EventKind::WouldDeny)
        } else {
            is(EventKind::WouldAllow)
        };
        Ok(Half {
            side: Side {
                allowed,
                rule: format!("kernel: {}", ran.reason.name()),
            },
            intended,
        })
    }

    /// Every flow is the first one.
    fn forget(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.kernel.maps.flows.clear()?;
            node.kernel.maps.talks.drain()?;
        }
        Ok(())
    }
}

impl Judge for Kernels {
    fn judge(&mut self, flow: &Flow) -> Result<Answer> {
        let egress = self.half(Hook::FromWorkload, flow.source, flow.destination, flow)?;
        // The receiver's half is asked also where the sender's denied, and without what that remembered.
        self.forget()?;
        let ingress = self.half(Hook::ToWorkload, flow.destination, flow.source, flow)?;
        self.forget()?;
        Ok(Answer {
            allowed: egress.side.allowed && ingress.side.allowed,
            intended: egress.intended && ingress.intended,
            egress: egress.side,
            ingress: ingress.side,
        })
    }

    fn evidence(&self) -> Result<Vec<Evidence>> {
        let mut evidence = Vec::new();
        for node in &self.nodes {
            for program in node.kernel.statistics()? {
                evidence.push(Evidence {
                    node: node.name.clone(),
                    program: program.hook.name(),
                    tag: format!("{:016x}", program.tag),
                    run_count: program.run_count,
                });
            }
        }
        Ok(evidence)
    }
}

fn load(name: &str, mut memory: Memory) -> Result<Kernel> {
    // Each flow is asked about once, and each answer is wanted.
    memory.tables.node.events_per_tick = u32::MAX;
    let mut kernel = Kernel::open(&Options::default())
        .with_context(|| format!("node {name}: loading the programs"))?;
    kernel
        .fill(&memory.tables)
        .with_context(|| format!("node {name}: filling the tables"))?;
    kernel.events.drain(usize::MAX);
    Ok(kernel)
}

fn place(node: usize, graph: &Arc<NodeGraph>, memory: &Memory) -> Vec<(Address, Place)> {
    let workloads = graph
        .workloads
        .iter()
        .filter_map(|(uid, workload)| Some((workload, *memory.slots.get(uid)?)));
    workloads
        .flat_map(|(workload, slot)| {
            workload
                .addresses
                .iter()
                .map(move |address| (*address, Place { node, slot }))
        })
        .collect()
}

/// Interfaces 2 to `count`; the first is the loopback, which is there.
fn make_interfaces(count: u32) -> Result<()> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("starting ip (iproute2)")?;
    if let Some(mut input) = ip.stdin.take() {
        for index in 2..=count {
            writeln!(
                input,
                "link add name w{index} index {index} type veth peer name f{index} index {}",
                FAR_END + index
            )?;
        }
    }
    if !ip.wait()?.success() {
        bail!("ip could not make {count} interfaces in a namespace of its own");
    }
    Ok(())
}

/// The packet that opens a flow.
fn opener(flow: &Flow) -> Payload {
    let (source, destination) = (CLIENT_PORT, flow.port);
    let [kind, code] = flow.port.to_be_bytes();
    match flow.protocol {
        Protocol::Tcp => Payload::Tcp {
            source,
            destination,
            flags: SYN,
        },
        Protocol::Udp => Payload::Udp {
            source,
            destination,
        },
        // The first chunk of an association is INIT, RFC 9260 section 5.1.
        Protocol::Sctp => Payload::Sctp {
            source,
            destination,
            chunk: 1,
        },
        Protocol::Icmp | Protocol::Icmpv6 => Payload::Icmp {
            kind,
            code,
            rest: [0, 1, 0, 1],
            body: vec![0; 8],
        },
        Protocol::Other => Payload::Raw {
            protocol: code,
            bytes: vec![0; 16],
        },
    }
}

/// The clock that programs compare deadlines with.
fn monotonic_ns() -> Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let seconds = u64::try_from(time.tv_sec())?;
    Ok(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec())?)
}
