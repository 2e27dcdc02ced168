//! What machines ask about this process. No secret is in any of it, so nobody has to say who asks.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use host::health::Status;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use wire::FaultCode;

use crate::{
    answer::{Answer, json},
    door::Door,
};

/// Prometheus's text format.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// True for a moment only, but no secret.
const FRESH: [(HeaderName, HeaderValue); 1] = [(CACHE_CONTROL, HeaderValue::from_static("no-cache"))];

pub(crate) async fn livez() -> Response {
    (FRESH, json(r#"{"status":"live"}"#)).into_response()
}

pub(crate) async fn readyz(State(door): State<Arc<Door>>) -> Answer {
    let report = door.health.report().await;
    let body = json(serde_json::to_vec(&report).map_err(|_| FaultCode::Internal)?);
    Ok(match report.status {
        Status::Ready => (FRESH, body).into_response(),
        Status::NotReady | Status::Draining => {
            (StatusCode::SERVICE_UNAVAILABLE, FRESH, [(RETRY_AFTER, "1")], body).into_response()
        }
    })
}

pub(crate) async fn version() -> Response {
    let body = concat!(r#"{"name":"omnichat","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
    (FRESH, json(body)).into_response()
}

pub(crate) async fn metrics(State(door): State<Arc<Door>>) -> Response {
    (FRESH, [(CONTENT_TYPE, METRICS)], door.telemetry.render()).into_response()
}
