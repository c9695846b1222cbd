//! The command as a person runs it: manifests in, answers and exit code out.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its input has failed"
)]

mod command;

use std::time::{Duration, Instant};

use serde_json::Value;

use command::{TWO_PODS, bulkhead, json};

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
fn a_name_in_manifests_is_judged_without_an_answer_and_a_warning_says_so() {
    let input = "
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}, spec: {containers: []}, status: {podIP: 10.0.0.1}}
---
{apiVersion: bulkhead.dev/v1alpha1, kind: Segment, metadata: {name: s}, spec: {domains: [a.b]}}
---
apiVersion: bulkhead.dev/v1alpha1
kind: SegmentationPolicy
metadata: {name: out, namespace: x}
spec: {subjects: [{pods: {}}], egress: [{action: Deny, to: [{segment: s}], ports: [{port: {protocol: TCP, number: 80}}]}]}
";
    let arguments = ["explain", "-f", "-", "x/a", "203.0.113.1:80"];
    let output = bulkhead(&arguments, input);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(
            "standard input:4: Segment s: spec.domains[0]: no name server is asked for a.b here"
        ),
        "{said}"
    );
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("DENIED"), "{told}");
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
fn ends_without_a_common_family_are_in_the_matrix_and_cannot_reach_each_other() {
    for engine in ["oracle", "compiled"] {
        let arguments = [
            "reach",
            "-f",
            "-",
            "--port",
            "tcp/22",
            "--external",
            "2001:db8::1",
            "-o",
            "json",
            "--engine",
            engine,
        ];
        let answer = json(&bulkhead(&arguments, TWO_PODS));
        assert_eq!(answer["verdicts"].as_array().unwrap().len(), 4 + 4);
        let none = verdict(&answer, "web/frontend", "2001:db8::1", 22);
        assert_eq!(none["allowed"], false);
        assert_eq!(none["egress"]["rule"], "no address family in common");
    }
}

#[test]
fn explain_asks_other_engines_and_concerns_only_the_two_ends() {
    // Somebody else without an address is no reason to be silent about these two.
    let input = format!(
        "{TWO_PODS}---
apiVersion: v1
kind: Pod
metadata: {{name: starting, namespace: web}}
spec: {{containers: [{{name: c, image: i}}]}}
status: {{phase: Pending}}
"
    );
    let ask = |destination| {
        let arguments = ["explain", "-f", "-", "--engine", "compiled", "-o", "json"];
        bulkhead(
            &[&arguments[..], &["frontend", destination]].concat(),
            &input,
        )
    };
    let answer = json(&ask("db/postgres:5432"));
    let flow = &answer["flows"][0];
    assert_eq!(flow["sourceAddress"], "10.0.0.1");
    assert_eq!(flow["enforced"]["allowed"], true);
    assert_eq!(flow["engine"]["allowed"], true);
    assert_eq!(
        flow["engine"]["ingress"]["rule"],
        "NetworkPolicy db/only-frontend ingress[0]"
    );
    let said = String::from_utf8(ask("starting:80").stderr).unwrap();
    assert!(said.contains("Pod web/starting: status.podIP"), "{said}");
}

#[test]
fn status_without_a_controller_names_the_address_and_what_to_look_at() {
    // Port 9 is "discard": nobody has listened there for decades.
    let output = bulkhead(&["status", "--controller", "http://127.0.0.1:9/"], "");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("http://127.0.0.1:9/status: the controller does not answer"),
        "{said}"
    );
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

#[test]
fn g16_a_service_that_was_left_out_is_named_with_limit_and_remedy_by_oracle_and_tables() {
    let ports: Vec<String> = (1..=257)
        .map(|port| format!("{{name: p{port}, port: {port}, protocol: TCP}}"))
        .collect();
    let manifests = format!(
        "{TWO_PODS}---\napiVersion: v1\nkind: Service\nmetadata: {{name: many, namespace: db}}\n\
         spec: {{clusterIP: 172.30.0.1, clusterIPs: [172.30.0.1], ports: [{}]}}\n",
        ports.join(", ")
    );
    for engine in ["oracle", "compiled"] {
        let answer = json(&bulkhead(
            &[
                "reach",
                "-f",
                "-",
                "--port",
                "tcp/257",
                "--external",
                "172.30.0.1",
                "-o",
                "json",
                "--engine",
                engine,
            ],
            &manifests,
        ));
        let shut = verdict(&answer, "web/frontend", "172.30.0.1", 257);
        assert_eq!(shut["allowed"], false);
        assert_eq!(
            shut["egress"]["rule"],
            "Service db/many has ports that were left out, because the Services of its namespace have more than 256 different \
             ports; remove Services or spread them",
            "{engine}"
        );
    }
}
