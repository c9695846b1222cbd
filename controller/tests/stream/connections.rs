//! Several connections at once.

use std::time::Duration;

use crate::controller::{Controller, workload};

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
