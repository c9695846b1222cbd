//! The node of rows F′, J and K: its thirty pods in a cluster of 40,000 pods and 30,000 policies, with real interfaces.
//!
//! It lives in a network and a mount namespace of this process, so that nothing of it outlives the benchmark.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bulkhead_agent::clock;
use bulkhead_agent::interfaces::{Links, Netlink};
use bulkhead_agent::store::{Context as Kept, Store};
use bulkhead_graph::NodeGraph;
use bulkhead_policy::engine::{Engine, EngineConfig};
use bulkhead_policy::model::{Event, Interned, Object, Workload};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::lab::ip_batch;
use crate::worlds::rows::Row;

/// Pods of the node.
pub(super) const PODS: usize = 30;

/// Of row A+: this many thousandths are 10,000 namespaces, 40,000 pods and 30,000 policies.
const PERMILLE: u32 = 400;

/// See the module.
pub(super) struct Node {
    pub(super) name: Interned,
    pub(super) graph: Arc<NodeGraph>,
    folder: PathBuf,
}

impl Node {
    /// Compiles the cluster, and makes interfaces and folders. Only this thread and what it starts are in the node.
    pub(super) fn make(seed: u64) -> Result<Self> {
        let name: Interned = "node-0".into();
        let (graph, addresses) = graph(seed, &name)?;
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .context("namespaces of our own (this row needs root)")?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)
            .context("keep mounts to ourselves")?;
        let folder =
            std::env::temp_dir().join(format!("bulkhead-bench-node-{}", std::process::id()));
        let node = Self {
            name,
            graph,
            folder,
        };
        for folder in [node.bpffs(), node.state()] {
            fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        }
        mount(
            Some("bpf"),
            &node.bpffs(),
            Some("bpf"),
            MsFlags::empty(),
            none,
        )
        .context("mount a bpf file system")?;
        wire(&addresses)?;
        Ok(node)
    }

    fn bpffs(&self) -> PathBuf {
        self.folder.join("bpf")
    }

    /// Where an agent pins.
    pub(super) fn pins(&self) -> PathBuf {
        self.bpffs().join("pins")
    }

    /// Where an agent keeps its last graph.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// For other files.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the graph down as the one that an agent of this run of the machine left.
    pub(super) fn save(&self) -> Result<()> {
        let context = Kept {
            boot_id: clock::boot_id(),
            frontier: Vec::new(),
        };
        Store::in_directory(&self.state()).save(&self.graph, &context)?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both are this process's own; what could be left is an empty folder.
        let _ = umount2(&self.bpffs(), MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The links as an agent sees them.
pub(super) fn links() -> Result<Links> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async { Ok(Netlink::open()?.read().await?) })
}

fn graph(seed: u64, name: &Interned) -> Result<(Arc<NodeGraph>, BTreeSet<IpAddr>)> {
    let mut engine = Engine::new(EngineConfig::default());
    let mut addresses = BTreeSet::new();
    let mut places = PODS;
    for mut event in Row::APlus.events(seed, PERMILLE) {
        if let Some(pod) = pod_on(&mut event, name) {
            if places > 0 {
                places -= 1;
                addresses.extend(&pod.addresses);
            } else {
                pod.node = Some("node-1".into());
            }
        }
        engine.apply(event);
    }
    engine.take_dirty();
    let graph = engine.node_graph(name).context("the node has no graph")?;
    ensure!(
        graph.workloads.len() == PODS,
        "{} pods instead of {PODS}",
        graph.workloads.len()
    );
    Ok((graph, addresses))
}

fn pod_on<'a>(event: &'a mut Event, node: &Interned) -> Option<&'a mut Workload> {
    match event {
        Event::Apply(Object::Workload(_, pod)) if pod.node.as_ref() == Some(node) => Some(pod),
        Event::Apply(_) | Event::Delete(_) | Event::Reset(..) => None,
    }
}

/// A veth pair for each address, whose far end holds it.
fn wire(addresses: &BTreeSet<IpAddr>) -> Result<()> {
    let pair = |(number, address): (usize, &IpAddr)| {
        format!(
            "link add pod{number} type veth peer name far{number}\naddress add {address}/32 dev far{number}\n\
             link set far{number} up\nlink set pod{number} up\n"
        )
    };
    let pairs: String = addresses.iter().enumerate().map(pair).collect();
    ip_batch(&format!("link set lo up\n{pairs}"))
}
