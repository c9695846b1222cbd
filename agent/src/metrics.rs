//! What the agent counts, and what the kernel counts, as text for Prometheus.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bulkhead_datapath::abi::{EventKind, EventRecord};
use bulkhead_graph::Timestamp;
use bulkhead_wire::{Ack, Refusal};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::events::kind_name;
use crate::kernel::Way;
use crate::talks::{Pair, Reading};

/// Seconds for a revision on a node.
const APPLY_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

type ByName = Family<[(&'static str, &'static str); 1], Counter>;
type GaugeByName = Family<[(&'static str, &'static str); 1], Gauge>;
type ByTalk = Family<[(&'static str, String); 6], Counter>;

/// Read from the kernel at the moment of asking.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    /// The revision's number here.
    pub generation: u64,
    /// Hook, reason, whether it passes, packets, bytes.
    pub packets: Vec<(&'static str, &'static str, bool, u64, u64)>,
    /// What observation lost.
    pub losses: Vec<(&'static str, u64)>,
    /// For how long the controller has not said that what is enforced is right; `None` = it never has.
    pub unheard: Option<Duration>,
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Flows that go on.
    pub live: usize,
    /// Flows taken out.
    pub over: usize,
    /// Budgets put right.
    pub corrected: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    /// Held while a text is made: what the kernel counts is set right before.
    registry: Mutex<Registry>,
    apply: Histogram,
    confirm: Histogram,
    revisions: Counter,
    writes: Counter,
    refusals: ByName,
    repairs: Counter,
    events: ByName,
    used: GaugeByName,
    protected: Gauge,
    unprotected: Gauge,
    denied: Gauge,
    flows: Gauge,
    flows_over: Counter,
    budgets_corrected: Counter,
    denied_packets: ByTalk,
    denied_bytes: ByTalk,
    wait: GaugeByName,
    store: Gauge,
    connected: Gauge,
    generation: Gauge,
    packets: Family<[(&'static str, &'static str); 3], Gauge>,
    bytes: Family<[(&'static str, &'static str); 3], Gauge>,
    losses: GaugeByName,
    certificate: Gauge,
    unheard: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("bulkhead_agent");
        macro_rules! metric {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        let apply = metric!(
            "apply_seconds",
            "From a revision's arrival to the change of the kernel's generation",
            Histogram::new(APPLY_SECONDS)
        );
        let confirm = metric!(
            "confirm_seconds",
            "From the change of the generation to the read-back",
            Histogram::new(APPLY_SECONDS)
        );
        Self {
            apply,
            confirm,
            revisions: metric!(
                "revisions",
                "Revisions brought into force",
                Counter::default()
            ),
            writes: metric!(
                "map_writes",
                "Words written into kernel tables",
                Counter::default()
            ),
            refusals: metric!(
                "refusals",
                "Revisions not taken, by reason",
                ByName::default()
            ),
            repairs: metric!(
                "repairs",
                "Drift of tables and hooks that was repaired",
                Counter::default()
            ),
            events: metric!(
                "events",
                "Events reported by the programs, by kind",
                ByName::default()
            ),
            used: metric!(
                "table_entries",
                "Entries that the revision in force uses",
                GaugeByName::default()
            ),
            protected: metric!(
                "workloads_protected",
                "Workloads behind both hooks",
                Gauge::default()
            ),
            unprotected: metric!(
                "workloads_unprotected",
                "Workloads that no hook guards",
                Gauge::default()
            ),
            denied: metric!(
                "workloads_denied",
                "Workloads cut off because their rules do not fit",
                Gauge::default()
            ),
            flows: metric!(
                "flows",
                "Flows remembered at the last sweep",
                Gauge::default()
            ),
            flows_over: metric!(
                "flows_over",
                "Flows taken out because they were over",
                Counter::default()
            ),
            budgets_corrected: metric!(
                "flow_budgets_corrected",
                "Budgets of flows that said something else than the flow table, and were put right",
                Counter::default()
            ),
            denied_packets: metric!(
                "denied_packets",
                "Packets denied, by workload, peer, port and reason, taken up by each sweep",
                ByTalk::default()
            ),
            denied_bytes: metric!("denied_bytes", "Bytes of those packets", ByTalk::default()),
            wait: metric!(
                "grace_period_wait",
                "How the agent waits for packets under way",
                GaugeByName::default()
            ),
            store: metric!(
                "graph_on_disk",
                "Whether the graph in force is on disk",
                Gauge::default()
            ),
            connected: metric!(
                "connected",
                "Whether the controller is connected",
                Gauge::default()
            ),
            generation: metric!(
                "generation",
                "Number of the revision in force on this node",
                Gauge::default()
            ),
            packets: metric!(
                "packets",
                "Packets by hook and reason, since the tables exist",
                Family::default()
            ),
            bytes: metric!("bytes", "Bytes of those packets", Family::default()),
            losses: metric!(
                "observations_lost",
                "What observation lost, exactly",
                GaugeByName::default()
            ),
            certificate: metric!(
                "certificate_expiry_timestamp_seconds",
                "When the agent's certificate ends",
                Gauge::default()
            ),
            unheard: metric!(
                "unheard_seconds",
                "For how long the controller has not said that what is enforced is right; infinite before it first has",
                Gauge::default()
            ),
            registry: Mutex::new(registry),
        }
    }
}

fn gauge(gauge: &Gauge, value: impl TryInto<i64>) {
    gauge.set(value.try_into().unwrap_or(i64::MAX));
}

impl Metrics {
    /// A revision is in force.
    pub fn enforced(&self, ack: &Ack) {
        if ack.writes > 0 {
            self.apply.observe(seconds(ack.applied_us));
            self.confirm.observe(seconds(ack.confirmed_us));
            self.revisions.inc();
            self.writes.inc_by(ack.writes);
        }
        gauge(&self.protected, ack.protected);
        gauge(&self.unprotected, ack.unprotected.len());
        gauge(&self.denied, ack.denied.len());
        for (table, used) in [
            ("workloads", ack.used.workloads),
            ("peers", ack.used.peers),
            ("networks", ack.used.networks),
            ("decisions", ack.used.decisions),
            ("expiries", ack.used.expiries),
        ] {
            gauge(&self.used.get_or_create(&[("table", table)]), used);
        }
    }

    /// A revision was not taken.
    pub fn refused(&self, refusal: Refusal) {
        self.refusals
            .get_or_create(&[("reason", refusal.name())])
            .inc();
    }

    /// Drift was repaired.
    pub fn repaired(&self, writes: usize) {
        self.repairs.inc_by(writes as u64);
    }

    /// Whether the graph in force is on disk.
    pub fn store_ok(&self, ok: bool) {
        self.store.set(i64::from(ok));
    }

    /// Whether the controller is connected.
    pub fn connected(&self, connected: bool) {
        self.connected.set(i64::from(connected));
    }

    /// When the certificate in use ends.
    pub fn certificate_ends(&self, at: Timestamp) {
        self.certificate.set(at.0.div_euclid(1000));
    }

    /// A sweep is over.
    pub fn swept(&self, swept: &Swept) {
        gauge(&self.flows, swept.live);
        self.flows_over.inc_by(swept.over as u64);
        self.budgets_corrected.inc_by(swept.corrected as u64);
    }

    /// What was denied was read.
    pub fn talked(&self, reading: &Reading) {
        for added in &reading.added {
            let labels = talk_labels(&added.workload, &added.pair);
            let (packets, bytes) = (&self.denied_packets, &self.denied_bytes);
            packets.get_or_create(&labels).inc_by(added.value.packets);
            bytes.get_or_create(&labels).inc_by(added.value.bytes);
        }
        for (workload, pair) in &reading.gone {
            let labels = talk_labels(workload, pair);
            self.denied_packets.remove(&labels);
            self.denied_bytes.remove(&labels);
        }
    }

    /// How packets under way are waited for.
    pub fn waits_by(&self, way: Way) {
        self.wait.get_or_create(&[("way", way.name())]).set(1);
    }

    /// The programs reported these.
    pub fn events(&self, records: &[EventRecord]) {
        for record in records {
            let kind = EventKind::from_number(record.kind).map_or("unknown", kind_name);
            self.events.get_or_create(&[("kind", kind)]).inc();
        }
    }

    /// Everything as text for Prometheus.
    ///
    /// # Errors
    /// Never with a text that grows as needed; the formatter's signature allows it.
    pub fn render(&self, kernel: &Kernel) -> Result<String, std::fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        gauge(&self.generation, kernel.generation);
        let unheard = kernel.unheard.map_or(f64::INFINITY, |it| it.as_secs_f64());
        self.unheard.set(unheard);
        for (hook, reason, passes, packets, bytes) in &kernel.packets {
            let verdict = if *passes { "pass" } else { "drop" };
            let labels = [("hook", *hook), ("reason", *reason), ("verdict", verdict)];
            gauge(&self.packets.get_or_create(&labels), *packets);
            gauge(&self.bytes.get_or_create(&labels), *bytes);
        }
        for (what, lost) in &kernel.losses {
            gauge(&self.losses.get_or_create(&[("what", *what)]), *lost);
        }
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

fn talk_labels(workload: &str, pair: &Pair) -> [(&'static str, String); 6] {
    [
        ("workload", workload.to_owned()),
        ("peer", pair.peer.clone()),
        ("port", pair.port.clone()),
        ("hook", pair.hook.to_owned()),
        ("reason", pair.reason.to_owned()),
        ("intended", pair.intended.to_owned()),
    ]
}

fn seconds(us: u64) -> f64 {
    std::time::Duration::from_micros(us).as_secs_f64()
}
