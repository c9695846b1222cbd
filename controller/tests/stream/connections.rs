//! Several connections at once.

use std::time::Duration;

use bulkhead_graph::FORMAT;
use bulkhead_wire::Hello;
use serde_json::Value;

use crate::agent::hello;
use crate::controller::{Controller, workload};
use crate::http::get;

#[tokio::test]
async fn stuck_connections_delay_nobody() {
    let mut controller = Controller::start("stuck", &["n1"]).await;
    controller
        .apply([workload("web", "n1", [10, 0, 0, 1])])
        .await;
    let mut stuck = Vec::new();
    for _ in 0..20 {
        stuck.push(
            tokio::net::TcpStream::connect(controller.address)
                .await
                .unwrap(),
        );
    }
    let began = std::time::Instant::now();
    controller
        .connect("n1", "n1")
        .await
        .unwrap()
        .realise()
        .await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "less than one handshake's deadline"
    );
}

#[tokio::test]
async fn a_newer_connection_of_a_node_ends_the_older_one() {
    let mut controller = Controller::start("newer", &["n1"]).await;
    controller
        .apply([workload("web", "n1", [10, 0, 0, 1])])
        .await;
    let mut old = controller.connect("n1", "n1").await.unwrap();
    old.realise().await;
    let mut new = controller.connect("n1", "n1").await.unwrap();
    new.realise().await;
    controller
        .apply([workload("api", "n1", [10, 0, 0, 3])])
        .await;
    new.realise().await;
    let error = old.revision().await.unwrap_err();
    assert!(error.contains("the node has a newer connection"), "{error}");
}

#[tokio::test]
async fn an_agent_that_names_graphs_otherwise_is_told_so_and_gets_none() {
    let mut controller = Controller::start("format", &["n1"]).await;
    controller
        .apply([workload("web", "n1", [10, 0, 0, 1])])
        .await;
    let mut before = controller.connect("n1", "n1").await.unwrap();
    before.realise().await;
    drop(before);
    let other = Hello {
        format: FORMAT + 1,
        version: "9.9.9".to_owned(),
        ..hello("n1")
    };
    let mut agent = controller.greet("n1", other).await.unwrap();
    let error = agent.revision().await.unwrap_err();
    let wanted = format!(
        "the agent (9.9.9) names revisions by format {}, this controller",
        FORMAT + 1
    );
    assert!(error.contains(&wanted), "{error}");
    let node = async || {
        let (_, body) = get(controller.http, "/status").await;
        let mut status: Value = serde_json::from_str(&body).unwrap();
        status["nodes"][0].take()
    };
    let told = node().await;
    assert_eq!(told["health"], "incompatible", "{told}");
    assert_eq!(told["connected"], false, "{told}");
    assert!(
        told["message"].as_str().unwrap().contains(&wanted),
        "{told}"
    );

    let mut upgraded = controller.connect("n1", "n1").await.unwrap();
    upgraded.realise().await;
    let told = node().await;
    assert_ne!(told["health"], "incompatible", "{told}");
}
