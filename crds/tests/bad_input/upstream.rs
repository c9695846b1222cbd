//! What an API server would refuse of the policies that are not ours.

use crate::expect::check;

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
