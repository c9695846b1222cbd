//! The demo's application: read from its manifests, the same that the controller reads. So what runs in the lab and what the
//! product is told about it cannot differ.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bulkhead_crds::manifest;
use bulkhead_policy::model::{Object, Workload};

use crate::lab::Plan;

/// The customer's machine.
pub const CUSTOMER: &str = "customer";
/// The bank's machine.
pub const BANK: &str = "bank";
/// Last numbers of the addresses outside; the policies name the bank's.
const CUSTOMER_HOST: u8 = 10;
const BANK_HOST: u8 = 20;

/// Where the demo's manifests are: `application`, `policies` and what is kept `aside`.
#[derive(Debug, Clone)]
pub struct Manifests(PathBuf);

impl Manifests {
    /// Those of this source tree.
    pub fn of_source_tree() -> Self {
        Self(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo"))
    }

    /// Nodes, namespaces and workloads.
    pub fn application(&self) -> Result<Vec<PathBuf>> {
        files(&self.0.join("application"))
    }

    /// Who may talk to whom.
    pub fn policies(&self) -> Result<Vec<PathBuf>> {
        files(&self.0.join("policies"))
    }

    /// What is copied into the folder in an emergency.
    pub fn quarantine(&self) -> PathBuf {
        self.0.join("aside").join("quarantine-ci-runner.yaml")
    }
}

/// Every object in a file; anything wrong with one is an error here, as the files are ours.
pub fn read(path: &Path) -> Result<Vec<Object>> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let manifest = manifest::read(&path.display().to_string(), &bytes);
    ensure!(
        manifest.problems.is_empty(),
        "{}: {:#?}",
        path.display(),
        manifest.problems
    );
    Ok(manifest
        .objects
        .into_iter()
        .map(|located| located.object)
        .collect())
}

/// A lab in which the workloads of the manifests run, each serving on the ports that its manifest names.
pub fn plan(objects: &[Object]) -> Result<Plan> {
    let nodes = objects
        .iter()
        .filter(|object| matches!(object, Object::Node(_)))
        .count();
    let workloads = objects.iter().filter_map(|object| match object {
        Object::Workload(_, workload) => Some(&**workload),
        Object::Namespace(_) | Object::Node(_) | Object::Service(_) | Object::EndpointSlice(_) => {
            None
        }
        Object::Segment(_) | Object::Policy(_) => None,
    });
    let mut plan = Plan::new(u8::try_from(nodes)?);
    let mut declared: BTreeMap<String, &Workload> = BTreeMap::new();
    for workload in workloads {
        let key = format!("{}/{}", workload.namespace, workload.name);
        plan = plan.workload(&key, node_number(workload)?, &ports(workload))?;
        declared.insert(key, workload);
    }
    for planned in plan.workloads() {
        let workload = declared
            .get(&planned.key())
            .context("every workload of the plan is declared")?;
        let addresses: Vec<IpAddr> = workload.addresses.iter().copied().collect();
        if addresses != planned.addresses.both()
            || workload.interface.as_deref() != Some(&planned.interface)
        {
            bail!(
                "workload {}: the lab gives it {:?} behind {}, its manifest says {addresses:?} behind {:?}",
                planned.key(),
                planned.addresses.both(),
                planned.interface,
                workload.interface
            );
        }
    }
    Ok(plan
        .outside(CUSTOMER, CUSTOMER_HOST, &[443])
        .outside(BANK, BANK_HOST, &[443]))
}

fn node_number(workload: &Workload) -> Result<u8> {
    let node = workload.node.as_deref().unwrap_or_default();
    let number = node
        .strip_prefix("node-")
        .and_then(|number| number.parse().ok());
    number.with_context(|| {
        format!(
            "workload {}: its node {node:?} is not called node-N",
            workload.name
        )
    })
}

/// In the order of their numbers, so that metrics come last.
fn ports(workload: &Workload) -> Vec<u16> {
    let mut ports: Vec<u16> = workload.named_ports.iter().map(|port| port.port).collect();
    ports.sort_unstable();
    ports
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
    use super::*;

    #[test]
    fn the_manifests_of_the_demo_are_good_and_describe_the_lab() {
        let manifests = Manifests::of_source_tree();
        let objects: Vec<Object> = manifests
            .application()
            .unwrap()
            .iter()
            .flat_map(|path| read(path).unwrap())
            .collect();
        let plan = plan(&objects).unwrap();
        assert_eq!(plan.nodes().len(), 3);
        assert!(plan.workloads().len() >= 12);
        for path in manifests
            .policies()
            .unwrap()
            .iter()
            .chain([&manifests.quarantine()])
        {
            assert!(!read(path).unwrap().is_empty(), "{}", path.display());
        }
    }
}
