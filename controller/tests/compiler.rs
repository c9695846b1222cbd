//! The compiler's thread under questions that leave it no pause.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_controller::publish::Pace;
use bulkhead_controller::run::{Inputs, start_compiler};
use bulkhead_controller::server::Shared;
use bulkhead_policy::engine::EngineConfig;
use bulkhead_policy::model::Event;
use bulkhead_source::names::{Answer, line};
use bulkhead_source::{BootTime, Freshness, Update};
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
        name_patience: Duration::ZERO,
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

#[tokio::test]
async fn what_waits_for_names_is_not_known_to_the_nodes() {
    let shared = Arc::new(Shared::new(Pace::default()));
    let freshness = Freshness::default();
    let (updates, receiver) = mpsc::channel(4);
    let (lookups, mut asker) = line();
    let inputs = Inputs {
        updates: receiver,
        freshness: freshness.clone(),
        lookups,
        name_patience: SOON,
    };
    let questions = start_compiler(shared.clone(), EngineConfig::default(), inputs).unwrap();
    let manifest = "{apiVersion: bulkhead.dev/v1alpha1, kind: Segment, metadata: {name: s}, spec: {domains: [a.b]}}";
    let objects = bulkhead_crds::manifest::read("m.yaml", manifest.as_bytes()).objects;
    let events = objects
        .into_iter()
        .map(|it| Event::Apply(it.object))
        .collect();
    updates
        .send(Update {
            events,
            ..Update::default()
        })
        .await
        .unwrap();
    let known_at = BootTime::now();
    freshness.reached(known_at);
    let wanted = asker.wanted.changed();
    timeout(SOON, wanted).await.unwrap().unwrap();
    let look = async || {
        questions.objects(BTreeSet::new()).await.unwrap();
        (shared.board.frontier().is_some(), shared.board.known_at())
    };
    // Longer than the compiler ever sleeps.
    let held = async { while look().await == (false, None) {} };
    timeout(Duration::from_millis(1_500), held)
        .await
        .expect_err("nothing is told yet");
    let answer = Answer::whole("a.b".into(), ["203.0.113.1".parse().unwrap()]);
    asker.answers.send(answer).await.unwrap();
    let told = async { while look().await != (true, Some(known_at)) {} };
    timeout(SOON, told).await.expect("in time");
}
