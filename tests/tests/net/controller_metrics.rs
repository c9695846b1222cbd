//! What the controller counts, asked of a running one: every metric is described, and figures that are known are right.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bulkhead_tests::lab::{NodeStatus, Plan};

use crate::guarded::{Guarded, isolate};

const PREFIX: &str = "bulkhead_controller_";
/// All there are, with their types.
const METRICS: [(&str, &str); 14] = [
    ("convergence_seconds", "histogram"),
    ("revisions_sent", "counter"),
    ("revision_bytes_sent", "counter"),
    ("refusals", "counter"),
    ("nodes", "gauge"),
    ("nodes_connected", "gauge"),
    ("nodes_behind", "gauge"),
    ("input_problems", "gauge"),
    ("object_problems", "gauge"),
    ("names", "gauge"),
    ("names_unresolved", "gauge"),
    ("name_addresses", "gauge"),
    ("name_failures", "counter"),
    ("certificate_expiry_timestamp_seconds", "gauge"),
];
const BROKEN_POLICIES: &str = "object_problems{kind=\"SegmentationPolicy\",severity=\"error\"}";
const DAY_SECONDS: u64 = 86_400;

/// The controller's metrics at one moment. Names are told without what all of them begin with.
#[derive(Debug)]
pub(crate) struct Exposition(String);

impl Exposition {
    pub(crate) fn of(world: &Guarded) -> Self {
        let text = world.product.ask_controller("/metrics").unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        Self(text)
    }

    /// A sample by its name and labels.
    pub(crate) fn value(&self, sample: &str) -> Option<u64> {
        let beginning = format!("{PREFIX}{sample} ");
        let found = self
            .0
            .lines()
            .find_map(|line| line.strip_prefix(&beginning))?;
        Some(found.parse().unwrap())
    }

    /// The metrics that are described, with their types. Each has a text that says what it is.
    pub(crate) fn described(&self) -> BTreeMap<&str, &str> {
        let (texts, types) = (self.about("HELP"), self.about("TYPE"));
        assert!(texts.keys().eq(types.keys()), "{}", self.0);
        // The full stop is the library's.
        assert!(texts.values().all(|text| text.len() > 1), "{}", self.0);
        types
    }

    fn about(&self, word: &str) -> BTreeMap<&str, &str> {
        let beginning = format!("# {word} {PREFIX}");
        self.0
            .lines()
            .filter_map(|line| line.strip_prefix(&beginning)?.split_once(' '))
            .collect()
    }

    /// Nodes, those whose agent is connected, those that do not enforce the newest revision, and problems.
    fn figures(&self) -> [u64; 4] {
        ["nodes", "nodes_connected", "nodes_behind", "input_problems"].map(|name| {
            self.value(name)
                .unwrap_or_else(|| panic!("{name}: {}", self.0))
        })
    }
}

/// All metrics but these.
fn all_but(left_out: &[&str]) -> BTreeMap<&'static str, &'static str> {
    METRICS
        .into_iter()
        .filter(|(name, _)| !left_out.contains(name))
        .collect()
}

#[test]
fn the_controllers_metrics_are_all_described_and_count_what_there_is() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .unwrap();
    let mut world = Guarded::start(plan).unwrap();
    let db = world.lab.plan().find("shop/db").unwrap().node;
    for (path, answer) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        assert_eq!(world.product.ask_controller(path).unwrap(), answer);
    }

    // What is told apart by labels is there once something has them.
    let quiet = Exposition::of(&world);
    assert_eq!(quiet.described(), all_but(&["refusals", "object_problems"]));
    assert_eq!(quiet.figures(), [2, 2, 0, 0]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for (file, days) in [("ca.crt", 3650), ("controller.crt", 365)] {
        let sample = format!("certificate_expiry_timestamp_seconds{{file=\"{file}\"}}");
        let left = quiet.value(&sample).unwrap() - now.as_secs();
        let (least, most) = ((days - 2) * DAY_SECONDS, days * DAY_SECONDS);
        assert!((least..=most).contains(&left), "{file}: {left} seconds");
    }

    // A revision more: sent, and read back.
    let good = isolate("shop", "db", &[("web", 5432)]);
    world.enforce("db.json", &good).unwrap();
    let enforced = Exposition::of(&world);
    let [before, after] = [&quiet, &enforced].map(|metrics| {
        let value = |sample| metrics.value(sample).unwrap();
        let (sent, realised) = (
            value("revisions_sent_total"),
            value("convergence_seconds_count"),
        );
        assert!(value("revision_bytes_sent_total") >= sent, "{metrics:?}");
        assert!((2..=sent).contains(&realised), "{metrics:?}");
        assert_eq!(value("convergence_seconds_bucket{le=\"+Inf\"}"), realised);
        (sent, realised)
    });
    assert!(after.0 > before.0 && after.1 > before.1, "{enforced:?}");
    assert_eq!(enforced.figures(), [2, 2, 0, 0]);

    // An object breaks, and is mended.
    let mut broken = good.clone();
    broken["spec"]["nonsense"] = 1.into();
    world.enforce("db.json", &broken).unwrap();
    let wrong = Exposition::of(&world);
    assert_eq!(wrong.figures(), [2, 2, 0, 1]);
    assert_eq!(wrong.value(BROKEN_POLICIES), Some(1), "{wrong:?}");
    assert_eq!(wrong.described(), all_but(&["refusals"]));
    world.enforce("db.json", &good).unwrap();
    let mended = Exposition::of(&world);
    assert_eq!(mended.figures(), [2, 2, 0, 0]);
    assert_eq!(mended.value(BROKEN_POLICIES), None, "{mended:?}");

    // An agent is away, misses a revision, and comes back.
    world.product.kill_agent(db).unwrap();
    world
        .product
        .wait("the agent known to be gone", |status| {
            status.nodes.iter().any(|node| !node.connected)
        })
        .unwrap();
    assert_eq!(Exposition::of(&world).figures(), [2, 1, 0, 0]);
    let closed = isolate("shop", "db", &[]);
    world.product.apply("db.json", &closed.to_string()).unwrap();
    world
        .product
        .wait("a revision that this node alone misses", |status| {
            let has_newest = |node: &NodeStatus| node.desired == node.realised;
            status
                .nodes
                .iter()
                .all(|node| has_newest(node) == node.connected)
        })
        .unwrap();
    assert_eq!(Exposition::of(&world).figures(), [2, 1, 1, 0]);
    world.product.start_agent(db).unwrap();
    world.product.wait_settled().unwrap();
    assert_eq!(Exposition::of(&world).figures(), [2, 2, 0, 0]);
}
