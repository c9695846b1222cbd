//! A lab with the product in it, and policies in few words.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::{Outcome, StreamId, StreamPlan, Transport};
use bulkhead_tests::lab::{Family, Installation, Lab, NodeNumber, Plan, manifests};
use serde_json::{Value, json};

/// Silence for this long means dropped.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);
/// An answer is waited for this long, as the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(3);
const COUNTED_LIMIT: Duration = Duration::from_secs(10);
/// What the counters call it when policy denies.
const DENIED: &[&str] = &["egress_denied", "ingress_denied", "no_decision"];

/// Workloads behind hooks, without any policy.
pub(crate) struct Guarded {
    // Dropped in this order: the product's programs first, the lab last.
    pub(crate) product: Installation,
    pub(crate) lab: Lab,
}

impl Guarded {
    pub(crate) fn start(plan: Plan) -> Result<Self> {
        Self::with_agent_flags(plan, &[])
    }

    pub(crate) fn with_agent_flags(plan: Plan, flags: &[&str]) -> Result<Self> {
        let world = manifests::objects(&plan);
        Self::take_over(Lab::start(plan)?, flags, world)
    }

    /// The product comes to a lab that is up already and is told of these objects, all at once.
    pub(crate) fn take_over(lab: Lab, flags: &[&str], objects: Vec<Value>) -> Result<Self> {
        let product = Installation::start(&lab, flags)?;
        let guarded = Self { product, lab };
        let (nodes, workloads) = (
            guarded.lab.plan().nodes().len(),
            objects
                .iter()
                .filter(|object| object["kind"] == "Workload" || object["kind"] == "Pod")
                .count(),
        );
        guarded
            .product
            .apply("world.json", &manifests::list(objects))?;
        guarded
            .product
            .wait("every workload behind its hooks", |status| {
                let protected: u32 = status.nodes.iter().map(|node| node.protected).sum();
                status.is_settled(nodes) && usize::try_from(protected) == Ok(workloads)
            })?;
        Ok(guarded)
    }

    /// Applies a policy and waits until it is in force everywhere.
    pub(crate) fn enforce(&self, file: &str, policy: &Value) -> Result<()> {
        self.product
            .settle(|| self.product.apply(file, &policy.to_string()))
            .map(|_| ())
    }

    /// Whether one workload gets an answer from another; asks patiently.
    pub(crate) fn expect_reached(&self, source: &str, destination: &str, port: u16) -> Result<()> {
        for family in Family::BOTH {
            let outcome = self.ask(source, destination, port, family, PATIENCE)?;
            ensure!(
                outcome.is_reached(),
                "{source} does not reach {destination}:{port} over {family}: {outcome:?}"
            );
        }
        Ok(())
    }

    /// That nothing comes back.
    pub(crate) fn expect_silence(&self, source: &str, destination: &str, port: u16) -> Result<()> {
        for family in Family::BOTH {
            let outcome = self.ask(source, destination, port, family, SILENCE)?;
            ensure!(
                outcome == Outcome::Silence,
                "{source} reaches {destination}:{port} over {family}: {outcome:?}"
            );
        }
        Ok(())
    }

    fn ask(
        &self,
        source: &str,
        destination: &str,
        port: u16,
        family: Family,
        limit: Duration,
    ) -> Result<Outcome> {
        let to = SocketAddr::new(self.lab.addresses(destination)?.of(family), port);
        self.lab.endpoint(source)?.asks(Transport::Tcp, to, limit)
    }

    /// That whoever is behind an address answers with this name.
    pub(crate) fn expect_answer(&self, source: &str, to: SocketAddr, name: &str) -> Result<()> {
        let outcome = self
            .lab
            .endpoint(source)?
            .asks(Transport::Tcp, to, PATIENCE)?;
        ensure!(
            outcome == Outcome::Answered(name.to_owned()),
            "{source} asks {to}, where {name} should answer: {outcome:?}"
        );
        Ok(())
    }

    /// That nothing comes back from an address.
    pub(crate) fn expect_no_answer(&self, source: &str, to: SocketAddr) -> Result<()> {
        let outcome = self
            .lab
            .endpoint(source)?
            .asks(Transport::Tcp, to, SILENCE)?;
        ensure!(
            outcome == Outcome::Silence,
            "{source} reaches {to}: {outcome:?}"
        );
        Ok(())
    }

    /// What a node's agent reports from now on, as it comes.
    pub(crate) fn events(&self, node: NodeNumber) -> Result<Receiver<Value>> {
        let lines = self.product.agent_lines(node, "/events")?;
        let (sender, receiver) = channel();
        // Ends with the agent, or when nobody listens any more and something happens.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::Null);
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    /// Packets that a node has judged so, at both hooks together.
    pub(crate) fn counted(&self, node: NodeNumber, reason: &str) -> Result<u64> {
        self.counted_any(node, &[reason])
    }

    /// Packets that a node has dropped because policy denies them, on either side. A rule set that allows somebody nothing at all
    /// has no decision about him.
    pub(crate) fn denied(&self, node: NodeNumber) -> Result<u64> {
        self.counted_any(node, DENIED)
    }

    fn counted_any(&self, node: NodeNumber, reasons: &[&str]) -> Result<u64> {
        let metrics = self.product.ask_agent(node, "/metrics")?;
        let is_one = |line: &&str| {
            line.starts_with("bulkhead_agent_packets{")
                && reasons
                    .iter()
                    .any(|reason| line.contains(&format!("reason=\"{reason}\"")))
        };
        Ok(metrics
            .lines()
            .filter(is_one)
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum())
    }

    /// All counters that are not zero, for messages.
    fn counters(&self, node: NodeNumber) -> Result<String> {
        let metrics = self.product.ask_agent(node, "/metrics")?;
        let counters = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("bulkhead_agent_packets{"));
        Ok(counters.map(|line| format!("\n  {line}")).collect())
    }

    /// Waits until a node has judged so many packets more so than `before`; not one more.
    pub(crate) fn wait_counted(
        &self,
        node: NodeNumber,
        reason: &str,
        before: u64,
        more: u64,
    ) -> Result<()> {
        self.wait_counted_any(node, &[reason], before, more)
    }

    /// Waits until policy has denied so many packets more at a node than `before`; not one more.
    pub(crate) fn wait_denied(&self, node: NodeNumber, before: u64, more: u64) -> Result<()> {
        self.wait_counted_any(node, DENIED, before, more)
    }

    fn wait_counted_any(
        &self,
        node: NodeNumber,
        reasons: &[&str],
        before: u64,
        more: u64,
    ) -> Result<()> {
        let counted = || {
            let seen = self.counted_any(node, reasons)? - before;
            ensure!(
                seen == more,
                "{seen} packets of {more} so far; all: {}",
                self.counters(node)?
            );
            Ok(Some(()))
        };
        Deadline::after(COUNTED_LIMIT)
            .until(&format!("{more} packets counted as {reasons:?}"), counted)
    }

    /// Opens a stream and waits until records come back.
    pub(crate) fn open(&self, stream: &Stream<'_>) -> Result<StreamId> {
        let id = self.begin(stream)?;
        self.wait_echoes(stream.source, id, 50)?;
        Ok(id)
    }

    /// Opens a stream. A connection has to be made for that; datagrams are sent whatever becomes of them.
    pub(crate) fn begin(&self, stream: &Stream<'_>) -> Result<StreamId> {
        let to = SocketAddr::new(
            self.lab.addresses(stream.destination)?.of(stream.family),
            stream.port,
        );
        let client = self.lab.endpoint(stream.source)?;
        let plan = StreamPlan {
            transport: stream.transport,
            to,
            from_port: stream.from_port,
            records_per_second: stream.records_per_second,
        };
        client.open(plan).with_context(|| format!("{stream:?}"))
    }

    /// Waits until so many more records have come back.
    pub(crate) fn wait_echoes(&self, source: &str, id: StreamId, more: u64) -> Result<()> {
        let client = self.lab.endpoint(source)?;
        let from = client.stream(id)?.echoed;
        Deadline::after(Duration::from_secs(10)).until("records coming back", || {
            let sent = client.stream(id)?;
            Ok((sent.echoed >= from + more).then_some(()))
        })
    }
}

/// A stream in few words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream<'a> {
    pub(crate) source: &'a str,
    pub(crate) destination: &'a str,
    pub(crate) transport: Transport,
    pub(crate) family: Family,
    pub(crate) from_port: u16,
    pub(crate) port: u16,
    pub(crate) records_per_second: u32,
}

/// What may be opened to workloads labelled `app` in a namespace: `(app of the same namespace, TCP and UDP port)`. Nothing else may.
pub(crate) fn isolate(namespace: &str, app: &str, allowed: &[(&str, u16)]) -> Value {
    let rules: Vec<Value> = allowed
        .iter()
        .map(|(peer, port)| {
            let ports = ["TCP", "UDP"]
                .map(|protocol| json!({"port": {"protocol": protocol, "number": port}}));
            json!({
                "action": "Allow",
                "from": [{"workloads": {"pods": {"matchLabels": {"app": peer}}}}],
                "ports": ports,
            })
        })
        .collect();
    let mut spec =
        json!({"subjects": [{"pods": {"matchLabels": {"app": app}}}], "isolates": ["Ingress"]});
    if !rules.is_empty() {
        spec["ingress"] = rules.into();
    }
    json!({
        "apiVersion": "bulkhead.dev/v1alpha1", "kind": "SegmentationPolicy",
        "metadata": {"namespace": namespace, "name": app}, "spec": spec,
    })
}

/// What workloads labelled `app` may open, over TCP; nothing else. Each rule is a peer with a `port` beside it.
pub(crate) fn egress(namespace: &str, app: &str, rules: &[Value]) -> Value {
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| {
            let mut peer = rule.clone();
            let number = peer.as_object_mut().and_then(|peer| peer.remove("port"));
            json!({
                "action": "Allow", "to": [peer],
                "ports": [{"port": {"protocol": "TCP", "number": number}}],
            })
        })
        .collect();
    json!({
        "apiVersion": "bulkhead.dev/v1alpha1", "kind": "SegmentationPolicy",
        "metadata": {"namespace": namespace, "name": format!("{app}-egress")},
        "spec": {
            "subjects": [{"pods": {"matchLabels": {"app": app}}}],
            "isolates": ["Egress"], "egress": rules,
        },
    })
}
