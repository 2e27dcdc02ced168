//! What machines ask about this process. No secret is in any of it, so nobody has to say who asks.

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use host::{Health, Telemetry, health::Status};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use wire::FaultCode;

use crate::answer::{Answer, json};

/// Prometheus's text format.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// True for a moment only, but no secret.
const FRESH: [(HeaderName, HeaderValue); 1] = [(CACHE_CONTROL, HeaderValue::from_static("no-cache"))];

/// What is asked about a process.
#[derive(Clone)]
pub struct Vitals {
    /// Whether it is ready.
    pub health: Health,
    /// What it counts.
    pub telemetry: Telemetry,
}

/// The routes of every process, whether it serves the API or not.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(vitals: Vitals) -> Router<S> {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .route("/metrics", get(metrics))
        .with_state(vitals)
}

async fn livez() -> Response {
    (FRESH, json(r#"{"status":"live"}"#)).into_response()
}

async fn readyz(State(vitals): State<Vitals>) -> Answer {
    let report = vitals.health.report().await;
    let body = json(serde_json::to_vec(&report).map_err(|_| FaultCode::Internal)?);
    Ok(match report.status {
        Status::Ready => (FRESH, body).into_response(),
        Status::NotReady | Status::Draining => {
            (StatusCode::SERVICE_UNAVAILABLE, FRESH, [(RETRY_AFTER, "1")], body).into_response()
        }
    })
}

async fn version() -> Response {
    let body = concat!(r#"{"name":"omnichat","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
    (FRESH, json(body)).into_response()
}

async fn metrics(State(vitals): State<Vitals>) -> Response {
    (FRESH, [(CONTENT_TYPE, METRICS)], vitals.telemetry.render()).into_response()
}
