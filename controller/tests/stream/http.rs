//! What operators ask over HTTP, and where.

use std::net::SocketAddr;

use bulkhead_controller::run::Listeners;
use bulkhead_policy::model::Object;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::controller::{Controller, SOON};

#[tokio::test]
async fn an_address_in_use_is_named_with_its_flag() {
    let any = "127.0.0.1:0".parse().unwrap();
    let first = Listeners::bind(any, any).await.unwrap();
    let taken = first.http.local_addr().unwrap();
    let error = Listeners::bind(any, taken).await.map(drop).unwrap_err();
    assert!(
        format!("{error:#}").contains(&format!("--http {taken}: cannot listen there")),
        "{error:#}"
    );
}

#[tokio::test]
async fn g16_the_rule_behind_what_an_audit_saw_is_told_by_policy_and_rule() {
    let mut controller = Controller::start("rule", &["n1"]).await;
    let manifests = "
{apiVersion: bulkhead.dev/v1alpha1, kind: Workload, metadata: {name: frontend, namespace: web}, spec: {addresses: [10.0.0.1], node: n1}}
---
{apiVersion: bulkhead.dev/v1alpha1, kind: Workload, metadata: {name: postgres, namespace: db}, spec: {addresses: [10.0.0.2], node: n1}}
---
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: databases}
spec:
  members: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: db}}}]
  isolation: {ingress: Deny, egress: Allow, within: Allow}
  mode: Audit
---
apiVersion: bulkhead.dev/v1alpha1
kind: SegmentationPolicy
metadata: {name: telnet, namespace: web}
spec:
  subjects: [{pods: {}}]
  mode: Audit
  egress: [{name: no-telnet, action: Deny, to: [{everyone: {}}], ports: [{port: {protocol: TCP, number: 23}}]}]
";
    let read = bulkhead_crds::manifest::read("m.yaml", manifests.as_bytes());
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    let objects: Vec<Object> = read.objects.into_iter().map(|it| it.object).collect();
    controller.apply(objects).await;
    let mut agent = controller.connect("n1", "n1").await.unwrap();
    agent.realise().await;
    let told = async |path: &str| {
        let (line, body) = get(controller.http, path).await;
        assert!(line.contains(" 200 "), "{path}: {line}: {body}");
        let told: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(told["enforced"]["allowed"], true, "{path}: {told}");
        assert_eq!(told["intended"]["allowed"], false, "{path}: {told}");
        told["intended"]["rule"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        told("/rule/10.0.0.2/ingress/10.0.0.1/tcp/5432").await,
        "isolated by Segment databases"
    );
    assert_eq!(
        told("/rule/10.0.0.1/egress/203.0.113.7/tcp/23").await,
        "SegmentationPolicy web/telnet egress[0] (no-telnet)"
    );
    let refused = async |path: &str| get(controller.http, path).await.0;
    assert!(
        refused("/rule/10.0.0.9/egress/10.0.0.1/tcp/1")
            .await
            .contains(" 404 ")
    );
    assert!(
        refused("/rule/10.0.0.1/across/10.0.0.2/tcp/1")
            .await
            .contains(" 400 ")
    );
}

/// A GET, with the answer's first line and body.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let line = head.lines().next().unwrap_or_default();
    (line.to_owned(), body.to_owned())
}
