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
    gives: "The process runs.",
    media_type: "application/json",
    schema: || json!({ "type": "object", "required": ["status"], "properties": { "status": { "const": "live", "description": "Always `live`." } } }),
    or_503: false,
};

const READYZ: Told = Told {
    name: "readyz",
    summary: "Tells whether the process takes requests, and what it lacks if it does not.",
    gives: "The process takes requests.",
    media_type: "application/json",
    schema: || {
        let check = json!({
            "type": "object",
            "required": ["name", "ok", "detail", "ms"],
            "properties": {
                "name": { "type": "string", "description": "What is needed.", "examples": ["nats"] },
                "ok": { "type": "boolean", "description": "Whether it is there." },
                "detail": { "type": "string", "description": "What is known of it.", "examples": ["connected"] },
                "ms": { "type": "integer", "minimum": 0, "description": "How long that took to find out, in milliseconds." },
            },
        });
        json!({
            "type": "object",
            "required": ["status", "checks"],
            "properties": {
                "status": { "enum": ["ready", "not_ready", "draining"], "description": "All of it in a word." },
                "checks": { "type": "array", "items": check, "description": "One for each thing that is needed." },
            },
        })
    },
    or_503: true,
};

const VERSION: Told = Told {
    name: "version",
    summary: "Tells which version runs.",
    gives: "The name of the program, and its version.",
    media_type: "application/json",
    schema: || {
        let fields = json!({
            "name": { "const": "omnichat", "description": "The program." },
            "version": { "type": "string", "description": "Its version.", "examples": [env!("CARGO_PKG_VERSION")] },
        });
        json!({ "type": "object", "required": ["name", "version"], "properties": fields })
    },
    or_503: false,
};

const COUNTED: Told = Told {
    name: "metrics",
    summary: "Tells what the process counts, as Prometheus reads it.",
    gives: "Counters and gauges, in Prometheus's text format.",
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
