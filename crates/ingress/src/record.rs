//! A request in the log and in the metrics: without its body, its query and its ids.

use std::{sync::Arc, time::Instant};

use axum::extract::{MatchedPath, Request};
use host::telemetry::Metric;
use http::Method;

use crate::{exchange::Exchange, in_flight::InFlight};

const REQUESTS: &str = "omnichat_http_requests_total";
const SECONDS: &str = "omnichat_http_request_seconds";
const IN_FLIGHT: &str = "omnichat_http_requests_in_flight";

/// The metrics of every request.
pub(crate) const METRICS: &[Metric] = &[
    Metric::counter(
        REQUESTS,
        "HTTP requests, by route, method and status; 499: the client left before the answer.",
    ),
    Metric::histogram(SECONDS, "Time from the head of a request to its answer, by route."),
    Metric::gauge(IN_FLIGHT, "HTTP requests that wait for their answer."),
];

/// Nginx's word for it: the client closed the connection before it was answered.
const CLIENT_LEFT: u16 = 499;

/// Counts and logs a request when it is over, also when its client did not wait for that.
pub(crate) struct Record {
    exchange: Arc<Exchange>,
    method: &'static str,
    route: Option<MatchedPath>,
    /// Of the answer, once there is one.
    pub status: u16,
    began: Instant,
    _in_flight: InFlight,
}

impl Record {
    pub fn begin(request: &Request, exchange: Arc<Exchange>) -> Self {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let method = method(request.method());
        let (began, _in_flight) = (Instant::now(), InFlight::new(IN_FLIGHT));
        Self { exchange, method, route, status: CLIENT_LEFT, began, _in_flight }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let elapsed = self.began.elapsed();
        let route = self.route.as_ref().map_or("unknown", MatchedPath::as_str).to_owned();
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    method = self.method,
                    route,
                    status = self.status,
                    ms = elapsed.as_micros() as f64 / 1e3,
                    request_id = self.exchange.context.request_id,
                    user = self.exchange.user.get().map(tracing::field::display),
                    "request"
                )
            };
        }
        // What went well is counted; a line for each of thousands a second would cost more than it tells.
        if self.status < 400 {
            log!(debug)
        } else {
            log!(info)
        }
        metrics::histogram!(SECONDS, "route" => route.clone()).record(elapsed);
        metrics::counter!(REQUESTS, "route" => route, "method" => self.method, "status" => self.status.to_string())
            .increment(1);
    }
}

/// A client may invent methods; a metric's labels are a closed list.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
