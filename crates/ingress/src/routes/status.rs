//! What machines ask about this process. No secret is in any of it, so nobody has to say who asks; what would help an
//! attacker is kept from strangers.

use axum::{
    Extension, Router,
    extract::State,
    response::{IntoResponse, Response},
};
use host::{Health, Telemetry, health::Status};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::json;
use wire::FaultCode::{self, RouteNotFound};

use crate::{
    answer::{self, Answer},
    reader::Stranger,
    route::{Does::Tell, Route, Told, route},
};

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
pub(crate) const ROUTES: &[Route<Vitals>] = &[
    route!(GET "/livez", livez, Tell(&LIVEZ)),
    route!(GET "/readyz", readyz, Tell(&READYZ)),
    route!(GET "/version", version, Tell(&VERSION)),
    route!(GET "/metrics", metrics, Tell(&COUNTED)).or(&[RouteNotFound]),
];

const LIVEZ: Told = Told {
    name: "livez",
    summary: "Tells that the process runs.",
    media_type: "application/json",
    schema: || json!({ "type": "object", "required": ["status"], "properties": { "status": { "const": "live" } } }),
    or_503: false,
};

const READYZ: Told = Told {
    name: "readyz",
    summary: "Tells whether the process takes requests, and what it lacks if it does not.",
    media_type: "application/json",
    schema: || {
        let check = json!({
            "type": "object",
            "required": ["name", "ok", "detail"],
            "properties": { "name": { "type": "string" }, "ok": { "type": "boolean" }, "detail": { "type": "string" } },
        });
        json!({
            "type": "object",
            "required": ["status", "checks"],
            "properties": {
                "status": { "enum": ["ready", "not_ready", "draining"] },
                "checks": { "type": "array", "items": check },
            },
        })
    },
    or_503: true,
};

const VERSION: Told = Told {
    name: "version",
    summary: "Tells which version runs.",
    media_type: "application/json",
    schema: || {
        let text = json!({ "type": "string" });
        json!({ "type": "object", "required": ["name", "version"], "properties": { "name": text, "version": text } })
    },
    or_503: false,
};

const COUNTED: Told = Told {
    name: "metrics",
    summary: "Tells what the process counts, as Prometheus reads it.",
    media_type: "text/plain",
    schema: || json!({ "type": "string" }),
    or_503: false,
};

/// Them as a router.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(vitals: Vitals) -> Router<S> {
    let add =
        |router: Router<Vitals>, route: &Route<Vitals>| router.route(route.entry.path, (route.connect)());
    ROUTES.iter().fold(Router::new(), add).with_state(vitals)
}

async fn livez() -> Response {
    (FRESH, answer::json(r#"{"status":"live"}"#)).into_response()
}

/// What was found names servers and what is wrong with them: strangers hear only the result.
async fn readyz(State(vitals): State<Vitals>, stranger: Option<Extension<Stranger>>) -> Answer {
    let mut report = vitals.health.report().await;
    if stranger.is_some() {
        report.checks.clear();
    }
    let body = answer::json(serde_json::to_vec(&report).map_err(|_| FaultCode::Internal)?);
    Ok(match report.status {
        Status::Ready => (FRESH, body).into_response(),
        Status::NotReady | Status::Draining => {
            (StatusCode::SERVICE_UNAVAILABLE, FRESH, [(RETRY_AFTER, "1")], body).into_response()
        }
    })
}

async fn version() -> Response {
    let body = concat!(r#"{"name":"omnichat","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
    (FRESH, answer::json(body)).into_response()
}

/// To strangers there is nothing at this path.
async fn metrics(State(vitals): State<Vitals>, stranger: Option<Extension<Stranger>>) -> Answer {
    match stranger {
        Some(_) => Err(RouteNotFound.into()),
        None => Ok((FRESH, [(CONTENT_TYPE, METRICS)], vitals.telemetry.render()).into_response()),
    }
}
