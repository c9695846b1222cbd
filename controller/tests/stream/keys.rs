//! Who is let in: keys, authorities, and names in certificates.

use std::time::Duration;

use bulkhead_controller::clock;
use bulkhead_controller::tls::Tls;
use tokio::time::timeout;

use crate::agent::{Agent, hello};
use crate::controller::{Controller, Folder, SOON, workload};

#[test]
fn keys_that_are_missing_or_expired_are_named_with_what_to_do() {
    let missing = Tls::load(std::path::Path::new("/nowhere"), clock::now()).unwrap_err();
    let text = format!("{missing:#}");
    assert!(
        text.contains("/nowhere/ca.crt") && text.contains("bulkhead-controller init"),
        "{text}"
    );
    let keys = Folder::new("expired", &[]);
    let later = bulkhead_graph::Timestamp(clock::now().0 + 2 * 24 * 3_600_000);
    let text = format!("{:#}", Tls::load(keys.path(), later).unwrap_err());
    assert!(
        text.contains("controller.crt: the certificate has expired; `bulkhead-controller init"),
        "{text}"
    );
}

#[tokio::test]
async fn new_key_files_are_taken_up_without_a_restart_and_bad_ones_change_nothing() {
    let controller = Controller::start("reload", &["n1"]).await;
    drop(controller.connect("n1", "n1").await.unwrap());
    // Another authority, and everything that it vouches for.
    let others = Folder::new("reload-others", &["n1"]);
    let connect = async |keys: &Folder| {
        let path = keys.path();
        Agent::connect(controller.address, path, path, "n1", hello("n1")).await
    };
    assert!(connect(&others).await.is_err());
    let copy = |name: &str| {
        let (from, to) = (others.path().join(name), controller.keys.path().join(name));
        std::fs::copy(from, to).unwrap();
    };
    let old = Folder::new("reload-old", &[]);
    std::fs::remove_dir_all(old.path()).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([controller.keys.path(), old.path()])
        .status();
    assert!(copied.unwrap().success());
    // A certificate without its key: the earlier files stay in force.
    copy("controller.crt");
    drop(connect(&old).await.unwrap());
    copy("controller.key");
    copy("ca.crt");
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    let taken_up = async {
        while connect(&others).await.is_err() {
            looks.tick().await;
        }
    };
    timeout(SOON, taken_up).await.expect("taken up in time");
    assert!(
        connect(&old).await.is_err(),
        "the old authority counts no more"
    );
}

#[tokio::test]
async fn an_agent_cannot_be_another_node() {
    let mut controller = Controller::start("another", &["n1", "n2"]).await;
    controller
        .apply([workload("db", "n2", [10, 0, 0, 2])])
        .await;
    let mut liar = controller.connect("n1", "n2").await.unwrap();
    let error = liar.revision().await.unwrap_err();
    assert!(
        error.contains("the certificate is for node n1, not for n2"),
        "{error}"
    );
}

#[tokio::test]
async fn a_certificate_of_another_authority_opens_nothing() {
    let mut controller = Controller::start("authority", &["n1"]).await;
    controller.apply([]).await;
    let foreign = Folder::new("foreign", &["n1"]);
    let attempt = Agent::connect(
        controller.address,
        controller.keys.path(),
        foreign.path(),
        "n1",
        hello("n1"),
    )
    .await;
    let error = match attempt {
        Err(error) => error,
        Ok(mut agent) => agent.revision().await.unwrap_err(),
    };
    assert!(!error.contains("nothing came"), "{error}");
    let attempt = Agent::connect(
        controller.address,
        foreign.path(),
        controller.keys.path(),
        "n1",
        hello("n1"),
    )
    .await;
    assert!(
        attempt.is_err(),
        "and the agent trusts no other controller either"
    );
}
