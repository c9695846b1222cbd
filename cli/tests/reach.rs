//! The command as a person runs it: manifests in, answers and exit code out.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its input has failed"
)]

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const TWO_PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: frontend, namespace: web, labels: {app: frontend}}
spec: {containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: postgres, namespace: db, labels: {app: postgres}}
spec: {containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.0.0.2}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-frontend, namespace: db}
spec:
  podSelector: {}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: web}}}]
    ports: [{port: 5432}]
";

fn bulkhead(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn verdict<'a>(answer: &'a Value, source: &str, destination: &str, port: u64) -> &'a Value {
    let verdicts = answer["verdicts"].as_array().unwrap();
    let is_it =
        |v: &&Value| v["source"] == source && v["destination"] == destination && v["port"] == port;
    verdicts
        .iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("no verdict {source} → {destination}:{port}"))
}

#[test]
fn the_matrix_has_every_ordered_pair_and_both_sides() {
    for engine in ["oracle", "compiled"] {
        let arguments = [
            "reach",
            "-f",
            "-",
            "--port",
            "tcp/5432",
            "--port",
            "tcp/22",
            "--external",
            "192.0.2.1",
            "-o",
            "json",
        ];
        let answer = json(&bulkhead(
            &[&arguments[..], &["--engine", engine]].concat(),
            TWO_PODS,
        ));
        // Two workloads among themselves, and each with the outside both ways; for two ports.
        assert_eq!(answer["verdicts"].as_array().unwrap().len(), 2 * (4 + 4));
        let open = verdict(&answer, "web/frontend", "db/postgres", 5432);
        assert_eq!(open["allowed"], true);
        assert_eq!(open["intended"], true);
        assert_eq!(open["protocol"], "TCP");
        assert_eq!(
            open["ingress"]["rule"],
            "NetworkPolicy db/only-frontend ingress[0]"
        );
        assert_eq!(open["egress"]["rule"], "no policy isolates it");
        let shut = verdict(&answer, "web/frontend", "db/postgres", 22);
        assert_eq!(shut["allowed"], false);
        assert_eq!(shut["egress"]["allowed"], true);
        assert_eq!(
            shut["ingress"]["rule"],
            "isolated by NetworkPolicy db/only-frontend"
        );
        assert_eq!(
            verdict(&answer, "192.0.2.1", "db/postgres", 5432)["allowed"],
            false
        );
        assert_eq!(
            verdict(&answer, "db/postgres", "192.0.2.1", 5432)["allowed"],
            true
        );
    }
}

#[test]
fn a_pod_without_address_is_named() {
    let input =
        "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}, spec: {containers: []}}";
    let output = bulkhead(&["reach", "-f", "-", "--port", "tcp/80"], input);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("Pod x/a: status.podIP: it has no address"),
        "{said}"
    );
}

#[test]
fn an_unreadable_object_gives_no_answer() {
    let broken = TWO_PODS.replace("podSelector: {}", "podSelektor: {}");
    let output = bulkhead(&["reach", "-f", "-", "--port", "tcp/80"], &broken);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("standard input:18: NetworkPolicy db/only-frontend: spec.podSelektor: "),
        "{said}"
    );
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    for port in ["tcp/0", "tcp/http", "80", "quic/443"] {
        assert_eq!(
            bulkhead(&["reach", "-f", "-", "--port", port], "")
                .status
                .code(),
            Some(2),
            "{port}"
        );
    }
}

#[test]
fn the_table_shows_a_matrix() {
    let output = bulkhead(&["reach", "-f", "-", "--port", "tcp/22"], TWO_PODS);
    let expected = "\
tcp/22 from \\ to  db/postgres  web/frontend
db/postgres       yes          yes
web/frontend      no           yes

3 of 4 flows are allowed
";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn explain_names_the_rule_of_each_side() {
    let output = bulkhead(
        &["explain", "-f", "-", "frontend", "db/postgres:5432"],
        TWO_PODS,
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("web/frontend → db/postgres:5432 TCP (10.0.0.1 → 10.0.0.2): ALLOWED\n"),
        "{said}"
    );
    assert!(
        said.contains("namespace tier     allowed: NetworkPolicy db/only-frontend ingress[0]"),
        "{said}"
    );
    let output = bulkhead(&["explain", "-f", "-", "frontend", "cache:80"], TWO_PODS);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("there is no workload cache"), "{said}");
}

#[test]
fn ten_thousand_verdicts_compiled_take_well_under_a_second() {
    let mut input = TWO_PODS.to_owned();
    for index in 0..98 {
        input.push_str(&format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{index}, namespace: web, labels: {{app: a{}}}}}, \
             spec: {{nodeName: n{}, containers: []}}, status: {{phase: Running, podIP: 10.0.1.{index}}}}}\n",
            index % 7,
            index % 3,
        ));
    }
    let arguments = [
        "reach", "-f", "-", "--port", "tcp/80", "--engine", "compiled", "-o", "json",
    ];
    // The fastest of a few runs: others use the machine too.
    let fastest = (0..3)
        .map(|_| {
            let start = Instant::now();
            let answer = json(&bulkhead(&arguments, &input));
            assert_eq!(answer["verdicts"].as_array().unwrap().len(), 10_000);
            start.elapsed()
        })
        .min()
        .unwrap();
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

/// Needs root and a build with `--features kernel` and the kernel programs (`cargo xtask build-ebpf`).
#[cfg(feature = "kernel")]
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
    let of = |answer: &Value| -> Vec<Value> {
        let mut verdicts = answer["verdicts"].as_array().unwrap().clone();
        for verdict in &mut verdicts {
            for side in ["egress", "ingress"] {
                verdict[side].as_object_mut().unwrap().remove("rule");
            }
        }
        verdicts
    };
    assert_eq!(of(&oracle).len(), of(&kernel).len());
    for (expected, found) in of(&oracle).iter().zip(of(&kernel)) {
        assert_eq!(*expected, found);
    }
    let programs = kernel["programs"].as_array().unwrap();
    assert_eq!(programs.len(), 2, "one node, two hooks: {programs:?}");
    for program in programs {
        assert_ne!(program["tag"], "0000000000000000");
        assert!(program["runCount"].as_u64().unwrap() > 0, "{program}");
    }
}
