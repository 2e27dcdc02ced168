//! A page to try it all with: the first that a newcomer sees. It is a client like any other, made of files that stand as they are
//! in `assets/play`, and works without any other server than this one.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};
use serde_json::{Value, json};
use wire::FaultCode;

use crate::{address::PathText, answer::Answer, route::Told};

pub(crate) const PAGE: Told = Told {
    name: "play",
    summary: "A page to hold a first conversation on.",
    gives: "The page. It needs no other server than this one.",
    media_type: "text/html",
    schema: text,
    or_503: false,
};

pub(crate) const STYLE: Told = Told {
    name: "play_style",
    summary: "How that page looks.",
    gives: "The style sheet.",
    media_type: "text/css",
    schema: text,
    or_503: false,
};

pub(crate) const SCRIPT: Told = Told {
    name: "play_script",
    summary: "What that page does.",
    gives: "A module of it.",
    media_type: "text/javascript",
    schema: text,
    or_503: false,
};

fn text() -> Value {
    json!({ "type": "string" })
}

const HTML: &str = include_str!("../../assets/play/index.html");
const SHEET: &str = include_str!("../../assets/play/style.css");
const SCRIPTS: &[(&str, &str)] = &[
    ("api.js", include_str!("../../assets/play/api.js")),
    ("memory.js", include_str!("../../assets/play/memory.js")),
    ("play.js", include_str!("../../assets/play/play.js")),
    ("socket.js", include_str!("../../assets/play/socket.js")),
    ("text.js", include_str!("../../assets/play/text.js")),
    ("turn.js", include_str!("../../assets/play/turn.js")),
];

/// Of the page alone. What a model says is shown on it, next to a token: nothing but its own scripts may run, and text cannot
/// become markup.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);
/// Its parts belong together, and change with the program.
const FRESH: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-cache"));

/// The names of its scripts, for the description.
pub(crate) fn scripts() -> impl Iterator<Item = &'static str> {
    SCRIPTS.iter().map(|(name, _)| *name)
}

pub(crate) async fn page() -> Response {
    let kind = (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    ([kind, (CONTENT_SECURITY_POLICY, POLICY), FRESH], HTML).into_response()
}

pub(crate) async fn style() -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")), FRESH], SHEET).into_response()
}

pub(crate) async fn script(PathText(name): PathText) -> Answer {
    let (_, script) = SCRIPTS.iter().find(|(known, _)| *known == name).ok_or(FaultCode::RouteNotFound)?;
    let kind = (CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    Ok(([kind, FRESH], *script).into_response())
}
