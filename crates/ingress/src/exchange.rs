//! What surrounds every request: its names, the headers of its answer, and an answer even when a handler panics.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bus::{Context, context::is_plain};
use futures::FutureExt;
use host::TraceParent;
use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use uuid::Uuid;
use wire::{Fault, FaultCode, UserId};

use crate::{
    answer::{self, Refusal},
    cors,
    door::Door,
    head,
    record::Record,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// On every answer that does not say otherwise: it is data, never a page, and nobody's but the caller's.
const PRIVATE_DATA: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// A request and who sent it, as far as it is known.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The names that it, its answer and all it causes carry.
    pub context: Context,
    /// What was asked for.
    uri: Uri,
    /// For the log.
    pub user: OnceLock<UserId>,
}

impl Exchange {
    fn new(request: &Request) -> Self {
        Self { context: context(request.headers()), uri: request.uri().clone(), user: OnceLock::new() }
    }

    /// The same list, from `cursor` on (RFC 8288).
    pub fn link_to(&self, cursor: &str) -> Option<HeaderValue> {
        let others = self.uri.query().into_iter().flat_map(|query| query.split('&'));
        let others = others.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
        let query: Vec<_> = others.map(str::to_owned).chain([format!("cursor={cursor}")]).collect();
        HeaderValue::try_from(format!("<{}?{}>; rel=\"next\"", self.uri.path(), query.join("&"))).ok()
    }
}

/// Runs one exchange.
pub(crate) async fn run(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    let exchange = Arc::new(Exchange::new(&request));
    let mut record = Record::begin(&request, exchange.clone());
    request.extensions_mut().insert(exchange.clone());
    let origin = door.origins.granted(request.headers());

    let mut response = if let Err(fault) = head::check(&request) {
        Refusal::from(fault).into_response()
    } else if origin.is_some() && cors::is_preflight(&request) {
        cors::preflight()
    } else {
        let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        answer.unwrap_or_else(|_| Refusal::from(FaultCode::Internal).into_response())
    };

    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        let said = std::mem::take(response.headers_mut());
        response = answer::fault(&fault, &exchange.context.request_id);
        response.headers_mut().extend(said);
    }
    let headers = response.headers_mut();
    for (name, value) in PRIVATE_DATA {
        headers.entry(name).or_insert(value);
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    door.origins.mark(headers, origin);
    name(headers, &exchange.context);
    record.status = response.status().as_u16();
    response
}

/// The names that the client gave, where they are usable; else new ones.
fn context(headers: &HeaderMap) -> Context {
    let given = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let request_id = given(REQUEST_ID).filter(|text| is_plain(text)).map(str::to_owned);
    let traceparent = given(TRACEPARENT).and_then(|text| text.parse::<TraceParent>().ok());
    Context {
        request_id: request_id.unwrap_or_else(|| Uuid::now_v7().to_string()),
        traceparent: Some(traceparent.unwrap_or_else(TraceParent::random).to_string()),
    }
}

fn name(headers: &mut HeaderMap, context: &Context) {
    for (name, text) in [(REQUEST_ID, Some(&context.request_id)), (TRACEPARENT, context.traceparent.as_ref())]
    {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: HeaderName, text: &str) -> Context {
        context(&HeaderMap::from_iter([(name, HeaderValue::from_bytes(text.as_bytes()).unwrap())]))
    }

    #[test]
    fn a_usable_name_is_kept_and_any_other_replaced() {
        assert_eq!(named(REQUEST_ID, "req-1").request_id, "req-1");
        for bad in ["", "a b", "\u{e9}"] {
            assert!(named(REQUEST_ID, bad).request_id.parse::<Uuid>().is_ok(), "{bad}");
        }
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(named(TRACEPARENT, trace).traceparent.as_deref(), Some(trace));
        let made = named(TRACEPARENT, "00-0-0-00").traceparent.unwrap();
        assert!(made.parse::<TraceParent>().is_ok(), "{made}");
    }
}
