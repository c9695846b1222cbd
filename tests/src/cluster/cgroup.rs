//! The control groups of the nodes: one subtree per node in every hierarchy the machine has mounted, of version 1 or 2, because
//! the kubelet wants its root to exist in all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::network::{ClusterName, NodeIndex};
use super::wait::Deadline;

const REMOVE_LIMIT: Duration = Duration::from_secs(10);

/// A node's subtree, as a path from the root of every hierarchy.
pub(crate) fn of_node(cluster: &ClusterName, node: NodeIndex) -> String {
    format!("/{}/{}", of_cluster(cluster), node.name())
}

fn of_cluster(cluster: &ClusterName) -> String {
    format!("kube-{}", cluster.as_str())
}

/// Makes a node's subtree.
pub(crate) fn make(cluster: &ClusterName, node: NodeIndex) -> Result<()> {
    for hierarchy in hierarchies()? {
        let mut group = hierarchy;
        for part in [of_cluster(cluster), node.name()] {
            let child = group.join(part);
            hand_down_controllers(&group)?;
            fs::create_dir_all(&child)
                .with_context(|| format!("make cgroup {}", child.display()))?;
            inherit_cpuset(&group, &child)?;
            group = child;
        }
    }
    Ok(())
}

/// Removes the cluster's subtrees; the processes in them have to be gone.
pub(crate) fn remove(cluster: &ClusterName) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(of_cluster(cluster));
        // The kernel takes a moment to forget the last process of a group.
        Deadline::after(REMOVE_LIMIT).until(
            &format!("the removal of cgroup {}", group.display()),
            || {
                remove_tree(&group)?;
                Ok(Some(()))
            },
        )?;
    }
    Ok(())
}

fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    Ok(mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, kind) = (fields.next()?, fields.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(point))
        })
        .collect())
}

/// Version 2: children have only the controllers that their parent hands down.
fn hand_down_controllers(group: &Path) -> Result<()> {
    let Ok(controllers) = fs::read_to_string(group.join("cgroup.controllers")) else {
        return Ok(());
    };
    for controller in controllers.split_whitespace() {
        let file = group.join("cgroup.subtree_control");
        fs::write(&file, format!("+{controller}"))
            .with_context(|| format!("write +{controller} to {}", file.display()))?;
    }
    Ok(())
}

/// Version 1: nothing can run in a new cpuset before it has processors and memory.
fn inherit_cpuset(parent: &Path, child: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let to = child.join(file);
        if parent.join("cgroup.procs").exists()
            && to.exists()
            && fs::read_to_string(&to)?.trim().is_empty()
        {
            let from = parent.join(file);
            if let Ok(value) = fs::read_to_string(&from) {
                fs::write(&to, value)
                    .with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
            }
        }
    }
    Ok(())
}

fn remove_tree(group: &Path) -> Result<()> {
    if !group.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group).with_context(|| format!("remove cgroup {}", group.display()))
}
