//! An API server that nobody can reach.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::error::Error as _;

use bulkhead_source::Freshness;
use bulkhead_source::kubernetes::watch;
use kube::{Client, Config};

#[tokio::test]
async fn an_api_server_that_is_not_there_is_named_with_the_systems_reason_once() {
    // Port 9 is "discard": nobody has listened there for decades.
    let config = Config::new("http://127.0.0.1:9".parse().unwrap());
    let client = Client::try_from(config).unwrap();
    let Err(error) = watch(client, Freshness::default()).await else {
        panic!("followed nobody")
    };
    let said = error.to_string();
    assert!(said.starts_with("namespace kube-system: "), "{said}");
    assert!(
        said.contains("; the controller needs to reach the API server"),
        "{said}"
    );
    assert_eq!(said.matches("Connection refused").count(), 1, "{said}");
    // Nothing that a chain of causes would add.
    assert!(error.source().is_none());
}
