//! Upstream's own NetworkPolicy specs, run against a cluster: what the API promises, judged by those who promise it.
//!
//! The suite's probes are execs, and it takes any failure of an exec for "blocked". So a run counts only as a whole: the specs
//! that expect connections to work are what gives the others their meaning.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::programs::{AGNHOST_IMAGE, go, module};
use super::{Cluster, Programs};

/// Specs that send SCTP, which few test kernels have. Those that only ask whether a policy for SCTP is taken for one for TCP run.
const SKIPPED: &str = "SCTPConnectivity";
/// Named in every answer; nothing is ever fetched from there.
const REGISTRY: &str = "promoterE2eRegistry: bulkhead.test\n";

/// The built suite.
#[derive(Debug)]
pub struct NetworkPolicySuite {
    specs: PathBuf,
    runner: PathBuf,
}

/// Which specs to run, and how.
#[derive(Debug, Clone)]
pub struct SuiteOptions {
    /// A regular expression for the specs' names.
    pub focus: String,
    /// Specs under way at the same time.
    pub processes: u8,
    /// For all of them.
    pub limit: Duration,
}

/// What became of one spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecOutcome {
    /// Its full name.
    pub name: String,
    /// `passed`, `failed`, `timedout`, …
    pub state: String,
    /// Why it did not pass; empty if it did.
    pub failure: String,
}

impl SpecOutcome {
    /// Whether it passed.
    pub fn passed(&self) -> bool {
        self.state == "passed"
    }
}

impl NetworkPolicySuite {
    /// Builds the suite beside the programs of the cluster, if it is not there (a minute and a half of CPU time).
    pub fn ready(programs: &Programs) -> Result<Self> {
        let suite = Self {
            specs: programs.path("netpol.test"),
            runner: programs.path("ginkgo"),
        };
        if !suite.specs.is_file() {
            eprintln!("cluster: building upstream's NetworkPolicy suite");
            let unfinished = programs.path("netpol.unfinished");
            build(
                &["test", "-c", "-trimpath", "-ldflags=-s -w"],
                &unfinished,
                "./netpol",
            )?;
            build(
                &["build", "-trimpath", "-ldflags=-s -w"],
                &suite.runner,
                "github.com/onsi/ginkgo/v2/ginkgo",
            )?;
            fs::rename(&unfinished, &suite.specs).context("put the suite in its place")?;
        }
        Ok(suite)
    }

    /// Runs the specs. Specs that fail are in the answer; a run that does not work is an error.
    pub fn run(&self, cluster: &Cluster, options: &SuiteOptions) -> Result<Vec<SpecOutcome>> {
        let folder = cluster.folder().join("log");
        let registry = folder.join("registry.yaml");
        fs::write(&registry, REGISTRY).with_context(|| format!("write {}", registry.display()))?;
        self.name_the_image(cluster, &registry)?;
        let log =
            fs::File::create(folder.join("suite.log")).context("make the log of the suite")?;
        let report = folder.join("suite.json");
        cluster
            .command(&self.runner.display().to_string())
            .env("KUBE_TEST_REPO_LIST", &registry)
            .args(["--json-report=suite.json", "--no-color", "--keep-going"])
            .arg(format!("--output-dir={}", folder.display()))
            .arg(format!("--procs={}", options.processes))
            .arg(format!("--timeout={}s", options.limit.as_secs()))
            .arg(format!("--focus={}", options.focus))
            .arg(format!("--skip={SKIPPED}"))
            .arg(&self.specs)
            .arg("--")
            .arg(format!("--kubeconfig={}", cluster.kubeconfig().display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()
            .context("start ginkgo")?;
        let text = fs::read_to_string(&report)
            .with_context(|| format!("no report; see {}", folder.join("suite.log").display()))?;
        outcomes(&serde_json::from_str(&text).context("read the suite's report")?)
    }

    /// The pods of the specs ask for agnhost by a tag that changes with each release.
    fn name_the_image(&self, cluster: &Cluster, registry: &PathBuf) -> Result<()> {
        let output = Command::new(&self.specs)
            .arg("-image")
            .env("KUBE_TEST_REPO_LIST", registry)
            .output()
            .context("start the suite")?;
        let image = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if image.is_empty() {
            bail!(
                "the suite does not name its image: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        for node in cluster.nodes() {
            node.run(
                "ctr",
                &[
                    "--namespace=k8s.io",
                    "images",
                    "tag",
                    "--force",
                    AGNHOST_IMAGE,
                    &image,
                ],
            )?;
        }
        Ok(())
    }
}

fn build(verb: &[&str], output: &PathBuf, package: &str) -> Result<()> {
    let status = go(&module())
        .args(verb)
        .arg("-o")
        .arg(output)
        .arg(package)
        .status()
        .context("start go")?;
    if !status.success() {
        bail!("go {} {package} failed ({status})", verb.join(" "));
    }
    Ok(())
}

/// Ginkgo's report: suites of specs, of which those outside of the focus are "skipped".
fn outcomes(report: &Value) -> Result<Vec<SpecOutcome>> {
    let suites = report
        .as_array()
        .context("the suite's report is not a list")?;
    let specs = suites
        .iter()
        .filter_map(|suite| suite["SpecReports"].as_array())
        .flatten();
    Ok(specs
        .filter(|spec| {
            spec["LeafNodeType"] == "It" && spec["State"] != "skipped" && spec["State"] != "pending"
        })
        .map(|spec| SpecOutcome {
            name: spec["LeafNodeText"].as_str().unwrap_or_default().to_owned(),
            state: spec["State"].as_str().unwrap_or_default().to_owned(),
            failure: spec["Failure"]["Message"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        })
        .collect())
}
