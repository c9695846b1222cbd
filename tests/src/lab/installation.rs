//! The product installed in a lab: its controller in the fabric's namespace reading a folder, its agent in each node's.
//!
//! The programs are the product's own, started as an operator would start them and ended by their process number.

mod operator;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bulkhead_policy::model::ObjectRef;
use serde::Deserialize;

use super::endpoint::{Instant, now};
use super::http;
use super::run_folder::make;
use super::{CONTROL_PLANE, Lab, Netns, NodeNumber, find_program};
use crate::cluster::process::{Launch, Process};
use crate::cluster::{Deadline, Process as Running};

const AGENT_PORT: u16 = 9443;
const STATUS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9480);
/// For a change to be in force on every node; a grace period of the kernel takes up to a tenth of a second where it is busy.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);
const END_LIMIT: Duration = Duration::from_secs(10);

/// A running installation. Dropped, all its programs are killed; what is in the kernel goes with the lab.
#[derive(Debug)]
pub struct Installation {
    place: Place,
    controller: Option<Running>,
    agents: BTreeMap<NodeNumber, Running>,
    flags: Vec<String>,
}

/// Where everything is, without holding the lab.
#[derive(Debug, Clone)]
struct Place {
    fabric: Netns,
    nodes: BTreeMap<NodeNumber, (Netns, PathBuf)>,
    folder: PathBuf,
}

/// The part of the controller's status that the lab looks at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// Whether the folder was read.
    pub ready: bool,
    /// The state of the inputs; counts changes of the folder.
    pub versions: BTreeMap<String, u64>,
    /// All nodes.
    pub nodes: Vec<NodeStatus>,
    /// Policies and segments.
    pub objects: Vec<ObjectStatus>,
    /// What is wrong with the manifests, as the controller puts it.
    pub problems: Vec<serde_json::Value>,
}

/// One policy or segment as the controller sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ObjectStatus {
    /// Its kind.
    pub kind: String,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it is in force on every node that it belongs on.
    pub enforced: bool,
}

/// One node as the controller sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// In one word.
    pub health: String,
    /// In a sentence.
    pub message: String,
    /// Whether its agent is connected.
    pub connected: bool,
    /// The revision it should enforce.
    pub desired: Option<String>,
    /// The revision it enforces, read back from its kernel.
    pub realised: Option<String>,
    /// Since when, in milliseconds.
    pub realised_at_ms: Option<i64>,
    /// Workloads behind both hooks.
    pub protected: u32,
    /// Workloads cut off because their rules do not fit.
    pub denied: Vec<WorkloadStatus>,
    /// Words written for the last revision.
    pub writes: Option<u64>,
}

/// A workload with something to say about it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WorkloadStatus {
    /// `namespace/name`.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Status {
    /// Whether every one of the nodes enforces what it should.
    pub fn is_settled(&self, nodes: usize) -> bool {
        let settled = |node: &NodeStatus| {
            node.connected && node.desired.is_some() && node.desired == node.realised
        };
        self.ready && self.nodes.len() == nodes && self.nodes.iter().all(settled)
    }

    /// Whether a policy or segment is known and in force wherever it belongs.
    pub fn is_enforced(&self, object: &ObjectRef) -> bool {
        self.objects.iter().any(|status| {
            status.enforced
                && status.kind == object.kind.name()
                && *status.namespace == *object.namespace
                && *status.name == *object.name
        })
    }

    /// Whether inputs have changed between the other status and this one.
    pub fn is_newer(&self, than: &Self) -> bool {
        self.version() > than.version()
    }

    fn version(&self) -> u64 {
        self.versions.values().sum()
    }
}

impl Installation {
    /// Makes keys, starts the controller on an empty folder `manifests` and an agent on every node. `agent_flags` are given to each agent.
    pub fn start(lab: &Lab, agent_flags: &[&str]) -> Result<Self> {
        let nodes = lab
            .plan()
            .nodes()
            .iter()
            .map(|node| (*node, (lab.node(*node), lab.pins(*node))))
            .collect();
        let place = Place {
            fabric: lab.fabric(),
            nodes,
            folder: lab.folder().to_owned(),
        };
        fs::create_dir_all(place.manifests())?;
        fs::create_dir_all(place.folder.join("log"))?;
        place.make_keys()?;
        let flags = agent_flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut installation = Self {
            place,
            controller: None,
            agents: BTreeMap::new(),
            flags,
        };
        installation.start_controller()?;
        for node in lab.plan().nodes() {
            installation.start_agent(*node)?;
        }
        Ok(installation)
    }

    /// The folder that the controller watches.
    pub fn manifests(&self) -> PathBuf {
        self.place.manifests()
    }

    /// Puts a manifest into the folder, whole or not at all, as a careful operator would.
    pub fn apply(&self, file: &str, text: &str) -> Result<()> {
        let to = self.manifests().join(file);
        let aside = self.place.folder.join("aside.tmp");
        fs::write(&aside, text).with_context(|| format!("write {}", aside.display()))?;
        fs::rename(&aside, &to).with_context(|| format!("put {}", to.display()))
    }

    /// Copies a manifest into the folder.
    pub fn apply_file(&self, path: &Path) -> Result<()> {
        let name = path
            .file_name()
            .context("a manifest has a name")?
            .to_string_lossy();
        self.apply(
            &name,
            &fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?,
        )
    }

    /// Takes a manifest out of the folder.
    pub fn withdraw(&self, file: &str) -> Result<()> {
        let path = self.manifests().join(file);
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
    }

    /// What the controller says.
    pub fn status(&self) -> Result<Status> {
        let text = http::get_in(&self.place.fabric, STATUS, "/status")?;
        serde_json::from_str(&text).context("read the controller's status")
    }

    /// Makes a change and waits until every node has read it back from its kernel.
    pub fn settle(&self, change: impl FnOnce() -> Result<()>) -> Result<Status> {
        let before = self.status()?.version();
        change()?;
        self.wait("the change in force on every node", |status| {
            status.version() > before && status.is_settled(self.place.nodes.len())
        })
    }

    /// Makes a change and waits until every node enforces its revision and `is_in` says that all of the change is in. Answers with the
    /// times from before the change until the controller's answer had arrived: the read-back in the kernel of the last node lies
    /// before its end.
    pub fn settle_timed(
        &self,
        change: impl FnOnce() -> Result<()>,
        is_in: impl Fn(&Status) -> bool,
    ) -> Result<(Instant, Instant)> {
        let before = self.status()?.version();
        let deadline = Deadline::after(SETTLE_LIMIT);
        let changed = now();
        change()?;
        loop {
            let status = self.status()?;
            let settled = status.is_settled(self.place.nodes.len());
            if status.version() > before && settled && is_in(&status) {
                return Ok((changed, now()));
            }
            if deadline.remaining().is_zero() {
                bail!(
                    "the change was not in force in time; the controller says {status:#?}\n{}",
                    self.logs()
                );
            }
            // Each look is a connection and a thread of its own: that is pause enough.
        }
    }

    /// Waits until every node enforces what the controller wants.
    pub fn wait_settled(&self) -> Result<Status> {
        self.wait("every node enforcing its revision", |status| {
            status.is_settled(self.place.nodes.len())
        })
    }

    /// Waits for a state that the controller reports. Fails with what it said last.
    pub fn wait(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Result<Status> {
        let outcome = Deadline::after(SETTLE_LIMIT).until(what, || {
            // Whoever has ended by itself will not do what is waited for.
            if let Some(ended) = self.running().find(|process| process.has_ended()) {
                return Ok(Some(Err(anyhow!("{} has ended by itself", ended.name()))));
            }
            Ok(Some(self.status()?).filter(&is_so).map(Ok))
        });
        let outcome = outcome.and_then(|found| found);
        outcome.with_context(|| match self.status() {
            Ok(status) => format!("the controller says {status:#?}\n{}", self.logs()),
            Err(error) => format!("the controller says nothing: {error:#}\n{}", self.logs()),
        })
    }

    /// What the controller serves beside its agents: `/status`, `/metrics`, …
    pub fn ask_controller(&self, path: &str) -> Result<String> {
        http::get_in(&self.place.fabric, STATUS, path)
    }

    /// What an agent serves on its socket: `/metrics`, `/events`, …
    pub fn ask_agent(&self, node: NodeNumber, path: &str) -> Result<String> {
        http::get_local(&self.place.state(node).join("agent.sock"), path)
    }

    /// What an agent writes on its socket, line by line, until it ends.
    pub fn agent_lines(
        &self,
        node: NodeNumber,
        path: &str,
    ) -> Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
        http::lines_local(&self.place.state(node).join("agent.sock"), path)
    }

    /// SIGKILL: no time to say goodbye.
    pub fn kill_agent(&mut self, node: NodeNumber) -> Result<()> {
        self.agents
            .remove(&node)
            .context("no agent runs there")?
            .kill()
    }

    /// SIGTERM, and waits until the agent has ended in order.
    pub fn stop_agent(&mut self, node: NodeNumber) -> Result<()> {
        let agent = self.agents.remove(&node).context("no agent runs there")?;
        let status = agent.terminate(END_LIMIT)?;
        ensure!(
            status.success(),
            "the agent of {} has ended with {status}",
            node.name()
        );
        Ok(())
    }

    /// Starts an agent that does not run.
    pub fn start_agent(&mut self, node: NodeNumber) -> Result<()> {
        let (netns, pins) = self
            .place
            .nodes
            .get(&node)
            .context("there is no such node")?;
        let name = node.name();
        let keys = self.place.keys();
        let key = |suffix: &str| {
            keys.join("nodes")
                .join(format!("{name}.{suffix}"))
                .display()
                .to_string()
        };
        let mut command = Command::new(find_program("bulkhead-agent")?);
        command
            .arg("run")
            .args(["--node", &name])
            .args(["--controller", &format!("{CONTROL_PLANE}:{AGENT_PORT}")])
            .arg("--authority")
            .arg(keys.join("ca.crt"))
            .args(["--certificate", &key("crt"), "--key", &key("key")])
            .arg("--pins")
            .arg(pins)
            .arg("--state")
            .arg(self.place.state(node))
            .args(&self.flags);
        let log = self.place.log(&name);
        let process =
            netns.enter(|| make(|| Process::spawn(&name, command, Launch::Direct, log)))?;
        self.agents.insert(node, process);
        Ok(())
    }

    /// SIGKILL to the controller.
    pub fn kill_controller(&mut self) -> Result<()> {
        self.controller.take().context("no controller runs")?.kill()
    }

    /// Starts a controller that does not run and waits until it has read the folder.
    pub fn start_controller(&mut self) -> Result<()> {
        let mut command = Command::new(find_program("bulkhead-controller")?);
        command
            .arg("run")
            .arg("--folder")
            .arg(self.place.manifests())
            .arg("--state")
            .arg(self.place.folder.join("controller"))
            .arg("--keys")
            .arg(self.place.keys())
            .args(["--listen", &format!("{CONTROL_PLANE}:{AGENT_PORT}")])
            .args(["--http", &STATUS.to_string()]);
        let log = self.place.log("controller");
        let mut process = self
            .place
            .fabric
            .enter(|| make(|| Process::spawn("controller", command, Launch::Direct, log)))?;
        let answers = || {
            process.check_running()?;
            http::get_in(&self.place.fabric, STATUS, "/healthz").map(Some)
        };
        Deadline::after(END_LIMIT).until("an answer of the controller", answers)?;
        self.controller = Some(process);
        Ok(())
    }

    /// Ends of all logs, for the message of a failure.
    pub fn logs(&self) -> String {
        self.running()
            .map(|process| format!("{}\n", process.log_tail()))
            .collect()
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.controller.iter().chain(self.agents.values())
    }

    /// Another certificate for a node, where its agent reads it. Whether the agent runs or not is nothing to it.
    pub fn renew_keys(&self, node: NodeNumber) -> Result<()> {
        let path = self.place.keys().join("nodes");
        let path = path.join(format!("{}.crt", node.name()));
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        self.place.make_keys()
    }

    /// Where the keys are, as `bulkhead-controller init` has made them.
    pub fn keys(&self) -> PathBuf {
        self.place.keys()
    }
}

impl Place {
    fn manifests(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    fn keys(&self) -> PathBuf {
        self.folder.join("keys")
    }

    fn state(&self, node: NodeNumber) -> PathBuf {
        self.folder.join("state").join(node.name())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join("log").join(format!("{name}.log"))
    }

    fn make_keys(&self) -> Result<()> {
        let mut command = Command::new(find_program("bulkhead-controller")?);
        command.arg("init").arg("--keys").arg(self.keys());
        for node in self.nodes.keys() {
            command.args(["--node", &node.name()]);
        }
        let output = command
            .stdin(Stdio::null())
            .output()
            .context("start bulkhead-controller init")?;
        if !output.status.success() {
            bail!(
                "bulkhead-controller init: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}
