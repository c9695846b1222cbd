//! Fields of our policies: unknown ones, missing ones, several of a union, and values that make no sense.

use crate::expect::{ALLOW, check, policy};

#[test]
fn an_unknown_field_is_refused_where_it_stands() {
    check(
        &policy(&format!(
            "{ALLOW}    from: [{{everyone: {{}}}}]\n    ports: [{{every: {{}}}}]\n  isolate: [Ingress]"
        )),
        "policies.yaml:10: SegmentationPolicy web/p: spec.isolate: SegmentationPolicy has no such field; correct its name",
    );
    check(
        &policy("  subjects:\n  - pods:\n      matchLabel: {app: a}\n  isolates: [Ingress]"),
        "policies.yaml:7: SegmentationPolicy web/p: spec.subjects[0].pods.matchLabel: SegmentationPolicy has no such",
    );
    check(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a, namespace: b}\nspec:\n  podSelector: {}\n  policyType: [Egress]\n",
        "policies.yaml:6: NetworkPolicy b/a: spec.policyType: NetworkPolicy has no such field",
    );
}

#[test]
fn a_missing_list_never_means_everybody() {
    let missing = &policy(&format!("{ALLOW}    ports: [{{every: {{}}}}]"));
    check(
        missing,
        "policies.yaml:7: SegmentationPolicy web/p: spec.ingress[0].from: missing field `from`; add it",
    );
    let empty = &policy(&format!(
        "{ALLOW}    from: []\n    ports: [{{every: {{}}}}]"
    ));
    check(
        empty,
        "policies.yaml:8: SegmentationPolicy web/p: spec.ingress[0].from: the list is empty",
    );
    let empty = &policy(&format!(
        "{ALLOW}    from: [{{everyone: {{}}}}]\n    ports: []"
    ));
    check(
        empty,
        "policies.yaml:9: SegmentationPolicy web/p: spec.ingress[0].ports: the list is empty",
    );
    check(
        &policy("  subjects: []\n  isolates: [Ingress]"),
        "policies.yaml:5: SegmentationPolicy web/p: spec.subjects: the list is",
    );
    check(
        &policy("  subjects: [{}]\n  isolates: [Ingress]"),
        "policies.yaml:5: SegmentationPolicy web/p: spec.subjects[0]: it names",
    );
    check(
        &policy("  subjects: [{pods: {}}]"),
        "policies.yaml:4: SegmentationPolicy web/p: spec: a policy needs isolates",
    );
}

#[test]
fn a_union_is_exactly_one() {
    let rule =
        |peer: &str, port: &str| policy(&format!("{ALLOW}    from: [{peer}]\n    ports: [{port}]"));
    let (peer, port) = ("{everyone: {}}", "{every: {}}");
    let place = "SegmentationPolicy web/p: spec.ingress[0]";
    check(
        &rule("{}", port),
        &format!("policies.yaml:8: {place}.from[0]: nothing known is set; set exactly one of"),
    );
    check(
        &rule("{everyone: {}, segment: a}", port),
        &format!("policies.yaml:8: {place}.from[0]: several are set; set exactly one of"),
    );
    check(
        &rule(peer, "{}"),
        &format!("policies.yaml:9: {place}.ports[0]: nothing known is set; set exactly one of"),
    );
    check(
        &rule(peer, "{every: {}, protocol: TCP}"),
        &format!("policies.yaml:9: {place}.ports[0]: several are set; set exactly one of"),
    );
    check(
        &rule("{workloads: {}}", port),
        &format!("policies.yaml:8: {place}.from[0].workloads: it names nobody; say"),
    );
    check(
        &rule("{segment: ''}", port),
        &format!("policies.yaml:8: {place}.from[0].segment: the name is empty"),
    );
}

#[test]
fn values_that_make_no_sense() {
    let rule =
        |peer: &str, port: &str| policy(&format!("{ALLOW}    from: [{peer}]\n    ports: [{port}]"));
    let (peer, port) = ("{everyone: {}}", "{every: {}}");
    let place = "SegmentationPolicy web/p: spec.ingress[0]";
    let network = |network: &str| rule(&format!("{{network: {network}}}"), port);
    check(
        &network("{cidr: 10.0.0.1}"),
        &format!(
            "policies.yaml:8: {place}.from[0].network.cidr: \"10.0.0.1\" is no range of addresses; write 10.0.0.1/32"
        ),
    );
    check(
        &network("{cidr: 10.0.0.0/33}"),
        &format!(
            "policies.yaml:8: {place}.from[0].network.cidr: \"10.0.0.0/33\" is no range of addresses; write one like"
        ),
    );
    check(
        &network("{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}"),
        &format!(
            "policies.yaml:8: {place}.from[0].network.except[0]: 11.0.0.0/16 does not lie inside 10.0.0.0/8"
        ),
    );
    check(
        &rule(peer, "{port: {protocol: TCP, number: 0}}"),
        &format!(
            "policies.yaml:9: {place}.ports[0].port.number: 0 is no port; a port is between 1 and 65535"
        ),
    );
    check(
        &rule(peer, "{range: {protocol: TCP, from: 9, to: 8}}"),
        &format!("policies.yaml:9: {place}.ports[0].range: the range 9–8 runs backwards"),
    );
    check(
        &rule(peer, "{port: {protocol: QUIC, number: 1}}"),
        &format!(
            "policies.yaml:9: {place}.ports[0].port.protocol: unknown variant `QUIC`, expected one of"
        ),
    );
    check(
        &rule(peer, "{ipProtocol: {number: 6}}"),
        &format!(
            "policies.yaml:9: {place}.ports[0].ipProtocol.number: 6 is TCP; write `protocol: TCP`"
        ),
    );
    check(
        &rule(peer, "{icmp: {family: IPv4, type: 256}}"),
        &format!("policies.yaml:9: {place}.ports[0].icmp.type: 256 is not between 0 and 255"),
    );
    check(
        &rule(
            "{nodes: {matchExpressions: [{key: a, operator: In}]}}",
            port,
        ),
        &format!(
            "policies.yaml:8: {place}.from[0].nodes.matchExpressions[0].values: In needs at least one value"
        ),
    );
    check(
        &rule(peer, "{port: {protocol: TCP, number: many}}"),
        &format!("policies.yaml:9: {place}.ports[0].port.number: invalid type: string"),
    );
}

#[test]
fn rules_between_fields() {
    check(
        &policy(
            "  subjects: [{pods: {}}]\n  isolates: [Ingress]\n  expiresAt: \"2026-01-01T00:00:00Z\"",
        ),
        "policies.yaml:6: SegmentationPolicy web/p: spec.isolates: isolates and expiresAt exclude each other",
    );
    for (text, problem) in [
        (
            "\"10\"",
            "`10` is no duration; write it like 90s, 10m or 1h30m",
        ),
        ("\"\"", "`` is no duration"),
        ("10 min", "`10 min` is no duration"),
        ("30s", "`30s` is not between 1m and 720h"),
        ("721h", "`721h` is not between 1m and 720h"),
    ] {
        check(
            &policy(&format!(
                "  subjects: [{{pods: {{}}}}]\n  isolates: [Ingress]\n  maxStaleness: {text}"
            )),
            &format!("policies.yaml:7: SegmentationPolicy web/p: spec.maxStaleness: {problem}"),
        );
    }
    check(
        &policy("  subjects: [{pods: {}}]\n  isolates: [Ingress]\n  activeFrom: tomorrow"),
        "policies.yaml:7: SegmentationPolicy web/p: spec.activeFrom: ",
    );
    let cluster = |spec: &str| {
        format!(
            "apiVersion: bulkhead.dev/v1alpha1\nkind: ClusterSegmentationPolicy\nmetadata: {{name: p}}\nspec:\n{spec}\n"
        )
    };
    check(
        &cluster(
            "  tier: Admin\n  priority: 1001\n  subjects: [{segment: a}]\n  ingress: [{action: Pass, from: [{everyone: {}}], ports: [{every: {}}]}]",
        ),
        "policies.yaml:6: ClusterSegmentationPolicy p: spec.priority: 1001 is not between 0 (strongest) and 1000",
    );
    check(
        &cluster(
            "  tier: Admin\n  priority: 1\n  subjects: [{workloads: {pods: {}}}]\n  ingress: [{action: Pass, from: [{everyone: {}}], ports: [{every: {}}]}]",
        ),
        "policies.yaml:7: ClusterSegmentationPolicy p: spec.subjects[0].workloads.namespaces: missing field `namespaces`; add it",
    );
    check(
        &cluster("  tier: Admin\n  priority: 1\n  subjects: [{segment: a}]"),
        "policies.yaml:4: ClusterSegmentationPolicy p: spec: a policy needs ingress or egress rules",
    );
    let lifetime =
        "  activeFrom: \"2026-01-02T00:00:00Z\"\n  expiresAt: \"2026-01-01T00:00:00Z\"\n";
    check(
        &cluster(&format!(
            "  tier: Admin\n  priority: 1\n{lifetime}  subjects: [{{segment: a}}]\n  ingress: [{{action: Pass, from: [{{everyone: {{}}}}], ports: [{{every: {{}}}}]}}]"
        )),
        "policies.yaml:8: ClusterSegmentationPolicy p: spec.expiresAt: the policy would expire before it begins",
    );
}
