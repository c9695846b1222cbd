//! What the controller counts. Gauges are read from the status at the moment of asking.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_graph::Timestamp;
use bulkhead_source::Severity;
use bulkhead_source::names::{Answer, Counts};
use bulkhead_wire::Refusal;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds, from "at once" to "something is wrong".
const CONVERGENCE_SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// See the module.
pub struct Metrics {
    registry: Registry,
    convergence: Histogram,
    revisions: Counter,
    revision_bytes: Counter,
    refusals: Family<[(&'static str, &'static str); 1], Counter>,
    nodes: Gauge,
    connected: Gauge,
    behind: Gauge,
    problems: Gauge,
    objects: Family<[(&'static str, String); 2], Gauge>,
    names: Gauge,
    names_unresolved: Gauge,
    name_addresses: Gauge,
    name_failures: Counter,
    certificates: Family<[(&'static str, &'static str); 1], Gauge>,
}

/// What is read at the moment of asking.
#[derive(Debug, Clone, Default)]
pub struct Now {
    /// Nodes with an agent on the stream.
    pub connected: usize,
    /// Nodes heard of.
    pub nodes: usize,
    /// Nodes that do not enforce the newest state.
    pub behind: usize,
    /// What is wrong with the inputs, by kind of object and how bad it is.
    pub problems: BTreeMap<(String, Severity), usize>,
    /// Names of the outside world.
    pub names: Counts,
    /// When each certificate ends, by file.
    pub certificates: BTreeMap<&'static str, Timestamp>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("bulkhead_controller");
        let convergence = Histogram::new(CONVERGENCE_SECONDS);
        let (revisions, revision_bytes) = (Counter::default(), Counter::default());
        let refusals = Family::default();
        let (nodes, connected) = (Gauge::default(), Gauge::default());
        let (behind, problems) = (Gauge::default(), Gauge::default());
        let (objects, certificates) = (Family::default(), Family::default());
        let (names, names_unresolved) = (Gauge::default(), Gauge::default());
        let (name_addresses, name_failures) = (Gauge::default(), Counter::default());
        registry.register(
            "convergence_seconds",
            "From a change of a node's graph to its acknowledgement, read back from the kernel",
            convergence.clone(),
        );
        registry.register(
            "revisions_sent",
            "Revisions sent to agents",
            revisions.clone(),
        );
        registry.register(
            "revision_bytes_sent",
            "Bytes of revisions sent to agents",
            revision_bytes.clone(),
        );
        registry.register(
            "refusals",
            "Revisions that agents did not take, by reason",
            refusals.clone(),
        );
        registry.register("nodes", "Nodes that were heard of", nodes.clone());
        registry.register(
            "nodes_connected",
            "Nodes whose agent is connected",
            connected.clone(),
        );
        registry.register(
            "nodes_behind",
            "Nodes that do not enforce the newest revision",
            behind.clone(),
        );
        registry.register(
            "input_problems",
            "Things that are wrong with the inputs",
            problems.clone(),
        );
        registry.register(
            "object_problems",
            "Things that are wrong with objects, by kind and severity: of a Service, that there was no room for all of it",
            objects.clone(),
        );
        registry.register(
            "names",
            "Names of the outside world that segments have (domains)",
            names.clone(),
        );
        registry.register(
            "names_unresolved",
            "Those of the names that are not known, or not all of them: nobody in an Allow, everybody in a Deny",
            names_unresolved.clone(),
        );
        registry.register(
            "name_addresses",
            "Addresses that stand for all names",
            name_addresses.clone(),
        );
        registry.register(
            "name_failures",
            "Questions to name servers that were not answered, or not in whole, or by that there is no address",
            name_failures.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When a certificate of the controller ends, by file",
            certificates.clone(),
        );
        Self {
            registry,
            convergence,
            revisions,
            revision_bytes,
            refusals,
            nodes,
            connected,
            behind,
            problems,
            objects,
            names,
            names_unresolved,
            name_addresses,
            name_failures,
            certificates,
        }
    }
}

impl Metrics {
    /// A revision went out.
    pub fn sent(&self, bytes: u64) {
        self.revisions.inc();
        self.revision_bytes.inc_by(bytes);
    }

    /// A revision was read back.
    pub fn realised(&self, since_change: Duration) {
        self.convergence.observe(since_change.as_secs_f64());
    }

    /// A revision was not taken.
    pub fn refused(&self, refusal: Refusal) {
        self.refusals
            .get_or_create(&[("reason", refusal.name())])
            .inc();
    }

    /// A name server was asked.
    pub fn asked_for_name(&self, answer: &Answer) {
        if answer.failure.is_some() {
            self.name_failures.inc();
        }
    }

    /// Everything as text for Prometheus.
    ///
    /// # Errors
    /// Never with a text that grows as needed; the formatter's signature allows it.
    pub fn render(&self, now: &Now) -> Result<String, std::fmt::Error> {
        let gauge = |gauge: &Gauge, value: usize| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        gauge(&self.nodes, now.nodes);
        gauge(&self.connected, now.connected);
        gauge(&self.behind, now.behind);
        gauge(&self.problems, now.problems.values().sum());
        gauge(&self.names, now.names.wanted);
        gauge(&self.names_unresolved, now.names.unresolved);
        gauge(&self.name_addresses, now.names.addresses);
        // What is mended is counted no more.
        self.objects.clear();
        for ((kind, severity), count) in &now.problems {
            let labels = [("kind", kind.clone()), ("severity", severity.to_string())];
            gauge(&self.objects.get_or_create(&labels), *count);
        }
        for (file, end) in &now.certificates {
            let labels = [("file", *file)];
            self.certificates
                .get_or_create(&labels)
                .set(end.0.div_euclid(1000));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
