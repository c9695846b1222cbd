//! What operators and programs ask over HTTP. Read-only.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::Now;
use crate::rule::Asked;
use crate::run::Questions;
use crate::server::Shared;
use crate::status::View;
use crate::tls::Tls;

/// What the handlers need.
#[derive(Clone)]
pub struct Http {
    /// State of all connections.
    pub shared: Arc<Shared>,
    /// To the compiler.
    pub questions: Questions,
    /// The certificates in use.
    pub tls: Tls,
}

/// All paths.
pub fn router(http: Http) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route(
            "/rule/{subject}/{direction}/{peer}/{protocol}/{port}",
            get(rule),
        )
        .with_state(http)
}

async fn metrics(State(http): State<Http>) -> Response {
    let now = {
        let status = http.shared.status();
        let (connected, nodes) = status.connected();
        Now {
            connected,
            nodes,
            behind: status.behind(),
            problems: status.problem_counts(),
            names: status.name_counts(),
            certificates: http.tls.ends(),
        }
    };
    match http.shared.metrics.render(&now) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(http): State<Http>) -> Response {
    if http.shared.board.frontier().is_some() {
        "ready\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the source of intent has not been read yet, or names in segments have no answer yet\n",
        )
            .into_response()
    }
}

type RulePath = (String, String, String, String, u16);

async fn rule(
    State(http): State<Http>,
    Path((subject, direction, peer, protocol, port)): Path<RulePath>,
) -> Response {
    let asked = match Asked::read(&subject, &direction, &peer, &protocol, port) {
        Ok(asked) => asked,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    match http.questions.rule(asked).await {
        Some(Some(told)) => Json(told).into_response(),
        Some(None) => (
            StatusCode::NOT_FOUND,
            format!("no workload owns {subject}\n"),
        )
            .into_response(),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the controller is shutting down\n",
        )
            .into_response(),
    }
}

async fn status(State(http): State<Http>) -> Response {
    let concerned = http.shared.status().concerned();
    let Some(objects) = http.questions.objects(concerned).await else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "the controller is shutting down\n",
        )
            .into_response();
    };
    let frontier = http.shared.board.frontier();
    let view: View = http.shared.status().view(frontier, &objects);
    Json(view).into_response()
}
