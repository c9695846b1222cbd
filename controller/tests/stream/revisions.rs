//! Revisions on their way out, and what becomes of their acks and of questions.

use std::time::Duration;

use bulkhead_graph::NodeGraph;
use bulkhead_source::BootTime;
use tokio::time::timeout;

use crate::controller::{Controller, SOON, workload};

#[tokio::test]
async fn an_agent_gets_a_snapshot_then_deltas_and_its_acks_become_status() {
    let mut controller = Controller::start("deltas", &["n1", "n2"]).await;
    controller
        .apply([
            workload("web", "n1", [10, 0, 0, 1]),
            workload("db", "n2", [10, 0, 0, 2]),
        ])
        .await;
    let mut agent = controller.connect("n1", "n1").await.unwrap();
    let first = agent.realise().await;
    assert_eq!(first.delta.base, NodeGraph::default().digest());
    let names: Vec<&str> = agent
        .held
        .workloads
        .values()
        .map(|workload| &*workload.name)
        .collect();
    assert_eq!(names, ["web"], "its own workloads and no others");

    controller
        .apply([workload("api", "n1", [10, 0, 0, 3])])
        .await;
    let second = agent.realise().await;
    assert_eq!(
        second.delta.base, first.delta.target,
        "a delta from what was acknowledged"
    );
    assert!(second.frontier.reaches(&first.frontier));
    assert_eq!(agent.held.workloads.len(), 2);
    until("n1 realises", || {
        let view = controller
            .shared
            .status()
            .view(controller.board().frontier(), &[]);
        let node = view.nodes.iter().find(|node| node.name == "n1");
        node.is_some_and(|node| node.health == "healthy" && node.realised == node.desired)
    })
    .await;
}

#[tokio::test]
async fn nothing_is_sent_before_the_source_was_read() {
    let mut controller = Controller::start("unread", &["n1"]).await;
    let mut agent = controller.connect("n1", "n1").await.unwrap();
    let silence = timeout(Duration::from_millis(200), agent.incoming.message()).await;
    assert!(
        silence.is_err(),
        "an empty graph would cut every workload off: {silence:?}"
    );
    controller.apply([]).await;
    assert_eq!(
        agent.realise().await.delta.target,
        NodeGraph::default().digest()
    );
}

#[tokio::test]
async fn an_agent_that_asks_hears_how_old_the_inputs_are() {
    let mut controller = Controller::start("asked", &["n1"]).await;
    controller
        .apply([workload("web", "n1", [10, 0, 0, 1])])
        .await;
    let mut agent = controller.connect("n1", "n1").await.unwrap();
    let revision = agent.realise().await;
    let known_at = BootTime::now();
    controller.board().known(known_at);
    let asked = BootTime::now();
    let (digest, answer) = agent.ask(42).await.expect("an answer");
    assert_eq!((digest, answer.at), (revision.delta.target, 42));
    let age = Duration::from_millis(answer.age_ms);
    assert!(age <= asked.since(known_at) + asked.elapsed(), "{age:?}");
    let view = controller
        .shared
        .status()
        .view(controller.board().frontier(), &[]);
    assert!(view.nodes[0].heard_at_ms.is_some());
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let looking = async {
        while !condition() {
            looks.tick().await;
        }
    };
    assert!(
        timeout(SOON, looking).await.is_ok(),
        "{what} did not come true"
    );
}
