//! Rows J and K: a real agent process that takes up what another left, and what it holds in memory then.
//!
//! No controller is there: *confirmed* means that the agent has compared its last revision with what the kernel holds and
//! acknowledges it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::measure::{ms, quantile};
use super::node::{Node, PODS};
use super::report::{Figure, Unit};
use crate::lab::{find_program, get_local};

const RESTARTS: usize = 15;

/// What the agent logs once it has compared its last revision with the kernel.
const TAKEN_UP: &str = "took up the last revision";

/// Measures both rows.
///
/// # Errors
/// Where the agent does not come up.
pub fn run(seed: u64) -> Result<Vec<Figure>> {
    let node = Node::make(seed)?;
    keys(&node)?;
    node.save()?;
    let mut agent = Agent::start(&node)?;
    let first = agent.confirmed(&node)?;
    ensure!(
        first.protected == PODS as u64 && first.writes > 0,
        "the first start guards {} pods and makes {} writes: {}",
        first.protected,
        first.writes,
        agent.said
    );
    let (mut took, mut writes) = (Vec::new(), 0);
    for _ in 0..RESTARTS {
        agent.kill()?;
        agent = Agent::start(&node)?;
        let up = agent.confirmed(&node)?;
        took.push(up.after);
        writes += up.writes;
    }
    took.sort_unstable();
    let (resident, peak) = agent.memory()?;
    agent.kill()?;
    let what = |share: &str| format!("agent killed, started, confirmed: {share} of {RESTARTS}");
    Ok(vec![
        Figure::new(
            "J",
            format!("agent's resident memory, {PODS} pods of 40,000"),
            resident,
            Unit::Mb,
            30.0,
        ),
        Figure::new("J", "its peak since the start", peak, Unit::Mb, 30.0),
        Figure::new("K", what("p50"), ms(quantile(&took, 0.5)), Unit::Ms, 300.0),
        Figure::new(
            "K",
            what("slowest"),
            ms(quantile(&took, 1.0)),
            Unit::Ms,
            300.0,
        ),
        Figure::new(
            "K",
            "map writes of all these restarts",
            writes as f64,
            Unit::Count,
            0.0,
        ),
    ])
}

/// A certificate that signs itself: it has to be there and valid, and nobody will ever see it.
fn keys(node: &Node) -> Result<()> {
    let own = rcgen::generate_simple_self_signed(vec![format!("{}.node.bulkhead", node.name)])?;
    fs::write(node.folder().join("agent.crt"), own.cert.pem())?;
    fs::write(
        node.folder().join("agent.key"),
        own.signing_key.serialize_pem(),
    )?;
    Ok(())
}

/// A revision of the last agent, in force and compared.
struct Up {
    after: Duration,
    writes: u64,
    protected: u64,
}

struct Agent {
    process: Child,
    started: Instant,
    log: BufReader<ChildStderr>,
    /// What it logged so far.
    said: String,
}

impl Agent {
    fn start(node: &Node) -> Result<Self> {
        let path = |name: &str| node.folder().join(name);
        let started = Instant::now();
        let mut process = Command::new(find_program("bulkhead-agent")?)
            .args(["run", "--controller", "127.0.0.1:9", "--node", &node.name])
            .arg("--authority")
            .arg(path("agent.crt"))
            .arg("--certificate")
            .arg(path("agent.crt"))
            .arg("--key")
            .arg(path("agent.key"))
            .arg("--pins")
            .arg(node.pins())
            .arg("--state")
            .arg(node.state())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start the agent")?;
        let log = process.stderr.take().context("no pipe from the agent")?;
        Ok(Self {
            process,
            started,
            log: BufReader::new(log),
            said: String::new(),
        })
    }

    /// Waits for the last agent's revision to be compared and in force.
    fn confirmed(&mut self, node: &Node) -> Result<Up> {
        let before = self.said.len();
        while !self.said[before..].contains(TAKEN_UP) {
            if self.log.read_line(&mut self.said)? == 0 {
                bail!("the agent ended: {}", self.said);
            }
        }
        let after = self.started.elapsed();
        let status = get_local(&node.state().join("agent.sock"), "/status")?;
        let status: Value = serde_json::from_str(&status)?;
        let number = |name: &str| {
            let number = status["revision"][name].as_u64();
            number.with_context(|| format!("no {name} in {status}"))
        };
        Ok(Up {
            after,
            writes: number("writes")?,
            protected: number("protected")?,
        })
    }

    /// Resident now and at most, in MB.
    fn memory(&self) -> Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
            kib.map(|kib| kib * 1024.0 / 1e6)
                .with_context(|| format!("no {name}"))
        };
        Ok((of("VmRSS:")?, of("VmHWM:")?))
    }

    fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}
