//! A lab with the product in it, and policies in few words.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::{Outcome, StreamId, StreamPlan, Transport};
use bulkhead_tests::lab::{Family, Installation, Lab, Plan, manifests};
use serde_json::{Value, json};

/// Silence for this long means dropped.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);
/// An answer is waited for this long, as the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(3);

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
        let lab = Lab::start(plan)?;
        let product = Installation::start(&lab, flags)?;
        let guarded = Self { product, lab };
        guarded
            .product
            .apply("world.json", &manifests::describe(guarded.lab.plan()))?;
        let (nodes, workloads) = (
            guarded.lab.plan().nodes().len(),
            guarded.lab.plan().workloads().len(),
        );
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

    /// Opens a stream and waits until records come back.
    pub(crate) fn open(&self, stream: &Stream<'_>) -> Result<StreamId> {
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
        let id = client.open(plan).with_context(|| format!("{stream:?}"))?;
        self.wait_echoes(stream.source, id, 50)?;
        Ok(id)
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
