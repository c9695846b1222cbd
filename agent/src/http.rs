//! What operators and programs ask the agent: metrics, health, the status as in its acks, and the live tail of events.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bulkhead_wire::Ack;
use serde_json::json;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::enforce::Input;
use crate::events::Event;
use crate::metrics::Metrics;
use crate::stream::Connection;

/// The socket in the state folder.
pub const SOCKET: &str = "agent.sock";

/// What the handlers need.
#[derive(Clone)]
pub struct Http {
    /// This node.
    pub node: String,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// To the thread that owns the kernel.
    pub inputs: mpsc::Sender<Input>,
    /// What is in force.
    pub acks: watch::Receiver<Option<Ack>>,
    /// The stream.
    pub connection: watch::Receiver<Connection>,
    /// What the programs report.
    pub events: broadcast::Sender<Arc<Event>>,
}

/// All paths.
pub fn router(http: Http) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/events", get(events))
        .with_state(http)
}

/// The socket, in place of one that a dead agent left (nobody else can be there: the lock is ours).
///
/// # Errors
/// If it cannot be made.
pub fn socket(state: &Path) -> std::io::Result<tokio::net::UnixListener> {
    let path = state.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    tokio::net::UnixListener::bind(path)
}

async fn figures(http: &Http) -> Option<crate::metrics::Kernel> {
    let (sender, answer) = oneshot::channel();
    http.inputs.send(Input::Figures(sender)).await.ok()?;
    answer.await.ok()
}

async fn metrics(State(http): State<Http>) -> Response {
    let Some(kernel) = figures(&http).await else {
        return ended();
    };
    match http.metrics.render(&kernel) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn ended() -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the thread that owns the kernel's tables has ended\n",
    )
        .into_response()
}

async fn healthy(State(http): State<Http>) -> Response {
    match figures(&http).await {
        Some(_) => "ok\n".into_response(),
        None => ended(),
    }
}

/// Ready means that a revision is in force and was read back. Whether the controller is there is another matter.
async fn ready(State(http): State<Http>) -> Response {
    if http.acks.borrow().is_some() {
        "ready\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "no revision that this agent has read back is in force yet\n",
        )
            .into_response()
    }
}

async fn status(State(http): State<Http>) -> Response {
    let connection = match &*http.connection.borrow() {
        Connection::Up => json!({"up": true}),
        Connection::Down(reason) => json!({"up": false, "reason": reason}),
    };
    let ack = http.acks.borrow().as_ref().map(|ack| {
        let listed = |items: Vec<(&String, &String)>| -> Vec<_> {
            items
                .into_iter()
                .map(|(name, reason)| json!({"name": name, "reason": reason}))
                .collect()
        };
        json!({
            "realised": ack.digest.to_string(),
            "protected": ack.protected,
            "unprotected": listed(ack.unprotected.iter().map(|u| (&u.name, &u.reason)).collect()),
            "denied": listed(ack.denied.iter().map(|d| (&d.name, &d.reason)).collect()),
            "used": {
                "workloads": ack.used.workloads,
                "peers": ack.used.peers,
                "networks": ack.used.networks,
                "decisions": ack.used.decisions,
                "expiries": ack.used.expiries,
            },
            "applied_us": ack.applied_us,
            "confirmed_us": ack.confirmed_us,
            "writes": ack.writes,
            "versions": ack.frontier.versions,
        })
    });
    Json(json!({"node": http.node, "controller": connection, "revision": ack})).into_response()
}

/// One JSON object a line, from now on, until the client goes. Whoever reads too slowly is told how much was left out.
async fn events(State(http): State<Http>) -> Response {
    let lines = BroadcastStream::new(http.events.subscribe()).map(|event| {
        let line = match event {
            Ok(event) => serde_json::to_string(&*event).unwrap_or_default(),
            Err(BroadcastStreamRecvError::Lagged(lost)) => json!({"lost": lost}).to_string(),
        };
        Ok::<_, Infallible>(format!("{line}\n"))
    });
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response()
}
