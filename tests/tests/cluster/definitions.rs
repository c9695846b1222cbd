//! Our kinds in a real API server: it takes the generated definitions, and refuses what they were written to refuse.

use bulkhead_tests::cluster::installation::install_definitions;
use bulkhead_tests::cluster::{Cluster, Options};

use crate::machine;

const EVERYBODY_IS_QUARANTINED: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Quarantine
metadata: {name: everybody}
spec:
  reason: a selector that is empty by mistake
  subjects: [{workloads: {namespaces: {}}}]
";

const NOBODY_IS_MEANT: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: nobody}
spec: {mode: Enforce}
";

const A_PARTNER: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: partner}
spec: {domains: [api.example.org, 4u.xn--p1ai]}
";

const A_TEAM: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: team}
spec: {members: [{namespaces: {matchLabels: {team: web}}}]}
";

/// Specs that the API server has to refuse, with a word of the reason. The conversion says the same of each from a file:
/// `crds/tests/bad_input`.
const REFUSED: &[(&str, &str, &str)] = &[
    (TENANT, "{subjects: []}", "spec.subjects"),
    (TENANT, "{subjects: [{}], isolates: [Ingress]}", "say whom"),
    (
        TENANT,
        "{subjects: [{pods: {}}]}",
        "a policy needs isolates, ingress or egress",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], isolates: [Ingress], expiresAt: '2026-01-01T00:00:00Z'}",
        "exclude each other",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], isolates: [Ingress], maxStaleness: 30s}",
        "maxStaleness must be between",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], isolates: [Ingress], maxStaleness: ten minutes}",
        "spec.maxStaleness",
    ),
    (
        QUARANTINE,
        "{reason: r, subjects: [{segment: a}], maxStaleness: 721h}",
        "maxStaleness must be between",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], ingress: [{action: Allow, from: [], ports: [{every: {}}]}]}",
        "spec.ingress[0].from",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], ingress: [{action: Allow, ports: [{every: {}}]}]}",
        "spec.ingress[0].from",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], ingress: [{action: Allow, from: [{}], ports: [{every: {}}]}]}",
        "a peer is exactly one of",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], ingress: [{action: Allow, from: [{everyone: {}, nodes: {}}], ports: [{every: {}}]}]}",
        "a peer is exactly one of",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], ingress: [{action: Allow, from: [{everyone: {}}], ports: [{}]}]}",
        "a port is exactly one of",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], ingress: [{action: Allow, from: [{everyone: {}}], ports: [{ipProtocol: {number: 6}}]}]}",
        "are written as protocol",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], ingress: [{action: Allow, from: [{everyone: {}}], ports: [{range: {protocol: TCP, from: 9, to: 8}}]}]}",
        "from must not be greater than to",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], ingress: [{action: Allow, from: [{network: {cidr: 10.0.0.1}}], ports: [{every: {}}]}]}",
        "cidr must be a range",
    ),
    (
        TENANT,
        "{subjects: [{pods: {}}], ingress: [{action: Allow, from: [{network: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}], ports: [{every: {}}]}]}",
        "must lie inside cidr",
    ),
    (
        ADMIN,
        "{tier: Admin, priority: 1, subjects: [{segment: a}]}",
        "a policy needs ingress or egress rules",
    ),
    (
        ADMIN,
        "{tier: Admin, priority: 1001, subjects: [{segment: a}], ingress: [{action: Pass, from: [{everyone: {}}], ports: [{every: {}}]}]}",
        "spec.priority",
    ),
    (
        ADMIN,
        "{tier: Admin, priority: 1, subjects: [{}], ingress: [{action: Pass, from: [{everyone: {}}], ports: [{every: {}}]}]}",
        "a subject is exactly one of",
    ),
    (
        QUARANTINE,
        "{reason: r, subjects: [{}]}",
        "a subject is exactly one of",
    ),
    (
        QUARANTINE,
        "{reason: r, subjects: [{uid: a}], exceptions: {}}",
        "exceptions need ingress or egress",
    ),
    (
        QUARANTINE,
        "{reason: r, subjects: [{uid: a, owner: {namespace: web, kind: Job, name: a}}]}",
        "a subject is exactly one of",
    ),
    (
        QUARANTINE,
        "{reason: r, subjects: [{owner: {namespace: web, kind: Stateful Set, name: a}}]}",
        "spec.subjects[0].owner.kind",
    ),
    (
        QUARANTINE,
        "{reason: r, subjects: [{owner: {namespace: web, kind: CronJob, name: a}}]}",
        "name its Jobs",
    ),
    (
        QUARANTINE,
        "{reason: r, subjects: [{owner: {namespace: Web, kind: Job, name: a}}]}",
        "spec.subjects[0].owner.namespace",
    ),
    (
        SEGMENT,
        "{networks: [{cidr: 10.0.0.0/8}], isolation: {ingress: Deny, egress: Deny, within: Allow}}",
        "isolation protects members",
    ),
    (
        SEGMENT,
        "{domains: [api.example.org], isolation: {ingress: Deny, egress: Deny, within: Allow}}",
        "isolation protects members",
    ),
    (SEGMENT, "{domains: []}", "spec.domains"),
    (SEGMENT, "{domains: ['*.example.org']}", "spec.domains[0]"),
    (SEGMENT, "{domains: [API.example.org]}", "spec.domains[0]"),
    (SEGMENT, "{domains: [api.example.org.]}", "spec.domains[0]"),
    (SEGMENT, "{domains: [a.b, localhost]}", "spec.domains[1]"),
    (SEGMENT, "{domains: [203.0.113.7]}", "spec.domains[0]"),
];

const TENANT: &str = "SegmentationPolicy";
const ADMIN: &str = "ClusterSegmentationPolicy";
const QUARANTINE: &str = "Quarantine";
const SEGMENT: &str = "Segment";

#[test]
fn the_api_server_takes_our_kinds_and_refuses_their_misuse() {
    let _machine = machine();
    let cluster = Cluster::up(&Options::new("kinds").unwrap().with_nodes(1)).unwrap();
    install_definitions(&cluster).unwrap();

    cluster.apply(A_TEAM).unwrap();
    cluster.apply(A_PARTNER).unwrap();
    let refused = |yaml: &str| cluster.apply(yaml).unwrap_err().to_string();
    assert!(refused(EVERYBODY_IS_QUARANTINED).contains("would cut off the whole cluster"));
    assert!(refused(NOBODY_IS_MEANT).contains("a segment needs members, networks or domains"));
    for (kind, spec, reason) in REFUSED {
        let manifest = format!(
            "{{apiVersion: bulkhead.dev/v1alpha1, kind: {kind}, metadata: {{name: bad}}, spec: {spec}}}"
        );
        let said = refused(&manifest);
        assert!(said.contains(reason), "{kind} {spec}: {said}");
    }
    let names = cluster
        .kubectl(&["get", "segments,quarantines", "-o", "name"])
        .unwrap();
    assert_eq!(
        names,
        "segment.bulkhead.dev/partner\nsegment.bulkhead.dev/team\n"
    );
}
