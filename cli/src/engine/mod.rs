//! Who answers: the oracle, the compiled tables, or the kernel's programs. All have to agree.

mod compiled;
#[cfg(all(feature = "kernel", target_os = "linux"))]
mod kernel;
mod oracle;

use std::fmt;

use anyhow::Result;
use bulkhead_policy::eval::Flow;
use bulkhead_policy::model::{Moment, Object};
use ipnet::IpNet;
use serde::Serialize;

pub(crate) use oracle::Oracle;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EngineKind {
    /// Reads the policies as the semantics tell them; slow and obvious
    Oracle,
    /// Compiles them to the tables that nodes get, and reads those
    Compiled,
    /// Runs the kernel's own programs on the packets, with those tables; needs root and a build with feature `kernel`
    Kernel,
}

/// What one side says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Side {
    /// Whether the flow may pass it.
    pub(crate) allowed: bool,
    /// Why.
    pub(crate) rule: String,
}

/// What is said about one flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// As enforced.
    pub(crate) allowed: bool,
    /// As if every object were enforced.
    pub(crate) intended: bool,
    /// The sender's side, as enforced.
    pub(crate) egress: Side,
    /// The receiver's side, as enforced.
    pub(crate) ingress: Side,
}

impl Answer {
    /// Of two ends that have no address family in common: there is no packet that one could send the other.
    pub(crate) fn unconnected() -> Self {
        let side = Side {
            allowed: false,
            rule: "no address family in common".to_owned(),
        };
        Self {
            allowed: false,
            intended: false,
            egress: side.clone(),
            ingress: side,
        }
    }
}

/// Something that judges flows.
pub(crate) trait Judge {
    /// Judges one.
    fn judge(&mut self, flow: &Flow) -> Result<Answer>;

    /// What ran in the kernel for it.
    fn evidence(&self) -> Result<Vec<Evidence>> {
        Ok(Vec::new())
    }
}

/// A program of the kernel, as the kernel itself sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Evidence {
    /// Whose tables it read.
    pub(crate) node: String,
    /// Its name.
    pub(crate) program: &'static str,
    /// The kernel's hash of its instructions.
    pub(crate) tag: String,
    /// How often the kernel ran it.
    pub(crate) run_count: u64,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            node,
            program,
            tag,
            run_count,
        } = self;
        write!(
            f,
            "node {node}: the kernel ran {program} (tag {tag}) {run_count} times"
        )
    }
}

/// Sets an engine up for a set of objects and a moment.
pub(crate) fn prepare(
    kind: EngineKind,
    objects: &[Object],
    ranges: &[IpNet],
    at: Moment,
) -> Result<Box<dyn Judge>> {
    Ok(match kind {
        EngineKind::Oracle => Box::new(Oracle::new(objects, ranges, at)),
        EngineKind::Compiled => Box::new(compiled::Compiled::new(objects, ranges, at)?),
        #[cfg(all(feature = "kernel", target_os = "linux"))]
        EngineKind::Kernel => Box::new(kernel::Kernels::new(objects, ranges, at)?),
        #[cfg(not(all(feature = "kernel", target_os = "linux")))]
        EngineKind::Kernel => anyhow::bail!(
            "this bulkhead was built without the kernel's programs; build it on Linux with `--features kernel`"
        ),
    })
}
