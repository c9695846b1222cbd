//! Taking a cluster away: what a `down` does, and what an `up` does first about a run that crashed.
//!
//! No list of processes is kept that could be stale or missing. Whatever runs in the cluster's network namespaces is the
//! cluster's, since nobody else has their names; killing a node's first process takes along what runs deeper, in pods.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup;
use super::network::{ClusterName, Netns, NodeIndex};
use super::process::{all_processes, status_field};
use super::wait::Deadline;

const END_LIMIT: Duration = Duration::from_secs(15);

/// What is there of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Namespaces, and whatever runs in them.
    Something,
}

/// Looks for a cluster of that name, whoever made it.
pub(crate) fn look(cluster: &ClusterName) -> Result<Found> {
    Ok(if namespaces(cluster)?.is_empty() {
        Found::Nothing
    } else {
        Found::Something
    })
}

/// Ends and removes everything of a cluster but its logs.
pub(crate) fn remove(cluster: &ClusterName, folder: &Path) -> Result<()> {
    let namespaces = namespaces(cluster)?;
    Deadline::after(END_LIMIT).until(
        &format!("the end of the processes of cluster {}", cluster.as_str()),
        || {
            let mut left = false;
            for netns in &namespaces {
                for pid in processes_in(netns)? {
                    left = true;
                    // Gone in the meantime is as good.
                    let _gone = kill(pid, Signal::SIGKILL);
                }
            }
            Ok((!left).then_some(()))
        },
    )?;
    for netns in &namespaces {
        netns.remove()?;
    }
    cgroup::remove(cluster)?;
    remove_folder(folder)
}

/// The living processes whose network namespace this is.
pub(crate) fn processes_in(netns: &Netns) -> Result<BTreeSet<Pid>> {
    let identity = |path: &str| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let Ok(namespace) = identity(&netns.path()) else {
        return Ok(BTreeSet::new());
    };
    if namespace == identity("/proc/self/ns/net").context("look at our own network namespace")? {
        bail!(
            "{} is the network namespace we run in ourselves; nothing is ended",
            netns.path()
        );
    }
    let lives = |pid: &Pid| {
        identity(&format!("/proc/{pid}/ns/net")).is_ok_and(|its| its == namespace)
            && status_field(*pid, "State").is_some_and(|state| !state.starts_with('Z'))
    };
    Ok(all_processes()?.into_iter().filter(lives).collect())
}

fn namespaces(cluster: &ClusterName) -> Result<Vec<Netns>> {
    let nodes = NodeIndex::first(NodeIndex::MAX)?
        .into_iter()
        .map(|node| Netns::of_node(cluster, node));
    Ok(nodes
        .chain([Netns::of_control_plane(cluster)])
        .filter(Netns::exists)
        .collect())
}

/// Nodes' mounts are in their own mount namespaces and so are gone by now.
fn remove_folder(folder: &Path) -> Result<()> {
    for part in ["etcd", "pki", "nodes", "bulkhead"] {
        let path = folder.join(part);
        if !path.exists() {
            continue;
        }
        Deadline::after(END_LIMIT).until(&format!("the removal of {}", path.display()), || {
            keep_logs(&path, &folder.join("log"))?;
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
            Ok(Some(()))
        })?;
    }
    Ok(())
}

/// Moves the nodes' logs out of the folders that are about to go.
fn keep_logs(nodes: &Path, logs: &Path) -> Result<()> {
    for entry in fs::read_dir(nodes)? {
        let node = entry?;
        let from = node.path().join("log");
        let to = logs.join(node.file_name());
        if from.is_dir() {
            if to.exists() {
                fs::remove_dir_all(&to)?;
            }
            fs::create_dir_all(logs)?;
            fs::rename(&from, &to)
                .with_context(|| format!("move {} to {}", from.display(), to.display()))?;
        }
    }
    Ok(())
}
