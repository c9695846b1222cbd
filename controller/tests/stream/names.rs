//! Names of the outside world from the segment to the agent, with answers that this test gives.

use std::time::Duration;

use bulkhead_policy::model::Object;
use bulkhead_source::names::{Answer, Asker};
use tokio::time::timeout;

use crate::controller::{Controller, SOON};
use crate::http::get;

const NAME: &str = "api.example.org";

const MANIFESTS: &str = "
{apiVersion: bulkhead.dev/v1alpha1, kind: Workload, metadata: {name: frontend, namespace: web}, spec: {addresses: [10.0.0.1], node: n1}}
---
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: partner}
spec: {domains: [api.example.org]}
---
apiVersion: bulkhead.dev/v1alpha1
kind: SegmentationPolicy
metadata: {name: out, namespace: web}
spec:
  subjects: [{pods: {}}]
  isolates: [Egress]
  egress: [{name: partner, action: Allow, to: [{segment: partner}], ports: [{port: {protocol: TCP, number: 443}}]}]
";

fn objects() -> Vec<Object> {
    let read = bulkhead_crds::manifest::read("m.yaml", MANIFESTS.as_bytes());
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    read.objects.into_iter().map(|it| it.object).collect()
}

async fn answer(asker: &Asker, addresses: &[&str]) {
    let addresses = addresses.iter().map(|text| text.parse().unwrap());
    let answer = Answer::whole(NAME.into(), addresses);
    asker.answers.send(answer).await.unwrap();
}

async fn may(controller: &Controller, address: &str) -> bool {
    let path = format!("/rule/10.0.0.1/egress/{address}/tcp/443");
    let (line, body) = get(controller.http, &path).await;
    assert!(line.contains(" 200 "), "{line}: {body}");
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    told["enforced"]["allowed"].as_bool().unwrap()
}

async fn page(controller: &Controller, path: &str) -> String {
    get(controller.http, path).await.1
}

#[tokio::test]
async fn an_answer_opens_what_a_name_allows_on_the_node_and_nothing_before_it_does() {
    let mut controller = Controller::start("names", &["n1"]).await;
    let mut asker = controller.asker.take().unwrap();
    controller.apply(objects()).await;
    let mut agent = controller.connect("n1", "n1").await.unwrap();
    let before = agent.realise().await;
    let wanted = asker.wanted.wait_for(|names| names.contains(NAME));
    timeout(SOON, wanted).await.unwrap().unwrap();
    assert!(!may(&controller, "203.0.113.1").await);
    let status = page(&controller, "/status").await;
    assert!(
        status.contains("api.example.org has no answer yet"),
        "{status}"
    );
    let metrics = page(&controller, "/metrics").await;
    assert!(
        metrics.contains("bulkhead_controller_names_unresolved 1"),
        "{metrics}"
    );

    answer(&asker, &["203.0.113.1"]).await;
    let after = agent.realise().await;
    assert_ne!(after.delta.target, before.delta.target);
    assert!(
        after.frontier.reaches(&before.frontier) && before.frontier.reaches(&after.frontier),
        "the inputs are the same"
    );
    assert!(may(&controller, "203.0.113.1").await);
    assert!(!may(&controller, "203.0.113.2").await);
    let status: serde_json::Value =
        serde_json::from_str(&page(&controller, "/status").await).unwrap();
    assert_eq!(status["problems"], serde_json::json!([]));
    let metrics = page(&controller, "/metrics").await;
    for line in [
        "bulkhead_controller_names 1",
        "bulkhead_controller_names_unresolved 0",
        "bulkhead_controller_name_addresses 1",
        "bulkhead_controller_name_failures_total 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }

    // What the source says next leaves the name known.
    controller.apply(objects()).await;
    answer(&asker, &["203.0.113.2"]).await;
    agent.realise().await;
    assert!(may(&controller, "203.0.113.1").await);
    assert!(may(&controller, "203.0.113.2").await);
}

#[tokio::test]
async fn g3_a_controller_that_has_just_started_tells_nodes_nothing_before_it_knows_the_names() {
    let mut controller = Controller::patient("names-start", &["n1"], SOON).await;
    let mut asker = controller.asker.take().unwrap();
    let mut agent = controller.connect("n1", "n1").await.unwrap();
    controller.apply(objects()).await;
    let wanted = asker.wanted.wait_for(|names| names.contains(NAME));
    timeout(SOON, wanted).await.unwrap().unwrap();
    // The compiler's thread answers this after it has done with the update.
    let status = page(&controller, "/status").await;
    assert!(
        status.contains("api.example.org has no answer yet"),
        "{status}"
    );
    assert_eq!(
        controller.board().frontier(),
        None,
        "nodes keep what they have"
    );
    answer(&asker, &["203.0.113.1"]).await;
    let first = agent.realise().await;
    let networks = format!("{:?}", first.delta.rule_sets);
    assert!(
        networks.contains("203.0.113.1"),
        "the first graph has the name: {networks}"
    );
    assert!(may(&controller, "203.0.113.1").await);
}

#[tokio::test]
async fn g3_names_that_nobody_answers_hold_nodes_up_no_longer_than_the_patience() {
    let patience = Duration::from_millis(100);
    let mut controller = Controller::patient("names-silent", &["n1"], patience).await;
    controller.apply(objects()).await;
    let mut agent = controller.connect("n1", "n1").await.unwrap();
    agent.realise().await;
    assert!(!may(&controller, "203.0.113.1").await);
}
