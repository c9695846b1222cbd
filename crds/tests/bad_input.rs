//! What people get wrong, and what they are told. The lines of `docs/bad-input.md` that concern manifests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use bulkhead_crds::manifest::{Manifest, read};

/// Reads one file and expects exactly one problem.
#[track_caller]
fn check(manifest: &str, expected: &str) {
    let Manifest {
        problems, objects, ..
    } = read("policies.yaml", manifest.as_bytes());
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].starts_with(expected),
        "\n expected {expected}\n but said {}",
        said[0]
    );
    assert!(
        objects.is_empty(),
        "nothing of it may be in force: {objects:?}"
    );
}

/// A policy of ours around one fragment; the fragment begins at line 5.
fn policy(spec: &str) -> String {
    format!(
        "apiVersion: bulkhead.dev/v1alpha1\nkind: SegmentationPolicy\nmetadata: {{name: p, namespace: web}}\nspec:\n{spec}\n"
    )
}

const ALLOW: &str = "  subjects: [{pods: {}}]\n  ingress:\n  - action: Allow\n";

#[test]
fn broken_yaml_names_the_line() {
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a\nspec: {}\n",
        "policies.yaml:4: this is no valid YAML: ",
    );
    check("a: 1\n\tb: 2\n", "policies.yaml:1: this is no valid YAML: ");
    check("kind: [", "policies.yaml:1: this is no valid YAML: ");
}

#[test]
fn a_file_that_is_no_text() {
    let manifest = read("policies.yaml", b"kind: Pod\nname: \xff\xfe\n");
    assert_eq!(
        manifest.problems[0].to_string(),
        "policies.yaml:2: the file is not UTF-8 text; save it as UTF-8"
    );
    assert!(manifest.unnamed);
}

#[test]
fn a_key_twice() {
    check(
        "apiVersion: v1\nkind: Pod\nkind: Node\n",
        "policies.yaml:3: this is no valid YAML: ",
    );
}

#[test]
fn no_kind_or_no_version() {
    check(
        "metadata: {name: a}\n",
        "policies.yaml:1: this document has no kind; a manifest needs",
    );
    check(
        "\n\nkind: Pod\n",
        "policies.yaml:3: this document has no apiVersion; a manifest needs",
    );
    check("- 1\n- 2\n", "policies.yaml:1: this document has no kind");
}

#[test]
fn an_unknown_kind_of_ours_lists_those_there_are() {
    check(
        "apiVersion: bulkhead.dev/v1alpha1\nkind: SegmentPolicy\nmetadata: {name: a}\n",
        "policies.yaml:2: SegmentPolicy a: there is no kind SegmentPolicy in bulkhead.dev/v1alpha1; there are Cluster",
    );
    check(
        "apiVersion: bulkhead.dev/v1\nkind: Segment\nmetadata: {name: a}\n",
        "policies.yaml:2: Segment a: this version of Bulkhead does not know Segment of bulkhead.dev/v1; write apiVersion",
    );
    check(
        "apiVersion: bulkhaed.dev/v1alpha1\nkind: Segment\nmetadata: {name: a}\n",
        "policies.yaml:2: Segment a: Segment is a kind of bulkhead.dev/v1alpha1, not of bulkhaed.dev/v1alpha1; correct",
    );
    check(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolice\nmetadata: {name: a}\n",
        "policies.yaml:2: NetworkPolice a: there is no kind NetworkPolice in networking.k8s.io/v1",
    );
}

#[test]
fn a_policy_of_another_product_is_a_warning_and_other_objects_are_nobodys_business() {
    check(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a}\n",
        "policies.yaml:2: CiliumNetworkPolicy a: Bulkhead does not read CiliumNetworkPolicy of cilium.io/v2; if it is",
    );
    let silent = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}\n---\n{apiVersion: v1, kind: Secret}\n";
    assert_eq!(
        read("policies.yaml", silent.as_bytes()),
        Manifest::default()
    );
}

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

#[test]
fn a_quarantine_of_everybody_is_refused() {
    let quarantine = |subject: &str| {
        format!(
            "apiVersion: bulkhead.dev/v1alpha1\nkind: Quarantine\nmetadata: {{name: q}}\nspec:\n  reason: r\n  subjects: {subject}\n"
        )
    };
    let place = "policies.yaml:6: Quarantine q: spec.subjects";
    check(
        &quarantine("[{workloads: {namespaces: {}}}]"),
        &format!("{place}[0].workloads: this selector is empty and would cut off"),
    );
    check(
        &quarantine("[{workloads: {namespaces: {}, pods: {}}}]"),
        &format!("{place}[0].workloads: this selector is empty"),
    );
    check(&quarantine("[]"), &format!("{place}: the list is empty"));
    check(
        &quarantine("[{}]"),
        &format!("{place}[0]: nothing known is set; set exactly one of workloads, segment, uid"),
    );
    check(
        &quarantine("[{uid: a, segment: b}]"),
        &format!("{place}[0]: several are set"),
    );
}

#[test]
fn g11_a_name_or_label_that_can_be_none_is_refused_and_protects_no_fewer() {
    let subject =
        |subject: &str| policy(&format!("  subjects: [{subject}]\n  isolates: [Ingress]"));
    let at = "policies.yaml:5: SegmentationPolicy web/p: spec.subjects[0]";
    check(
        &subject("{pods: {matchLabels: {app: '?!'}}}"),
        &format!("{at}.pods.matchLabels: \"?!\" can be no label's value"),
    );
    check(
        &subject("{pods: {matchExpressions: [{key: '?!', operator: Exists}]}}"),
        &format!("{at}.pods.matchExpressions[0].key: \"?!\" can be no label"),
    );
    check(
        &subject("{serviceAccounts: [Admin]}"),
        &format!("{at}.serviceAccounts[0]: \"Admin\" can be no object's name"),
    );
    let quarantine = |subject: &str| {
        format!(
            "apiVersion: bulkhead.dev/v1alpha1\nkind: Quarantine\nmetadata: {{name: q}}\nspec: {{reason: r, subjects: [{subject}]}}\n"
        )
    };
    let at = "policies.yaml:4: Quarantine q: spec.subjects[0]";
    check(
        &quarantine("{segment: Data Bases}"),
        &format!("{at}.segment: \"Data Bases\" can be no object's name"),
    );
    check(
        &quarantine("{uid: '?!'}"),
        &format!("{at}.uid: \"?!\" can be no uid"),
    );
}

#[test]
fn a_segment_needs_somebody() {
    let segment = |spec: &str| {
        format!(
            "apiVersion: bulkhead.dev/v1alpha1\nkind: Segment\nmetadata: {{name: s}}\nspec: {spec}\n"
        )
    };
    check(
        &segment("{}"),
        "policies.yaml:4: Segment s: spec: a segment needs members or networks",
    );
    check(
        &segment(
            "{networks: [{cidr: 10.0.0.0/8}], isolation: {ingress: Deny, egress: Allow, within: Allow}}",
        ),
        "policies.yaml:4: Segment s: spec.isolation: isolation protects members",
    );
    check(
        &segment("{members: [{namespaces: {}}], isolation: {ingress: Deny}}"),
        "policies.yaml:4: Segment s: spec.isolation.egress: missing field `egress`; add it",
    );
    check(
        &segment("{members: [{namespaces: {}}], domains: [example.org]}"),
        "policies.yaml:4: Segment s: spec.domains: Segment has no such field",
    );
}

#[test]
fn names() {
    check(
        "{apiVersion: v1, kind: Pod, metadata: {}, spec: {containers: []}}",
        "policies.yaml:1: Pod: metadata.name: the object",
    );
    check(
        "{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: b}}",
        "policies.yaml:1: Namespace a: metadata.namespace: a Namespace has no namespace; remove `namespace: b`",
    );
}

#[test]
fn an_object_twice_in_a_file_names_the_first() {
    let text = "{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {x: y}}}\n";
    let manifest = read("policies.yaml", text.as_bytes());
    assert_eq!(manifest.objects.len(), 1);
    assert_eq!(
        manifest.problems[0].to_string(),
        "policies.yaml:3: Namespace a: it stands in this file already, at line 1, and that one counts; remove one of them"
    );
}

#[test]
fn what_an_api_server_would_refuse_of_a_network_policy() {
    let network_policy = |spec: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: n}}\nspec:\n  podSelector: {{}}\n  {spec}\n"
        )
    };
    let place = "policies.yaml:6: NetworkPolicy n/p: spec";
    let from = |peer: &str| network_policy(&format!("ingress: [{{from: [{peer}]}}]"));
    let port = |port: &str| network_policy(&format!("ingress: [{{ports: [{port}]}}]"));
    check(
        &from("{}"),
        &format!("{place}.ingress[0].from[0]: the peer is empty; name podSelector"),
    );
    check(
        &from("{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}"),
        &format!("{place}.ingress[0].from[0]: ipBlock stands beside"),
    );
    check(
        &from("{ipBlock: {cidr: ten}}"),
        &format!("{place}.ingress[0].from[0].ipBlock.cidr: \"ten\" is no range"),
    );
    check(
        &port("{port: 90, endPort: 80}"),
        &format!("{place}.ingress[0].ports[0].endPort: the range 90–80 runs backwards"),
    );
    check(
        &port("{port: http, endPort: 80}"),
        &format!("{place}.ingress[0].ports[0].endPort: endPort needs a number"),
    );
    check(
        &port("{protocol: DCCP}"),
        &format!("{place}.ingress[0].ports[0].protocol: unknown protocol \"DCCP\""),
    );
    check(
        &network_policy("policyTypes: [Outgress]"),
        &format!("{place}.policyTypes[0]: unknown policy type \"Outgress\""),
    );
    check(
        &from("{podSelector: {matchExpressions: [{key: a, operator: Is, values: [b]}]}}"),
        &format!(
            "{place}.ingress[0].from[0].podSelector.matchExpressions[0].operator: unknown operator \"Is\""
        ),
    );
}

#[test]
fn what_an_api_server_would_refuse_of_a_cluster_network_policy() {
    let policy = |spec: &str| {
        format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: p}}\nspec:\n  tier: Admin\n  priority: 1\n  subject: {{namespaces: {{}}}}\n  {spec}\n"
        )
    };
    let place = "policies.yaml:8: ClusterNetworkPolicy p: spec";
    let egress = |rule: &str| policy(&format!("egress: [{{action: Accept, {rule}}}]"));
    let to = |peer: &str| egress(&format!("to: [{peer}]"));
    let rule = format!("{place}.egress[0]");
    check(
        &to("{}"),
        &format!(
            "{rule}.to[0]: nothing known is set; set exactly one of namespaces, pods, nodes, networks"
        ),
    );
    check(
        &to("{namespaces: {}, nodes: {}}"),
        &format!("{rule}.to[0]: several are set; set exactly one of"),
    );
    check(
        &to("{domainNames: [example.org]}"),
        &format!(
            "{rule}.to[0].domainNames: names are not supported; write the addresses as networks"
        ),
    );
    check(
        &to("{networks: [10.0.0.1]}"),
        &format!(
            "{rule}.to[0].networks[0]: \"10.0.0.1\" is no range of addresses; write 10.0.0.1/32"
        ),
    );
    check(
        &to("{networks: []}"),
        &format!("{rule}.to[0].networks: the list is empty"),
    );
    check(&egress("to: []"), &format!("{rule}.to: the list is empty"));
    check(
        &egress("protocols: []"),
        &format!("{rule}.to: missing field `to`; add it"),
    );
    check(
        &to("{namespaces: {matchExpressions: [{key: a, operator: Is}]}}"),
        &format!("{rule}.to[0].namespaces.matchExpressions[0].operator: unknown operator \"Is\""),
    );
    check(
        &policy("ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]"),
        &format!(
            "{place}.ingress[0].from[0]: who opens connections is exactly one of namespaces, pods"
        ),
    );
    let protocol = |it: &str| egress(&format!("to: [{{namespaces: {{}}}}], protocols: [{it}]"));
    check(
        &protocol("{}"),
        &format!(
            "{rule}.protocols[0]: nothing known is set; set exactly one of tcp, udp, sctp, destinationNamedPort"
        ),
    );
    check(
        &protocol("{tcp: {}}"),
        &format!("{rule}.protocols[0].tcp: nothing known is set; set destinationPort"),
    );
    check(
        &protocol("{tcp: {destinationPort: {number: 0}}}"),
        &format!("{rule}.protocols[0].tcp.destinationPort.number: 0 is no port"),
    );
    check(
        &protocol("{udp: {destinationPort: {range: {start: 9, end: 9}}}}"),
        &format!("{rule}.protocols[0].udp.destinationPort.range: start must be less than end"),
    );
    check(
        &protocol("{sctp: {destinationPort: {number: 1, range: {start: 1, end: 2}}}}"),
        &format!("{rule}.protocols[0].sctp.destinationPort: set exactly one of number, range"),
    );
    check(
        &egress("to: [{nodes: {}}], protocols: [{destinationNamedPort: http}]"),
        &format!("{rule}.to[0]: networks and nodes have no named ports"),
    );
    check(
        &egress(&format!(
            "name: {}, to: [{{namespaces: {{}}}}]",
            "n".repeat(101)
        )),
        &format!("{rule}.name: the name is longer than 100 characters"),
    );
    check(
        &policy("ingress: [{action: Allow, from: [{namespaces: {}}]}]"),
        &format!("{place}.ingress[0].action: unknown action \"Allow\"; use Accept, Deny or Pass"),
    );
    let spec = |spec: &str| {
        format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n"
        )
    };
    check(
        &spec("{tier: Tenant, priority: 1, subject: {namespaces: {}}}"),
        "policies.yaml:4: ClusterNetworkPolicy p: spec.tier: unknown tier \"Tenant\"; use Admin or Baseline",
    );
    check(
        &spec("{tier: Admin, priority: -1, subject: {namespaces: {}}}"),
        "policies.yaml:4: ClusterNetworkPolicy p: spec.priority: -1 is not between 0",
    );
    check(
        &spec("{tier: Admin, priority: 1, subject: {}}"),
        "policies.yaml:4: ClusterNetworkPolicy p: spec.subject: nothing known is set; set exactly one of namespaces, pods",
    );
    check(
        &spec("{tier: Admin, priority: 1, subject: {namespaces: {}}, mode: Audit}"),
        "policies.yaml:4: ClusterNetworkPolicy p: spec.mode: ClusterNetworkPolicy has no such field",
    );
    check(
        "apiVersion: policy.networking.k8s.io/v1beta1\nkind: ClusterNetworkPolicy\nmetadata: {name: p}\n",
        "policies.yaml:2: ClusterNetworkPolicy p: this version of Bulkhead does not know ClusterNetworkPolicy of policy.networking.k8s.io/v1beta1; write",
    );
}

#[test]
fn what_stands_in_for_an_unreadable_restriction_says_what_it_means() {
    let meaning = |manifest: &str| {
        let manifest = read("policies.yaml", manifest.as_bytes());
        let [unreadable] = &manifest.unreadable[..] else {
            panic!("{manifest:?}")
        };
        unreadable.stand_in.as_ref().map(|it| it.meaning.clone())
    };
    let said = |kind: &str, spec: &str| {
        let version = match kind {
            "NetworkPolicy" => "networking.k8s.io/v1",
            _ => "bulkhead.dev/v1alpha1",
        };
        meaning(&format!(
            "{{apiVersion: {version}, kind: {kind}, metadata: {{name: a}}, spec: {spec}}}"
        ))
        .unwrap()
    };
    for (kind, spec, expected) in [
        (
            "NetworkPolicy",
            "5",
            "its subjects are isolated in both directions and it allows nothing",
        ),
        (
            "SegmentationPolicy",
            "{subjects: 5, egress: [{action: Deny}]}",
            "it denies its subjects everything from them",
        ),
        (
            "SegmentationPolicy",
            "{subjects: 5, mode: Audit, egress: [{action: Deny}]}",
            "it stays in Audit and opens nothing",
        ),
        (
            "SegmentationPolicy",
            "{subjects: 5, egress: [{action: Allow}]}",
            "it allows nothing",
        ),
        (
            "Quarantine",
            "{subjects: [{workloads: {namespaces: {}}}]}",
            "nothing of it is in force: nobody can tell whom it protects",
        ),
        (
            "Segment",
            "{members: {}}",
            "a rule that names it allows nobody for it and denies everybody",
        ),
    ] {
        let meaning = said(kind, spec);
        assert!(meaning.contains(expected), "{kind} {spec}: {meaning}");
    }
    // Nothing stands in for what denies by being absent.
    assert_eq!(
        meaning("{apiVersion: v1, kind: Namespace, metadata: {name: a, lables: {}}}"),
        None
    );
}

#[test]
fn good_objects_beside_bad_ones_are_read() {
    let text = "{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n---\nkind: Oops\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: b}}\n";
    let manifest = read("policies.yaml", text.as_bytes());
    let lines: Vec<u64> = manifest
        .objects
        .iter()
        .map(|located| located.line)
        .collect();
    assert_eq!(lines, [1, 5]);
    assert_eq!(manifest.problems.len(), 1);
}

#[test]
fn lists_and_json_are_manifests_too() {
    let list = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"List\",\n\t\"items\": [\n\t\t{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"a\"}},\n\t\t{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {}}\n\t]\n}\n";
    let manifest = read("list.json", list.as_bytes());
    assert_eq!(manifest.objects.len(), 1, "{:?}", manifest.problems);
    assert_eq!(manifest.objects[0].line, 5);
    assert_eq!(
        manifest.problems[0].to_string(),
        "list.json:6: Namespace: metadata.name: the object has no name; add one"
    );
    let typed = "{apiVersion: v1, kind: NamespaceList, items: [{metadata: {name: a}}]}";
    assert_eq!(read("list.yaml", typed.as_bytes()).problems, []);
    assert_eq!(read("list.yaml", typed.as_bytes()).objects.len(), 1);
}
