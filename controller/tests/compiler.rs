//! The compiler's thread under questions that leave it no pause.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_controller::publish::Pace;
use bulkhead_controller::run::{Inputs, start_compiler};
use bulkhead_controller::server::Shared;
use bulkhead_policy::engine::EngineConfig;
use bulkhead_source::names::line;
use bulkhead_source::{BootTime, Freshness};
use tokio::sync::mpsc;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_is_known_reaches_the_nodes_however_often_somebody_asks() {
    let shared = Arc::new(Shared::new(Pace::default()));
    let freshness = Freshness::default();
    let (_updates, receiver) = mpsc::channel(4);
    let inputs = Inputs {
        updates: receiver,
        freshness: freshness.clone(),
        lookups: line().0,
    };
    let questions = start_compiler(shared.clone(), EngineConfig::default(), inputs).unwrap();
    let known_at = BootTime::now();
    freshness.reached(known_at);
    let asking = async {
        while shared.board.known_at() != Some(known_at) {
            questions.objects(BTreeSet::new()).await.unwrap();
        }
    };
    timeout(SOON, asking).await.expect("in time");
}
