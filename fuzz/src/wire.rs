//! The stream: bytes become messages or errors that name a field; what became a message is encoded as what it was; and a
//! delta makes the graph that it names or none.
//!
//! The first byte says what the rest is meant to be.

use std::sync::Arc;

use bulkhead_encode::{Clock, Limits, Memory, Need, fit};
use bulkhead_graph::{Delta, DeltaError, NodeGraph, Timestamp};
use bulkhead_wire::{
    FromAgent, FromController, Frontier, Malformed, decode_delta, encode_delta, proto,
};
use prost::Message;

/// What the first byte says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Agent,
    Controller,
    Frontier,
    Delta,
}

/// An input.
pub(crate) fn packed(kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let mut input = vec![kind as u8];
    input.extend(bytes);
    input
}

/// Feeds bytes from the stream.
///
/// # Panics
/// If they are taken for something that they do not say.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind & 3 {
        0 => agent(bytes),
        1 => controller(bytes),
        2 => frontier(bytes),
        _ => delta(bytes),
    }
}

fn is_named(error: &Malformed) {
    assert!(
        !error.field.is_empty() && !error.problem.is_empty(),
        "an error without a place: {error:?}"
    );
}

fn agent(bytes: &[u8]) {
    let Ok(message) = proto::AgentMessage::decode(bytes) else {
        return;
    };
    match FromAgent::try_from(message) {
        Err(error) => is_named(&error),
        Ok(typed) => {
            let bytes = proto::AgentMessage::from(&typed).encode_to_vec();
            let again = proto::AgentMessage::decode(&bytes[..]).expect("own bytes");
            assert_eq!(FromAgent::try_from(again), Ok(typed));
        }
    }
}

fn controller(bytes: &[u8]) {
    let Ok(message) = proto::ControllerMessage::decode(bytes) else {
        return;
    };
    match FromController::try_from(message) {
        Err(error) => is_named(&error),
        Ok(typed) => {
            let bytes = proto::ControllerMessage::from(typed.clone()).encode_to_vec();
            let again = proto::ControllerMessage::decode(&bytes[..]).expect("own bytes");
            assert_eq!(FromController::try_from(again), Ok(typed));
        }
    }
}

fn frontier(bytes: &[u8]) {
    match Frontier::from_bytes(bytes) {
        Err(error) => is_named(&error),
        Ok(frontier) => {
            assert!(frontier.reaches(&frontier));
            assert_eq!(Frontier::from_bytes(&frontier.to_bytes()), Ok(frontier));
        }
    }
}

fn delta(bytes: &[u8]) {
    let base = NodeGraph::default();
    let delta = match decode_delta(base.digest(), base.digest(), bytes) {
        Err(error) => return is_named(&error),
        Ok(delta) => delta,
    };
    let again = decode_delta(delta.base, delta.target, &encode_delta(&delta));
    assert_eq!(again.as_ref(), Ok(&delta));
    let graph = match delta.apply(&base) {
        Ok(graph) => graph,
        // The digest is a hash that no input hits by chance: take it from the error, and see what comes behind it.
        Err(DeltaError::WrongDigest { actual, .. }) => {
            let named = Delta {
                target: actual,
                ..delta
            };
            named.apply(&base).expect("a delta that names its outcome")
        }
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let snapshot = Delta::snapshot(&graph);
    let sent = decode_delta(snapshot.base, snapshot.target, &encode_delta(&snapshot));
    let there = sent
        .expect("a snapshot of a graph that was taken")
        .apply(&base)
        .expect("and so is its outcome");
    assert_eq!(there.digest(), graph.digest());
    compile(&graph);
}

/// What an agent does with a graph before it writes: what has no room is denied, and the rest has numbers.
pub(crate) fn compile(graph: &NodeGraph) {
    let now = Timestamp(1_000);
    let clock = Clock {
        wall: now,
        monotonic_ns: 1 << 40,
        heard_ns: 1 << 40,
    };
    let limits = Limits(Need {
        peers: 1024,
        networks: 1024,
        decisions: 4096,
        port_blocks: 16,
        deadlines: 15,
        ..Limits::default().0
    });
    let fitted = fit(&Arc::new(graph.clone()), &limits, now);
    assert!(fitted.need.fits(&limits), "{:?}", fitted.need);
    let memory = Memory::new(&fitted.desired, clock).expect("what fits has numbers");
    assert!(memory.tables.decisions.len() <= 4096);
}
