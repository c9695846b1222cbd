//! Talking to a cluster from outside: kubectl, started in the control plane's network namespace as administrator.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::network::Netns;

/// No call may hang longer; `kubectl wait` has its own limit below it.
const CALL_LIMIT_S: u64 = 180;
/// An exec that is not through by then is broken.
const EXEC_LIMIT_S: u64 = 30;

/// kubectl with its credentials.
#[derive(Debug, Clone)]
pub struct Kubectl {
    netns: Netns,
    program: String,
    kubeconfig: PathBuf,
}

/// A pod, by namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl PodName {
    /// Names a pod.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl Kubectl {
    pub(crate) fn new(netns: Netns, program: String, kubeconfig: PathBuf) -> Self {
        Self {
            netns,
            program,
            kubeconfig,
        }
    }

    /// The administrator's kubeconfig. Its address can be reached from the control plane's and the nodes' namespaces only.
    pub fn kubeconfig(&self) -> &PathBuf {
        &self.kubeconfig
    }

    /// A kubectl call that the caller starts himself, without a limit of time.
    pub fn command(&self) -> Command {
        let mut command = self.netns.command(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// Runs kubectl; gives what it prints, or fails with its error message.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with_input(arguments, "")
    }

    /// The same with something on its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.output(CALL_LIMIT_S, arguments, input)?;
        if !output.status.success() {
            bail!(
                "kubectl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `kubectl get … -o json`.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&text)
            .with_context(|| format!("kubectl get {}: not JSON", arguments.join(" ")))
    }

    /// Applies manifests, server-side.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        self.run_with_input(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            yaml,
        )
        .map(drop)
    }

    /// Deletes what the manifests name and waits until it is gone.
    pub fn delete(&self, yaml: &str) -> Result<()> {
        self.run_with_input(&["delete", "--ignore-not-found", "-f", "-"], yaml)
            .map(drop)
    }

    /// `kubectl wait`; `condition` as in `condition=Ready` or `create`.
    pub fn wait_for(&self, condition: &str, limit: Duration, arguments: &[&str]) -> Result<()> {
        let (condition, limit) = (
            format!("--for={condition}"),
            format!("--timeout={}s", limit.as_secs()),
        );
        self.run(&[&["wait", &condition, &limit], arguments].concat())
            .map(drop)
    }

    /// Runs a program in a pod's first container. Its failure is in the output; an exec that does not work is an error.
    pub fn exec(&self, pod: &PodName, program: &[&str]) -> Result<Output> {
        let arguments = [&["exec", "-n", &pod.namespace, &pod.name, "--"], program].concat();
        let output = self.output(EXEC_LIMIT_S, &arguments, "")?;
        let broken = String::from_utf8_lossy(&output.stderr);
        // kubectl passes the program's status on, so only its own words tell whose failure it is.
        if !output.status.success()
            && (output.status.code() == Some(124)
                || broken.lines().any(|l| {
                    l.starts_with("Error from server") || l.starts_with("error: Internal error")
                }))
        {
            bail!(
                "exec in pod {}/{}: {}",
                pod.namespace,
                pod.name,
                broken.trim()
            );
        }
        Ok(output)
    }

    fn output(&self, limit_s: u64, arguments: &[&str], input: &str) -> Result<Output> {
        let mut child = self
            .netns
            .command("timeout")
            .arg(limit_s.to_string())
            .arg(&self.program)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start kubectl")?;
        // kubectl may end without having read all of it; its own message says why.
        let mut pipe = child.stdin.take().context("no pipe to kubectl")?;
        let _ended_early = pipe.write_all(input.as_bytes());
        drop(pipe);
        child.wait_with_output().context("wait for kubectl")
    }
}
