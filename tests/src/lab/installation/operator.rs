//! What an operator types beside a running installation: questions to its controller, and the `remove` of an agent.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result};

use super::{Installation, STATUS};
use crate::lab::{NodeNumber, find_program};

impl Installation {
    /// Runs a verb of `bulkhead` that asks the controller, where the controller serves. How it ends is the caller's to judge.
    pub fn command_line(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(find_program("bulkhead")?);
        command
            .args(arguments)
            .args(["--controller", &format!("http://{STATUS}")])
            // A proxy of the machine knows nothing of the lab.
            .env_clear();
        self.place.fabric.output(&mut command)
    }

    /// Runs `bulkhead-agent remove` on a node, whether its agent runs or not, and whether pins and state are that agent's or not. How
    /// it ends is the caller's to judge.
    pub fn remove_agent(&self, node: NodeNumber, pins: &Path, state: &Path) -> Result<Output> {
        let (netns, _) = self
            .place
            .nodes
            .get(&node)
            .context("there is no such node")?;
        let mut command = Command::new(find_program("bulkhead-agent")?);
        command
            .arg("remove")
            .arg("--pins")
            .arg(pins)
            .arg("--state")
            .arg(state)
            .env_clear();
        netns.output(&mut command)
    }
}
