//! A real Kubernetes on one machine: control plane, nodes, pods, Services, all in namespaces of its own.
//!
//! `Cluster::up` gives a working cluster or fails with the reason; dropping it leaves nothing behind but logs. What a crashed run
//! left is removed by the next `up` of the same name. The machine's own network namespace is never touched.

mod cgroup;
mod control_plane;
pub mod image;
pub mod installation;
mod kubectl;
mod leftovers;
mod network;
mod node;
pub mod oracle;
mod pki;
pub mod pod;
mod probe;
pub(crate) mod process;
mod programs;
mod requirements;
pub mod suite;
pub mod upstream_definitions;
mod wait;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

pub use control_plane::{Component, ControlPlane};
pub use kubectl::{Kubectl, PodName};
pub use leftovers::Found;
pub use network::{CONTROL_PLANE, ClusterName, Netns, NodeIndex, PODS, SERVICES};
pub use node::{Node, NodePlace};
pub use probe::{PROBE_LIMIT, Protocol, Reach, Target};
pub use process::Process;
pub use programs::{AGNHOST_IMAGE, PAUSE_IMAGE, Programs};
pub use wait::Deadline;

use pki::Pki;

const START_LIMIT: Duration = Duration::from_secs(120);

/// What cluster to make.
#[derive(Debug, Clone)]
pub struct Options {
    /// Clusters of different names can run side by side.
    pub name: ClusterName,
    /// How many nodes, 1 to [`NodeIndex::MAX`].
    pub nodes: u8,
}

impl Options {
    /// Three nodes.
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self {
            name: ClusterName::new(name)?,
            nodes: 3,
        })
    }

    /// Another number of nodes.
    #[must_use]
    pub fn with_nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }
}

/// A running cluster. Dropped, it is ended and removed.
#[derive(Debug)]
pub struct Cluster {
    name: ClusterName,
    kubectl: Kubectl,
    programs: Programs,
    pki: Pki,
    nodes: Vec<Node>,
    control_plane: ControlPlane,
    ends_with_us: bool,
    /// Held as long as we are responsible for the cluster.
    _lock: File,
}

impl Cluster {
    /// Builds the programs if need be, removes leftovers, and starts a cluster: all nodes Ready, pods can be made.
    pub fn up(options: &Options) -> Result<Self> {
        requirements::check()?;
        let programs = Programs::ready()?;
        let started = Instant::now();
        let name = &options.name;
        let lock = lock(name)?;
        if leftovers::look(name)? == Found::Something {
            eprintln!(
                "cluster: removing what an earlier run left of {}",
                name.as_str()
            );
        }
        let folder = folder(name);
        leftovers::remove(name, &folder)?;
        forget_logs(name)?;
        control_plane::make_folders(&folder)?;

        let indices = NodeIndex::first(options.nodes)?;
        let pki = Pki::make(folder.join("pki"), &indices)?;
        let kubectl = kubectl_of(name, &programs);
        let begun = ControlPlane::begin(name, folder, pki.clone(), programs.clone());
        let control_plane = begun.inspect_err(|_| remove_after_failure(name))?;
        let mut cluster = Self {
            name: name.clone(),
            kubectl,
            programs,
            pki,
            nodes: Vec::new(),
            control_plane,
            ends_with_us: true,
            _lock: lock,
        };
        cluster.complete(&indices, Deadline::after(START_LIMIT))?;
        eprintln!(
            "cluster: {} nodes ready after {:.1} s",
            options.nodes,
            started.elapsed().as_secs_f64()
        );
        Ok(cluster)
    }

    /// Its name.
    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// kubectl, and all that goes through it.
    pub fn client(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Runs kubectl and gives what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl.run(arguments)
    }

    /// The programs it is made of.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The administrator's kubeconfig; see [`Kubectl::kubeconfig`].
    pub fn kubeconfig(&self) -> &PathBuf {
        self.kubectl.kubeconfig()
    }

    /// Applies manifests, server-side.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        self.kubectl.apply(yaml)
    }

    /// Runs a program in a pod; see [`Kubectl::exec`].
    pub fn exec(&self, namespace: &str, pod: &str, program: &[&str]) -> Result<Output> {
        self.kubectl.exec(&PodName::new(namespace, pod), program)
    }

    /// Tries a connection from a pod; see [`Kubectl::probe`].
    pub fn probe(&self, from: &PodName, target: &Target) -> Result<Reach> {
        self.kubectl.probe(from, target)
    }

    /// Tries a connection from outside of all nodes: from [`CONTROL_PLANE`].
    pub fn probe_from_outside(&self, target: &Target) -> Result<Reach> {
        probe::probe_with(self.command(&self.programs.argument("agnhost")), target)
    }

    /// A node, counted from 1.
    pub fn node(&self, index: u8) -> Result<&Node> {
        let position = NodeIndex::new(index)?.position();
        self.nodes
            .get(position)
            .with_context(|| format!("the cluster has only {} nodes", self.nodes.len()))
    }

    /// A node, to be disturbed.
    pub fn node_mut(&mut self, index: u8) -> Result<&mut Node> {
        let position = NodeIndex::new(index)?.position();
        let count = self.nodes.len();
        self.nodes
            .get_mut(position)
            .with_context(|| format!("the cluster has only {count} nodes"))
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The control plane, to be disturbed.
    pub fn control_plane(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }

    /// A command in the control plane's network namespace, with the machine's mounts and processes.
    pub fn command(&self, program: &str) -> Command {
        Netns::of_control_plane(&self.name).command(program)
    }

    /// Starts a program in the control plane's network namespace in the background, its output in the cluster's log folder.
    pub fn spawn(
        &self,
        name: &str,
        program: &str,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Process> {
        let mut command = self.command(program);
        command.args(arguments);
        prepare(&mut command);
        Process::spawn(
            name,
            command,
            process::Launch::Direct,
            self.folder().join("log").join(format!("{name}.log")),
        )
    }

    /// Its files: `log/` and, while it runs, `pki/`, `etcd/` and `nodes/`.
    pub fn folder(&self) -> PathBuf {
        folder(&self.name)
    }

    /// Fails, with the end of its log, if a program of the cluster has ended by itself.
    pub fn check_running(&mut self) -> Result<()> {
        self.control_plane.check_running()?;
        self.nodes.iter_mut().try_for_each(Node::check_running)
    }

    /// Lets the cluster run on after this process has ended.
    pub fn leave(mut self) {
        self.ends_with_us = false;
        self.control_plane.leave();
        self.nodes.iter_mut().for_each(Node::leave);
    }

    fn complete(&mut self, indices: &[NodeIndex], deadline: Deadline) -> Result<()> {
        let (name, folder, pki, programs) =
            (self.name.clone(), self.folder(), &self.pki, &self.programs);
        let begin = |index: NodeIndex| {
            let folder = folder.join("nodes").join(index.name());
            Node::begin(&name, index, indices, folder, pki.clone(), programs.clone())
        };
        // The nodes need nothing of the API server before the kubelets start.
        let (nodes, control_plane) = thread::scope(|scope| {
            let nodes: Vec<_> = indices
                .iter()
                .map(|index| scope.spawn(|| begin(*index)))
                .collect();
            let control_plane = self.control_plane.complete(&self.kubectl, deadline);
            let nodes: Vec<Result<Node>> = nodes
                .into_iter()
                .map(|node| {
                    node.join()
                        .unwrap_or_else(|_| Err(anyhow!("the start of a node panicked")))
                })
                .collect();
            (nodes, control_plane)
        });
        let mut failure = control_plane.err();
        for node in nodes {
            match node {
                Ok(node) => self.nodes.push(node),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.kubectl.apply(&node_objects(indices))?;
        self.nodes.iter_mut().try_for_each(Node::join)?;
        let ready = self.wait_until_usable(deadline);
        if ready.is_err() {
            self.check_running()?;
        }
        ready
    }

    fn wait_until_usable(&self, deadline: Deadline) -> Result<()> {
        self.kubectl
            .wait_for("condition=Ready", deadline.remaining(), &["nodes", "--all"])?;
        // No pod can be made in a namespace before its service account is there.
        self.kubectl.wait_for(
            "create",
            deadline.remaining(),
            &["serviceaccount/default", "--namespace=default"],
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.ends_with_us {
            return;
        }
        self.nodes.clear();
        self.control_plane.end();
        remove_after_failure(&self.name);
    }
}

/// A kubectl for a cluster that another process has started.
pub fn connect(name: &ClusterName) -> Result<Kubectl> {
    if leftovers::look(name)? == Found::Nothing {
        bail!(
            "cluster {} does not run; start it with: cluster --name {} up",
            name.as_str(),
            name.as_str()
        );
    }
    Ok(kubectl_of(name, &Programs::ready()?))
}

/// Ends and removes a cluster that another process has started, or what is left of it.
pub fn down(name: &ClusterName) -> Result<Found> {
    let _lock = lock(name)?;
    let found = leftovers::look(name)?;
    leftovers::remove(name, &folder(name))?;
    Ok(found)
}

fn kubectl_of(name: &ClusterName, programs: &Programs) -> Kubectl {
    let kubeconfig = folder(name).join("pki").join("admin.kubeconfig");
    Kubectl::new(
        Netns::of_control_plane(name),
        programs.argument("kubectl"),
        kubeconfig,
    )
}

fn folder(name: &ClusterName) -> PathBuf {
    programs::store().join("clusters").join(name.as_str())
}

/// Nobody may take away a cluster while another process is responsible for it.
fn lock(name: &ClusterName) -> Result<File> {
    let clusters = programs::store().join("clusters");
    fs::create_dir_all(&clusters).with_context(|| format!("make {}", clusters.display()))?;
    let lock = File::create(clusters.join(format!("{}.lock", name.as_str())))
        .context("make the lock of the cluster")?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => {
            bail!(
                "cluster {} is in use by another process; end that one, or take another name",
                name.as_str()
            )
        }
        Err(fs::TryLockError::Error(error)) => Err(error).context("lock the cluster"),
    }
}

fn forget_logs(name: &ClusterName) -> Result<()> {
    let logs = folder(name).join("log");
    if logs.exists() {
        fs::remove_dir_all(&logs).with_context(|| format!("remove {}", logs.display()))?;
    }
    Ok(())
}

fn remove_after_failure(name: &ClusterName) {
    if let Err(error) = leftovers::remove(name, &folder(name)) {
        eprintln!("cluster: {error:#}");
    }
}

/// The Node objects, made before the kubelets register: the pod ranges on them are those of the routes and of the plugins.
fn node_objects(indices: &[NodeIndex]) -> String {
    indices
        .iter()
        .map(|node| {
            let pods = node.pods();
            format!(
                "apiVersion: v1\nkind: Node\nmetadata: {{name: {}}}\nspec: {{podCIDR: {pods}, podCIDRs: [{pods}]}}\n---\n",
                node.name()
            )
        })
        .collect()
}
