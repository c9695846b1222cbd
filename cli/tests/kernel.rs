//! `--engine kernel`: needs root, a build with `--features kernel`, and the kernel programs (`cargo xtask build-ebpf`).
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its input has failed"
)]

mod command;

use serde_json::Value;

use command::{TWO_PODS, bulkhead, json};

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
