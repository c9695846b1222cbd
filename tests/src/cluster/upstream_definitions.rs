//! The definition of `ClusterNetworkPolicy`, as upstream publishes it: from the pinned Go module `tests/network-policy-api`, by name
//! and with its checksum. It is fetched when a story asks for it and lies in Go's own cache from then on; nothing of it is kept here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::programs::go;
use super::{Cluster, Deadline};

/// The module that the definition is part of.
const MODULE: &str = "sigs.k8s.io/network-policy-api";

/// The experimental channel holds all of the standard one.
const DEFINITION: &str =
    "config/crd/experimental/policy.networking.k8s.io_clusternetworkpolicies.yaml";

/// The definition's name.
pub(super) const NAME: &str = "clusternetworkpolicies.policy.networking.k8s.io";

const START_LIMIT: Duration = Duration::from_secs(60);

/// Applies upstream's definition and waits until the API server serves the kind.
pub fn install_cluster_network_policy(cluster: &Cluster) -> Result<()> {
    let file = definition()?.display().to_string();
    cluster.kubectl(&["apply", "--server-side", "-f", &file])?;
    cluster
        .client()
        .wait_for("condition=Established", START_LIMIT, &["-f", &file])?;
    // Established is said a moment before the kind can be asked for.
    Deadline::after(START_LIMIT).until("a served ClusterNetworkPolicy", || {
        cluster
            .kubectl(&["get", "clusternetworkpolicies", "-o", "name"])
            .map(Some)
    })?;
    Ok(())
}

fn definition() -> Result<PathBuf> {
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("network-policy-api");
    let output = go(&pinned)
        .args(["mod", "download", "-json", MODULE])
        .output()
        .context("start go: install Go (see the docs of the harness for the version)")?;
    if !output.status.success() {
        bail!(
            "go mod download {MODULE}: {}{}",
            String::from_utf8_lossy(&output.stdout).trim(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let module: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("go mod download {MODULE}: not JSON"))?;
    let folder = module["Dir"]
        .as_str()
        .with_context(|| format!("go mod download {MODULE}: no folder"))?;
    Ok(Path::new(folder).join(DEFINITION))
}
