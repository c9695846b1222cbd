//! `--engine kernel`: needs root, a build with `--features kernel`, and the kernel programs (`cargo xtask build-ebpf`).
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its input has failed"
)]

mod command;

use serde_json::Value;

use command::{TWO_PODS, bulkhead, json};

/// Frontend and cart on one node, the database on another one. The database lets its clients in by one port, and cart may
/// not leave its namespace.
const TWO_NODES: &str = "
apiVersion: v1
kind: Pod
metadata: {name: frontend, namespace: web, labels: {app: frontend}}
spec: {nodeName: n1, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: web, labels: {app: cart}}
spec: {nodeName: n1, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.0.3, podIPs: [{ip: 10.0.0.3}, {ip: 'fd00::3'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: postgres, namespace: db, labels: {app: postgres}}
spec: {nodeName: n2, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}, {ip: 'fd00::2'}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-clients, namespace: db}
spec:
  podSelector: {}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web}}}]
    ports: [{port: 5432}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: stays-inside, namespace: web}
spec:
  podSelector: {matchLabels: {app: cart}}
  policyTypes: [Egress]
  egress:
  - to: [{podSelector: {}}]
";

/// Both have the same verdicts, side by side. Why is told in other words: the programs know reasons, and no rules.
fn agree(oracle: &Value, kernel: &Value) {
    let of = |answer: &Value| -> Vec<Value> {
        let mut verdicts = answer["verdicts"].as_array().unwrap().clone();
        for verdict in &mut verdicts {
            for side in ["egress", "ingress"] {
                verdict[side].as_object_mut().unwrap().remove("rule");
            }
        }
        verdicts
    };
    assert_eq!(of(oracle).len(), of(kernel).len());
    for (expected, found) in of(oracle).iter().zip(of(kernel)) {
        assert_eq!(*expected, found);
    }
}

/// How often the kernel ran each program, by node and hook, in the order of the answer.
fn runs(answer: &Value) -> Vec<(&str, &str, u64)> {
    let programs = answer["programs"].as_array().unwrap().iter();
    programs
        .map(|program| {
            (
                program["node"].as_str().unwrap(),
                program["program"].as_str().unwrap(),
                program["runCount"].as_u64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_kernels_programs_agree_with_the_oracle_and_show_that_they_ran() {
    let audited = "---
apiVersion: bulkhead.dev/v1alpha1
kind: SegmentationPolicy
metadata: {name: draft, namespace: web}
spec: {mode: Audit, subjects: [{pods: {}}], isolates: [Ingress]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: web, labels: {app: cart}}
spec: {nodeName: n1, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.0.3, podIPs: [{ip: 10.0.0.3}, {ip: 'fd00::3'}]}
";
    let input = format!(
        "{}{audited}",
        TWO_PODS.replace("spec: {containers", "spec: {nodeName: n1, containers")
    );
    let ask = |engine| {
        let arguments = [
            "reach", "-f", "-", "--port", "tcp/5432", "--port", "udp/53", "--port", "icmp",
        ];
        let rest = ["--external", "192.0.2.1", "-o", "json", "--engine", engine];
        json(&bulkhead(&[&arguments[..], &rest].concat(), &input))
    };
    let (oracle, kernel) = (ask("oracle"), ask("kernel"));
    agree(&oracle, &kernel);
    let programs = kernel["programs"].as_array().unwrap();
    assert_eq!(programs.len(), 2, "one node, two hooks: {programs:?}");
    for program in programs {
        assert_ne!(program["tag"], "0000000000000000");
        assert!(program["runCount"].as_u64().unwrap() > 0, "{program}");
    }
}

#[test]
fn a_flow_between_nodes_is_judged_by_the_tables_of_both() {
    let ask = |engine| {
        let arguments = [
            "reach", "-f", "-", "--port", "tcp/5432", "--port", "tcp/22", "--port", "icmp",
        ];
        let rest = ["--external", "192.0.2.1", "-o", "json", "--engine", engine];
        json(&bulkhead(&[&arguments[..], &rest].concat(), TWO_NODES))
    };
    let (oracle, kernel) = (ask("oracle"), ask("kernel"));
    agree(&oracle, &kernel);
    let verdicts = kernel["verdicts"].as_array().unwrap();
    // Each crosses from one node to the other: what the sender's says of it, and what the receiver's.
    for (source, destination, port, leaves, enters) in [
        ("web/frontend", "db/postgres", 5432_u64, true, true),
        ("web/frontend", "db/postgres", 22, true, false),
        ("web/cart", "db/postgres", 5432, false, true),
        ("web/cart", "db/postgres", 22, false, false),
        ("db/postgres", "web/frontend", 22, true, true),
        ("db/postgres", "web/cart", 22, true, true),
    ] {
        let is_it = |it: &&Value| {
            it["source"] == source && it["destination"] == destination && it["port"] == port
        };
        let found = verdicts.iter().find(is_it).unwrap();
        assert_eq!(found["egress"]["allowed"], leaves, "{found}");
        assert_eq!(found["ingress"]["allowed"], enters, "{found}");
        assert_eq!(found["allowed"], leaves && enters, "{found}");
    }
    // For each of three ports: from one address of frontend's and two of cart's to everybody who has the family, and
    // back; and the same for the two of the database. The address outside has no node that is asked.
    let (of_n1, of_n2): (u64, u64) = (3 * (4 + 4 + 2), 3 * (4 + 2));
    assert_eq!(
        runs(&kernel),
        [
            ("n1", "from_workload", of_n1),
            ("n1", "to_workload", of_n1),
            ("n2", "from_workload", of_n2),
            ("n2", "to_workload", of_n2),
        ]
    );
    // The same two programs on both nodes; only the tables are others.
    let tags: Vec<&Value> = (0..4_usize)
        .map(|at| &kernel["programs"][at]["tag"])
        .collect();
    assert_ne!(*tags[0], "0000000000000000");
    assert_ne!(tags[0], tags[1]);
    assert_eq!(tags[..2], tags[2..]);
}

#[test]
fn explain_asks_the_senders_hook_on_one_node_and_the_receivers_on_the_other() {
    let ask = |destination, output| {
        let arguments = ["explain", "-f", "-", "--engine", "kernel", "-o", output];
        let ends = ["web/frontend", destination];
        bulkhead(&[&arguments[..], &ends].concat(), TWO_NODES)
    };
    for (destination, enters) in [("db/postgres:5432", true), ("db/postgres:22", false)] {
        let answer = json(&ask(destination, "json"));
        assert_eq!(answer["flows"].as_array().unwrap().len(), 1, "{answer}");
        let flow = &answer["flows"][0];
        assert_eq!(flow["enforced"]["allowed"], enters);
        let engine = &flow["engine"];
        assert_eq!(engine["allowed"], enters);
        assert_eq!(engine["intended"], enters);
        assert_eq!(engine["egress"]["allowed"], true);
        assert_eq!(engine["egress"]["rule"], "kernel: opened");
        assert_eq!(engine["ingress"]["allowed"], enters);
        // The receiver's half is asked on its own node, and nobody else is asked anything.
        assert_eq!(
            runs(&answer),
            [
                ("n1", "from_workload", 1),
                ("n1", "to_workload", 0),
                ("n2", "from_workload", 0),
                ("n2", "to_workload", 1),
            ],
            "{destination}"
        );
    }
    let said = String::from_utf8(ask("db/postgres:22", "table").stdout).unwrap();
    assert!(
        said.contains(
            "The engine: denied; egress allowed (kernel: opened), ingress denied (kernel: "
        ),
        "{said}"
    );
    assert!(
        said.contains("node n2: the kernel ran to_workload (tag "),
        "{said}"
    );
}
