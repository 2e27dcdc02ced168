//! What the API is, told to machines and to people. The page works without any other server than this one.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};
use serde_json::json;

use crate::{answer::json, openapi, route::Told};

pub(crate) const DOCUMENT: Told = Told {
    name: "openapi",
    summary: "This description.",
    gives: "An OpenAPI document.",
    media_type: "application/json",
    schema: || json!({ "type": "object" }),
    or_503: false,
};

pub(crate) const PAGE: Told = Told {
    name: "docs",
    summary: "This description, as a page.",
    gives: "The page. It needs no other server than this one.",
    media_type: "text/html",
    schema: || json!({ "type": "string" }),
    or_503: false,
};

pub(crate) const SCRIPT: Told = Told {
    name: "docs_script",
    summary: "What the page is drawn with.",
    gives: "The script.",
    media_type: "text/javascript",
    schema: || json!({ "type": "string" }),
    or_503: false,
};

/// Scalar's API reference; `assets/scalar` tells its version and licence.
const REFERENCE: &[u8] = include_bytes!("../../assets/scalar/standalone.js.gz");
const HTML: &str = include_str!("../../assets/docs.html");

/// Of the page alone: it draws itself with its own script, and asks nobody but this server.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// It changes with the program only, and then at once.
const FOR_AN_HOUR: (HeaderName, HeaderValue) =
    (CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));

pub(crate) async fn document() -> Response {
    ([(CACHE_CONTROL, "no-cache")], json(openapi::document())).into_response()
}

pub(crate) async fn page() -> Response {
    let kind = (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    ([kind, (CONTENT_SECURITY_POLICY, POLICY), FOR_AN_HOUR], HTML).into_response()
}

/// Every client that runs scripts unpacks gzip, so there is no other form of it.
pub(crate) async fn script() -> Response {
    let kind = (CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    let packed = (CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    ([kind, packed, FOR_AN_HOUR], REFERENCE).into_response()
}
