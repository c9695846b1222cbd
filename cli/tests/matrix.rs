//! The matrix in protocols other than TCP, with an address outside, as it was worked out by hand.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its input has failed"
)]

mod command;

use serde_json::Value;

use Says::{Allows, AllowsInAudit, Denies};
use command::{TWO_PODS, bulkhead, json};

/// `web` may open everything to `db`, and ask one network outside for names. `db` takes one port of SCTP from `web` and one of
/// UDP from an address outside, and is pinged by everybody. A draft would close `web`.
const RULES: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: out, namespace: web}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: db}}}]
  - to: [{ipBlock: {cidr: 192.0.2.0/24}}]
    ports: [{protocol: UDP, port: 53}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: more, namespace: db}
spec:
  podSelector: {}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web}}}]
    ports: [{protocol: SCTP, port: 7}]
  - from: [{ipBlock: {cidr: 192.0.2.1/32}}]
    ports: [{protocol: UDP, port: 53}]
---
apiVersion: bulkhead.dev/v1alpha1
kind: SegmentationPolicy
metadata: {name: pings, namespace: db}
spec:
  subjects: [{pods: {}}]
  ingress:
  - {name: echo, action: Allow, from: [{everyone: {}}], ports: [{icmp: {family: IPv4, type: 8, code: 0}}]}
---
apiVersion: bulkhead.dev/v1alpha1
kind: SegmentationPolicy
metadata: {name: draft, namespace: web}
spec: {mode: Audit, subjects: [{pods: {}}], isolates: [Ingress]}
";

const DB: &str = "db/postgres";
const WEB: &str = "web/frontend";
const OUTSIDE: &str = "192.0.2.1";

/// What one side says, and by which rule.
#[derive(Clone, Copy)]
enum Says {
    Allows(&'static str),
    /// It allows, and would deny if everything in Audit were enforced.
    AllowsInAudit(&'static str),
    Denies(&'static str),
}

impl Says {
    fn is_allowed(self) -> bool {
        !matches!(self, Denies(_))
    }

    fn is_intended(self) -> bool {
        matches!(self, Allows(_))
    }

    fn json(self) -> Value {
        let (Allows(rule) | AllowsInAudit(rule) | Denies(rule)) = self;
        serde_json::json!({"allowed": self.is_allowed(), "rule": rule})
    }
}

/// From where to where, and what egress and ingress say.
type Flow = (&'static str, &'static str, Says, Says);

const ITSELF: Says = Allows("own address");
const FREE: Says = Allows("no policy isolates it");
const DRAFT: Says = AllowsInAudit("no policy isolates it");
const NOT_OURS: Says = Allows("no known workload");
const TO_DB: Says = Allows("NetworkPolicy web/out egress[0]");
const KEPT_IN: Says = Denies("isolated by NetworkPolicy web/out");
const KEPT_OUT: Says = Denies("isolated by NetworkPolicy db/more, NetworkPolicy db/only-frontend");
const PINGED: Says = Allows("SegmentationPolicy db/pings ingress[0] (echo)");

const SCTP: [Flow; 8] = [
    (DB, DB, ITSELF, ITSELF),
    (DB, WEB, FREE, DRAFT),
    (DB, OUTSIDE, FREE, NOT_OURS),
    (WEB, DB, TO_DB, Allows("NetworkPolicy db/more ingress[0]")),
    (WEB, WEB, ITSELF, ITSELF),
    (WEB, OUTSIDE, KEPT_IN, NOT_OURS),
    (OUTSIDE, DB, NOT_OURS, KEPT_OUT),
    (OUTSIDE, WEB, NOT_OURS, DRAFT),
];

const UDP: [Flow; 8] = [
    (DB, DB, ITSELF, ITSELF),
    (DB, WEB, FREE, DRAFT),
    (DB, OUTSIDE, FREE, NOT_OURS),
    (WEB, DB, TO_DB, KEPT_OUT),
    (WEB, WEB, ITSELF, ITSELF),
    (
        WEB,
        OUTSIDE,
        Allows("NetworkPolicy web/out egress[1]"),
        NOT_OURS,
    ),
    (
        OUTSIDE,
        DB,
        NOT_OURS,
        Allows("NetworkPolicy db/more ingress[1]"),
    ),
    (OUTSIDE, WEB, NOT_OURS, DRAFT),
];

const ICMP: [Flow; 8] = [
    (DB, DB, ITSELF, ITSELF),
    (DB, WEB, FREE, DRAFT),
    (DB, OUTSIDE, FREE, NOT_OURS),
    (WEB, DB, TO_DB, PINGED),
    (WEB, WEB, ITSELF, ITSELF),
    (WEB, OUTSIDE, KEPT_IN, NOT_OURS),
    (OUTSIDE, DB, NOT_OURS, PINGED),
    (OUTSIDE, WEB, NOT_OURS, DRAFT),
];

const TABLE: &str = "\
sctp/7 from \\ to  db/postgres  web/frontend  192.0.2.1
db/postgres       yes          yes*          yes
web/frontend      yes          yes           no
192.0.2.1         no           yes*          -

udp/53 from \\ to  db/postgres  web/frontend  192.0.2.1
db/postgres       yes          yes*          yes
web/frontend      no           yes           yes
192.0.2.1         yes          yes*          -

icmp from \\ to  db/postgres  web/frontend  192.0.2.1
db/postgres     yes          yes*          yes
web/frontend    yes          yes           no
192.0.2.1       yes          yes*          -

20 of 24 flows are allowed
* would be the other way round if everything in Audit were enforced
";

/// One verdict as JSON has it, with all its fields. ICMP has no port, which is written as 0.
fn verdict(protocol: &str, port: u16, (source, destination, egress, ingress): Flow) -> Value {
    serde_json::json!({
        "source": source,
        "destination": destination,
        "protocol": protocol,
        "port": port,
        "allowed": egress.is_allowed() && ingress.is_allowed(),
        "intended": egress.is_intended() && ingress.is_intended(),
        "egress": egress.json(),
        "ingress": ingress.json(),
    })
}

const ASKED: [&str; 11] = [
    "reach",
    "-f",
    "-",
    "--port",
    "sctp/7",
    "--port",
    "udp/53",
    "--port",
    "icmp",
    "--external",
    OUTSIDE,
];

#[test]
fn every_verdict_in_sctp_udp_and_icmp_is_as_worked_out_and_has_these_fields_and_no_others() {
    let expected: Vec<Value> = [("SCTP", 7, SCTP), ("UDP", 53, UDP), ("ICMP", 0, ICMP)]
        .into_iter()
        .flat_map(|(protocol, port, flows)| flows.map(|flow| verdict(protocol, port, flow)))
        .collect();
    for engine in ["oracle", "compiled"] {
        let rest = ["-o", "json", "--engine", engine];
        let arguments = [&ASKED[..], &rest].concat();
        let answer = json(&bulkhead(&arguments, &format!("{TWO_PODS}{RULES}")));
        for (expected, found) in expected.iter().zip(answer["verdicts"].as_array().unwrap()) {
            assert_eq!(expected, found, "{engine}");
        }
        // Not one more, and nothing beside them where no program of the kernel was asked.
        assert_eq!(
            answer,
            serde_json::json!({"verdicts": expected}),
            "{engine}"
        );
    }
}

#[test]
fn people_see_a_matrix_for_each_protocol() {
    let output = bulkhead(&ASKED, &format!("{TWO_PODS}{RULES}"));
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), TABLE);
}

#[test]
fn a_verdict_between_pods_that_share_only_ipv6_is_named_by_its_protocol() {
    let pods = "
apiVersion: v1
kind: Pod
metadata: {name: six, namespace: web}
spec: {containers: [{name: c, image: i}]}
status: {phase: Running, podIPs: [{ip: 'fd00::1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: both, namespace: web}
spec: {containers: [{name: c, image: i}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.2}, {ip: 'fd00::2'}]}
";
    let answer = json(&bulkhead(
        &["reach", "-f", "-", "--port", "icmp", "-o", "json"],
        pods,
    ));
    let protocol_of = |source: &str, destination: &str| {
        let verdicts = answer["verdicts"].as_array().unwrap();
        let mut found = verdicts
            .iter()
            .filter(|it| it["source"] == source && it["destination"] == destination);
        found.next().unwrap()["protocol"].clone()
    };
    assert_eq!(protocol_of("web/six", "web/both"), "ICMPv6");
    assert_eq!(protocol_of("web/both", "web/six"), "ICMPv6");
    assert_eq!(protocol_of("web/both", "web/both"), "ICMP");
}
