//! A small data centre in network namespaces: nodes, workloads behind veth pairs, machines outside, and real clients and servers
//! in all of them. It knows nothing of policies and runs nothing of the product by itself.
//!
//! Everything of a lab carries its name and goes when the [`Lab`] is dropped; what a crashed one left is removed by the next.

pub mod endpoint;
pub mod frame;
mod http;
mod installation;
pub mod manifests;
mod matrix;
mod netns;
mod plan;
mod program;
mod run_folder;
mod wiring;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use endpoint::Endpoint;
pub(crate) use http::get_local;
pub use installation::{Installation, NodeStatus, ObjectStatus, Status, WorkloadStatus};
pub use matrix::{Cell, Deviation, Expected, Matrix};
pub use netns::Netns;
pub(crate) use netns::ip_batch;
pub use plan::{
    Addresses, CONTROL_PLANE, Family, Mac, NodeNumber, OutsidePlan, Plan, WorkloadPlan,
};
pub use program::find_program;
pub use run_folder::{remove_labs_of_this_process, remove_stale_labs};

use run_folder::RunFolder;
use wiring::Names;

/// A lab that runs.
#[derive(Debug)]
pub struct Lab {
    // Fields are dropped in this order: first the processes, then what they live in.
    endpoints: BTreeMap<String, Endpoint>,
    plan: Plan,
    names: Names,
    folder: RunFolder,
}

impl Lab {
    /// Builds everything and waits until all servers serve.
    pub fn start(plan: Plan) -> Result<Self> {
        let program = find_program("lab-endpoint")?;
        let folder = RunFolder::create()?;
        let names = Names::new(folder.name());
        wiring::build(&names, &plan).context("wire the lab")?;
        let mut lab = Self {
            endpoints: BTreeMap::new(),
            plan,
            names,
            folder,
        };
        lab.start_endpoints(&program)?;
        Ok(lab)
    }

    /// What it was built from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The processes of a workload (`namespace/name`), a node (`node-1`) or a machine outside (its name).
    pub fn endpoint(&self, name: &str) -> Result<&Endpoint> {
        self.endpoints
            .get(name)
            .with_context(|| format!("nothing in the lab is called {name}"))
    }

    /// The addresses of whatever has an endpoint.
    pub fn addresses(&self, name: &str) -> Result<Addresses> {
        let workloads = self.plan.workloads().iter().map(|w| (w.key(), w.addresses));
        let nodes = self.plan.nodes().iter().map(|n| (n.name(), n.addresses()));
        let outside = self
            .plan
            .outsiders()
            .iter()
            .map(|o| (o.name.clone(), o.addresses));
        workloads
            .chain(nodes)
            .chain(outside)
            .find_map(|(key, addresses)| (key == name).then_some(addresses))
            .with_context(|| format!("nothing in the lab is called {name}"))
    }

    /// Where a node's agent lives.
    pub fn node(&self, node: NodeNumber) -> Netns {
        self.names.node(node)
    }

    /// Where the controller lives.
    pub fn fabric(&self) -> Netns {
        self.names.fabric()
    }

    /// Where a workload lives.
    pub fn workload(&self, key: &str) -> Result<Netns> {
        let workload = self
            .plan
            .find(key)
            .with_context(|| format!("there is no workload {key}"))?;
        Ok(self.names.workload(workload))
    }

    /// Where a machine outside lives.
    pub fn outsider(&self, name: &str) -> Result<Netns> {
        let outsider = self
            .plan
            .outsiders()
            .iter()
            .find(|outsider| outsider.name == name)
            .with_context(|| format!("there is no machine {name} outside"))?;
        Ok(self.names.outsider(outsider))
    }

    /// A folder that goes with the lab.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a node's agent pins its maps and links; no two nodes share it, as a real node shares it with nobody.
    pub fn pins(&self, node: NodeNumber) -> PathBuf {
        self.folder.bpffs().join(node.name())
    }

    fn start_endpoints(&mut self, program: &Path) -> Result<()> {
        let mut starts: Vec<(String, Netns, Vec<u16>)> = Vec::new();
        for workload in self.plan.workloads() {
            starts.push((
                workload.key(),
                self.names.workload(workload),
                workload.ports.clone(),
            ));
        }
        for node in self.plan.nodes() {
            starts.push((node.name(), self.names.node(*node), Vec::new()));
        }
        for outsider in self.plan.outsiders() {
            starts.push((
                outsider.name.clone(),
                self.names.outsider(outsider),
                outsider.ports.clone(),
            ));
        }
        for (name, netns, _) in &starts {
            self.endpoints
                .insert(name.clone(), Endpoint::start(program, name, netns)?);
        }
        for (name, _, ports) in &starts {
            self.endpoint(name)?.serve(ports)?;
        }
        Ok(())
    }
}
