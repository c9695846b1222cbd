//! The product on a real cluster: what pods can reach is what the oracle reads from the objects, whatever happens to the programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail};
use bulkhead_tests::cluster::installation::{Installation, install_definitions};
use bulkhead_tests::cluster::oracle::Oracle;
use bulkhead_tests::cluster::pod::{TestPod, list, service};
use bulkhead_tests::cluster::{Cluster, Deadline, NodeIndex, Options, PodName, Reach, Target};

use crate::machine;

const PODS_LIMIT: Duration = Duration::from_secs(60);
/// From `kubectl apply` to every node: seconds on a busy machine, and a round of probes lasts more than one.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// A shop of three teams, spread over all nodes, each pod serving.
struct Story {
    cluster: Cluster,
    addresses: BTreeMap<PodName, Ipv4Addr>,
}

impl Story {
    fn begin(name: &str) -> Result<Self> {
        let cluster = Cluster::up(&Options::new(name)?)?;
        install_definitions(&cluster)?;
        let client = cluster.client();
        for team in ["web", "db", "ops"] {
            client.make_namespace(team, &[("team", team)])?;
        }
        let on = |node| NodeIndex::new(node);
        let pods = [
            TestPod::new("web", "frontend")
                .label("app", "frontend")
                .on(on(1)?)
                .serving(8080),
            TestPod::new("web", "backend")
                .label("app", "backend")
                .on(on(2)?)
                .serving(8080),
            TestPod::new("db", "postgres")
                .label("app", "postgres")
                .on(on(3)?)
                .serving(5432)
                .serving(9187),
            TestPod::new("ops", "scanner")
                .label("app", "scanner")
                .on(on(1)?)
                .serving(8080),
        ];
        client.make_pods(&pods, PODS_LIMIT)?;
        client.apply(&list([service(
            "db",
            "postgres",
            ("app", "postgres"),
            5432,
        )]))?;
        let mut addresses = BTreeMap::new();
        for pod in pods {
            addresses.insert(pod.name.clone(), client.pod_address(&pod.name)?);
        }
        Ok(Self { cluster, addresses })
    }

    /// What every pod tries, with the endpoints behind it.
    fn targets(&self) -> Result<Vec<(Target, Vec<Target>)>> {
        let ports = |pod: &PodName| {
            if pod.namespace == "db" {
                vec![5432, 9187]
            } else {
                vec![8080]
            }
        };
        let mut targets = Vec::new();
        for (pod, address) in &self.addresses {
            for port in ports(pod) {
                targets.push((Target::tcp(SocketAddrV4::new(*address, port)), Vec::new()));
                targets.push((Target::udp(SocketAddrV4::new(*address, port)), Vec::new()));
            }
        }
        let postgres = SocketAddrV4::new(self.addresses[&PodName::new("db", "postgres")], 5432);
        let service = self
            .cluster
            .client()
            .service_address("db", "postgres", 5432)?;
        targets.push((Target::tcp(service), vec![Target::tcp(postgres)]));
        Ok(targets)
    }

    /// Waits until reality is what the oracle says of the objects that are there.
    fn settles(&self) -> Result<BTreeMap<(PodName, Target), Reach>> {
        let oracle = Oracle::of(self.cluster.client())?;
        let targets = self.targets()?;
        Deadline::after(SETTLE_LIMIT).until("agreement of the pods with the oracle", || {
            let mut seen = BTreeMap::new();
            let mut wrong = String::new();
            for (pod, address) in &self.addresses {
                // A pod that comes back to itself through a Service has the node's address by then: kube-proxy's doing,
                // which address pairs cannot tell.
                let is_itself = |endpoints: &[Target]| {
                    endpoints
                        .iter()
                        .any(|endpoint| endpoint.address.ip() == address)
                };
                let tried: Vec<_> = targets
                    .iter()
                    .filter(|(_, endpoints)| !is_itself(endpoints))
                    .collect();
                let wanted: Vec<Target> = tried.iter().map(|(target, _)| target.clone()).collect();
                let reached = self.cluster.client().probe_all(pod, &wanted)?;
                for ((target, endpoints), reach) in tried.into_iter().zip(reached) {
                    let (expected, why) = oracle.expect(IpAddr::V4(*address), target, endpoints);
                    if reach != expected {
                        let _ = writeln!(
                            wrong,
                            "{}/{} to {target:?}: {reach:?}, but {expected:?}: {why}",
                            pod.namespace, pod.name
                        );
                    }
                    seen.insert((pod.clone(), target.clone()), reach);
                }
            }
            if !wrong.is_empty() {
                bail!("{wrong}");
            }
            Ok(Some(seen))
        })
    }

    /// Lets the world settle, and looks at one connection of it, so that a story cannot hold by nothing happening at all.
    fn settles_with(&self, from: (&str, &str), to: (&str, &str, u16), wanted: Reach) {
        let seen = self.settles().unwrap();
        let target = Target::tcp(SocketAddrV4::new(
            self.addresses[&PodName::new(to.0, to.1)],
            to.2,
        ));
        assert_eq!(
            seen[&(PodName::new(from.0, from.1), target)],
            wanted,
            "from {from:?} to {to:?}"
        );
    }

    /// One connection, once.
    fn reach(&self, from: (&str, &str), to: (&str, &str, u16)) -> Reach {
        let target = Target::tcp(SocketAddrV4::new(
            self.addresses[&PodName::new(to.0, to.1)],
            to.2,
        ));
        self.cluster
            .probe(&PodName::new(from.0, from.1), &target)
            .unwrap()
    }

    fn apply(&self, yaml: &str) {
        self.cluster.apply(yaml).unwrap();
    }

    /// Conditions on the segment, one small object a node, and then silence: an idle cluster makes no writes.
    fn the_api_server_is_told(&self) {
        let client = self.cluster.client();
        let segment = ["segment/database"];
        client
            .wait_for("condition=Enforced", SETTLE_LIMIT, &segment)
            .unwrap();
        let segment = client.get(&segment).unwrap();
        let status = &segment["status"];
        assert_eq!(
            status["observedGeneration"], segment["metadata"]["generation"],
            "{status}"
        );
        // The database is on one node.
        assert_eq!(
            status["nodes"],
            serde_json::json!({"desired": 1, "realised": 1})
        );
        assert!(status["lastEnforcedSeconds"].is_number(), "{status}");
        client
            .wait_for(
                "jsonpath={.status.health}=Realised",
                SETTLE_LIMIT,
                &["nodeenforcements", "--all"],
            )
            .unwrap();
        let nodes = client.get(&["nodeenforcements"]).unwrap();
        let nodes = nodes["items"].as_array().unwrap();
        assert_eq!(nodes.len(), self.cluster.nodes().len());
        for node in nodes {
            assert_eq!(node["metadata"]["ownerReferences"][0]["kind"], "Node");
        }
        // What changed before may be written once more, at the pace of dates.
        let is_silent = (0..3).any(|_| self.writes_while_nothing_happens().is_empty());
        assert!(is_silent, "an idle cluster makes no writes");
    }

    /// Longer than the pace at which dates alone are written.
    fn writes_while_nothing_happens(&self) -> String {
        let watches = ["segments", "nodeenforcements"].map(|kind| {
            let mut watch = self.cluster.client().command();
            watch.args(["get", kind, "--watch-only", "-o", "name"]);
            watch.arg("--request-timeout=35s").stdout(Stdio::piped());
            watch.spawn().unwrap()
        });
        let outputs = watches.map(|watch| watch.wait_with_output().unwrap().stdout);
        let seen = String::from_utf8_lossy(&outputs.concat()).into_owned();
        println!("written while nothing happened: {seen:?}");
        seen
    }
}

const FRONTEND: (&str, &str) = ("web", "frontend");
const BACKEND: (&str, &str) = ("web", "backend");
const SCANNER: (&str, &str) = ("ops", "scanner");
const POSTGRES: (&str, &str, u16) = ("db", "postgres", 5432);

const DATABASE_IS_CLOSED: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: db, name: closed}
spec: {podSelector: {}, policyTypes: [Ingress]}
";

const BACKEND_MAY_QUERY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: db, name: backend-may-query}
spec:
  podSelector: {matchLabels: {app: postgres}}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {team: web}}, podSelector: {matchLabels: {app: backend}}}]
    ports: [{port: 5432}]
";

const BACKEND_IS_QUARANTINED: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Quarantine
metadata: {name: backend}
spec:
  reason: seen scanning
  subjects: [{workloads: {namespaces: {matchLabels: {team: web}}, pods: {matchLabels: {app: backend}}}}]
";

const DATABASE_IS_A_SEGMENT: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: database}
spec:
  members: [{namespaces: {matchLabels: {team: db}}}]
  isolation: {ingress: Deny, egress: Allow, within: Allow}
  mode: Enforce
";

#[test]
fn pods_reach_what_the_objects_say_through_changes_and_restarts() {
    let _machine = machine();
    let story = Story::begin("story").unwrap();
    let mut product = Installation::start(&story.cluster).unwrap();
    let open = Reach::Open;
    let closed = Reach::Silent;
    story.settles_with(SCANNER, POSTGRES, open);

    story.apply(DATABASE_IS_CLOSED);
    story.settles_with(BACKEND, POSTGRES, closed);

    story.apply(BACKEND_MAY_QUERY);
    story.settles_with(BACKEND, POSTGRES, open);
    story.settles_with(FRONTEND, POSTGRES, closed);

    story.apply(BACKEND_IS_QUARANTINED);
    story.settles_with(BACKEND, POSTGRES, closed);
    story
        .cluster
        .client()
        .delete(BACKEND_IS_QUARANTINED)
        .unwrap();
    story.settles_with(BACKEND, POSTGRES, open);

    // Nobody enforces less because nobody controls.
    product.kill_controller().unwrap();
    story.settles_with(FRONTEND, POSTGRES, closed);
    story.cluster.client().delete(BACKEND_MAY_QUERY).unwrap();
    assert_eq!(
        story.reach(BACKEND, POSTGRES),
        open,
        "a node moved although nobody told it to"
    );
    product.start_controller(&story.cluster).unwrap();
    story.settles_with(BACKEND, POSTGRES, closed);

    product.kill_agent(3).unwrap();
    story.settles_with(SCANNER, POSTGRES, closed);
    story.apply(BACKEND_MAY_QUERY);
    product.start_agent(&story.cluster, 3).unwrap();
    story.settles_with(BACKEND, POSTGRES, open);

    story.cluster.client().delete(BACKEND_MAY_QUERY).unwrap();
    story.cluster.client().delete(DATABASE_IS_CLOSED).unwrap();
    story.settles_with(SCANNER, POSTGRES, open);

    story.apply(DATABASE_IS_A_SEGMENT);
    story.settles_with(SCANNER, POSTGRES, closed);
    story.the_api_server_is_told();
    product.check_running().unwrap();
}
