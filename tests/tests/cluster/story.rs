//! Pods of three teams on three nodes, what they can reach, and what the oracle says of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Result, bail};
use bulkhead_tests::cluster::installation::install_definitions;
use bulkhead_tests::cluster::oracle::Oracle;
use bulkhead_tests::cluster::pod::{TestPod, list, service};
use bulkhead_tests::cluster::{Cluster, Deadline, NodeIndex, Options, PodName, Reach, Target};

const PODS_LIMIT: Duration = Duration::from_secs(60);
/// From `kubectl apply` to every node: seconds on a busy machine, and a round of probes lasts more than one.
pub(crate) const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// A shop of three teams, spread over all nodes, each pod serving.
pub(crate) struct Story {
    pub(crate) cluster: Cluster,
    pub(crate) addresses: BTreeMap<PodName, Ipv4Addr>,
}

impl Story {
    pub(crate) fn begin(name: &str) -> Result<Self> {
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
    pub(crate) fn settles(&self) -> Result<BTreeMap<(PodName, Target), Reach>> {
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
    pub(crate) fn settles_with(&self, from: (&str, &str), to: (&str, &str, u16), wanted: Reach) {
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
    pub(crate) fn reach(&self, from: (&str, &str), to: (&str, &str, u16)) -> Reach {
        let target = Target::tcp(SocketAddrV4::new(
            self.addresses[&PodName::new(to.0, to.1)],
            to.2,
        ));
        self.cluster
            .probe(&PodName::new(from.0, from.1), &target)
            .unwrap()
    }

    pub(crate) fn apply(&self, yaml: &str) {
        self.cluster.apply(yaml).unwrap();
    }
}

pub(crate) const FRONTEND: (&str, &str) = ("web", "frontend");
pub(crate) const BACKEND: (&str, &str) = ("web", "backend");
pub(crate) const SCANNER: (&str, &str) = ("ops", "scanner");
pub(crate) const POSTGRES: (&str, &str, u16) = ("db", "postgres", 5432);

pub(crate) const DATABASE_IS_CLOSED: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: db, name: closed}
spec: {podSelector: {}, policyTypes: [Ingress]}
";

pub(crate) const BACKEND_MAY_QUERY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: db, name: backend-may-query}
spec:
  podSelector: {matchLabels: {app: postgres}}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {team: web}}, podSelector: {matchLabels: {app: backend}}}]
    ports: [{port: 5432}]
";
