//! Bulkhead on a cluster: its definitions in the API server, the controller beside the control plane, an agent in every node. Real
//! programs, started, killed and started again as a story wants it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{CONTROL_PLANE, Cluster, Deadline, Process};
use crate::lab::find_program;

/// Where agents find the controller.
const AGENTS_PORT: u16 = 9443;
/// Where the controller tells how far it is.
const HTTP_PORT: u16 = 9480;
/// The controller's own credentials, as a kubeconfig.
const ACCOUNT_FILE: &str = "controller.kubeconfig";
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running product.
#[derive(Debug)]
pub struct Installation {
    controller: Option<Process>,
    /// By node.
    agents: BTreeMap<u8, Process>,
    programs: Programs,
    /// Keys and state, beside the cluster's own files.
    folder: PathBuf,
}

#[derive(Debug)]
struct Programs {
    controller: String,
    agent: String,
}

impl Installation {
    /// Installs the definitions, starts the controller and an agent per node, and waits until the controller is ready.
    pub fn start(cluster: &Cluster) -> Result<Self> {
        install_definitions(cluster)?;
        let program = |name: &str| find_program(name).map(|path| path.display().to_string());
        let programs = Programs {
            controller: program("bulkhead-controller")?,
            agent: program("bulkhead-agent")?,
        };
        let folder = cluster.folder().join("bulkhead");
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let mut installation = Self {
            controller: None,
            agents: BTreeMap::new(),
            programs,
            folder,
        };
        installation.make_keys(cluster)?;
        installation.make_account(cluster)?;
        installation.start_controller(cluster)?;
        for index in 1..=u8::try_from(cluster.nodes().len())? {
            installation.start_agent(cluster, index)?;
        }
        Ok(installation)
    }

    /// Starts the controller, and waits until it has read the API server.
    pub fn start_controller(&mut self, cluster: &Cluster) -> Result<()> {
        let (keys, state) = (self.path("keys"), self.path("controller"));
        let listen = format!("{CONTROL_PLANE}:{AGENTS_PORT}");
        let http = format!("{CONTROL_PLANE}:{HTTP_PORT}");
        let arguments = [
            "run",
            "--kubernetes",
            "--keys",
            &keys,
            "--state",
            &state,
            "--listen",
            &listen,
            "--http",
            &http,
        ];
        let kubeconfig = self.path(ACCOUNT_FILE);
        let process = cluster.spawn(
            "bulkhead-controller",
            &self.programs.controller,
            &arguments,
            |command| {
                command.env("KUBECONFIG", &kubeconfig);
            },
        )?;
        let process = self.controller.insert(process);
        Deadline::after(START_LIMIT).until("a ready controller", || {
            process.check_running()?;
            ask(cluster, "/readyz").map(Some)
        })?;
        Ok(())
    }

    /// Kills the controller, as a crash would.
    pub fn kill_controller(&mut self) -> Result<()> {
        self.controller
            .take()
            .context("the controller does not run")?
            .kill()
    }

    /// Starts a node's agent.
    pub fn start_agent(&mut self, cluster: &Cluster, index: u8) -> Result<()> {
        let node = cluster.node(index)?;
        let keys = Path::new(&self.folder).join("keys");
        let file = |name: &str| keys.join(name).display().to_string();
        let (authority, certificate, key) = (
            file("ca.crt"),
            file(&format!("nodes/{}.crt", node.name())),
            file(&format!("nodes/{}.key", node.name())),
        );
        let (name, state, controller) = (
            node.name(),
            self.path(&format!("agent-{}", node.name())),
            format!("{CONTROL_PLANE}:{AGENTS_PORT}"),
        );
        let arguments = [
            "run",
            "--node",
            &name,
            "--controller",
            &controller,
            "--authority",
            &authority,
            "--certificate",
            &certificate,
            "--key",
            &key,
            "--state",
            &state,
        ];
        let agent = node.spawn("bulkhead-agent", &self.programs.agent, &arguments, |_| ())?;
        self.agents.insert(index, agent);
        Ok(())
    }

    /// Kills a node's agent, as a crash would. What it put into the kernel goes on.
    pub fn kill_agent(&mut self, index: u8) -> Result<()> {
        self.agents
            .remove(&index)
            .with_context(|| format!("no agent runs on node {index}"))?
            .kill()
    }

    /// Fails, with the end of its log, if one of the programs has ended by itself.
    pub fn check_running(&mut self) -> Result<()> {
        self.controller
            .iter_mut()
            .chain(self.agents.values_mut())
            .try_for_each(Process::check_running)
    }

    fn make_keys(&self, cluster: &Cluster) -> Result<()> {
        let mut init = cluster.command(&self.programs.controller);
        init.args([
            "init",
            "--keys",
            &self.path("keys"),
            "--address",
            &CONTROL_PLANE.to_string(),
        ]);
        for node in cluster.nodes() {
            init.args(["--node", &node.name()]);
        }
        let output = init.output().context("start bulkhead-controller init")?;
        anyhow::ensure!(
            output.status.success(),
            "make keys: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// The controller may do what the product's own roles allow, and no more: a test as administrator would not see what
    /// they lack.
    fn make_account(&self, cluster: &Cluster) -> Result<()> {
        let roles = deployed("rbac");
        cluster.kubectl(&["apply", "--server-side", "-f", &roles])?;
        let account = [
            "create",
            "token",
            "bulkhead-controller",
            "-n",
            "kube-system",
        ];
        let token = cluster.kubectl(&[&account[..], &["--duration=2h"]].concat())?;
        let config = cluster.kubectl(&["config", "view", "--raw", "--minify", "-o", "json"])?;
        let mut config: serde_json::Value =
            serde_json::from_str(&config).context("the administrator's kubeconfig")?;
        config["users"][0]["user"] = serde_json::json!({ "token": token.trim() });
        let path = self.path(ACCOUNT_FILE);
        fs::write(&path, config.to_string()).with_context(|| format!("write {path}"))
    }

    fn path(&self, part: &str) -> String {
        self.folder.join(part).display().to_string()
    }
}

/// A folder of `deploy/`.
fn deployed(folder: &str) -> String {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy");
    deploy.join(folder).display().to_string()
}

/// Applies the generated definitions, waits until the API server serves them, and tells it what to refuse beside their schemas.
pub fn install_definitions(cluster: &Cluster) -> Result<()> {
    let definitions = deployed("crds");
    cluster.kubectl(&["apply", "--server-side", "-f", &definitions])?;
    cluster
        .client()
        .wait_for("condition=Established", START_LIMIT, &["-f", &definitions])?;
    let admission = deployed("admission");
    cluster.kubectl(&["apply", "--server-side", "-f", &admission])?;
    Ok(())
}

/// A GET of the controller, from beside it. (busybox's wget looks names up, which a static program cannot.)
fn ask(cluster: &Cluster, path: &str) -> Result<String> {
    let request = format!(
        "printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 5 {CONTROL_PLANE} {HTTP_PORT}"
    );
    let output = cluster
        .command("sh")
        .args(["-c", &request])
        .output()
        .context("start nc")?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("GET {path}: no answer: {answer}"))?;
    anyhow::ensure!(
        head.lines()
            .next()
            .is_some_and(|line| line.contains(" 200 ")),
        "GET {path}: {head}: {body}"
    );
    Ok(body.to_owned())
}
