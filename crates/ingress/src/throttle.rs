//! What one address may ask for how often, before anybody is known. Every answer tells what is left.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{
    Quota, RateLimiter, clock::QuantaClock, middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};
use host::telemetry::Metric;
use http::{HeaderMap, HeaderName, HeaderValue};
use wire::{Fault, FaultCode};

use crate::{
    answer::Refusal,
    peer::{Peer, TrustedProxies, customer},
};

const HITS: &str = "omnichat_limit_hits_total";

/// The metrics of limits.
pub(crate) const METRICS: &[Metric] =
    &[Metric::counter(HITS, "Requests refused because a limit was reached, by limit.")];

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");
/// Of every limit here, in seconds.
const WINDOW_S: u32 = 60;
/// Addresses that are remembered before those that have all of their limit are cleared away.
const ADDRESSES_MAX: usize = 100_000;

type Limiter = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, QuantaClock, StateInformationMiddleware>;

/// One limit, per address and minute.
pub(crate) struct Throttle {
    name: &'static str,
    per_min: NonZeroU32,
    limiter: Limiter,
    proxies: TrustedProxies,
}

/// What is left of a limit.
struct Left {
    requests: u32,
    /// Until all of it is there again.
    whole_in_s: u32,
}

impl Throttle {
    /// A limit of so many requests per minute; none for 0.
    pub fn new(name: &'static str, per_min: u32, proxies: &TrustedProxies) -> Option<Arc<Self>> {
        let per_min = NonZeroU32::new(per_min)?;
        let limiter = RateLimiter::dashmap(Quota::per_minute(per_min)).with_middleware();
        Some(Arc::new(Self { name, per_min, limiter, proxies: proxies.clone() }))
    }

    /// Takes one request, or tells when the next one may come.
    fn take(&self, address: IpAddr) -> Result<Left, u32> {
        if self.limiter.len() > ADDRESSES_MAX {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(&customer(address)) {
            Ok(state) => {
                let requests = state.remaining_burst_capacity();
                let used = self.per_min.get().saturating_sub(requests);
                Ok(Left { requests, whole_in_s: (used * WINDOW_S).div_ceil(self.per_min.get()) })
            }
            Err(until) => {
                let wait = until.wait_time_from(governor::clock::Clock::now(&QuantaClock::default()));
                Err(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
            }
        }
    }

    /// RateLimit header fields for HTTP (IETF draft), in its current form.
    fn mark(&self, headers: &mut HeaderMap, left: &Left) {
        let Self { name, per_min, .. } = self;
        let policy = format!("\"{name}\";q={per_min};w={WINDOW_S}");
        let left = format!("\"{name}\";r={};t={}", left.requests, left.whole_in_s);
        for (header, text) in [(POLICY, policy), (LEFT, left)] {
            headers.extend(HeaderValue::try_from(text).ok().map(|value| (header, value)));
        }
    }
}

/// Holds a route to a limit.
pub(crate) async fn run(
    State(throttle): State<Option<Arc<Throttle>>>,
    request: Request,
    next: Next,
) -> Response {
    let (Some(throttle), Some(peer)) = (throttle, request.extensions().get::<Peer>().copied()) else {
        return next.run(request).await;
    };
    let client = throttle.proxies.client(peer, request.headers());
    let (mut response, left) = match throttle.take(client) {
        Ok(left) => (next.run(request).await, left),
        Err(seconds) => {
            metrics::counter!(HITS, "limit" => throttle.name).increment(1);
            let fault = Fault::because(FaultCode::RateLimited, "Too many requests from this address");
            let refusal = Refusal::from(fault.retry_after(seconds));
            (refusal.into_response(), Left { requests: 0, whole_in_s: WINDOW_S })
        }
    };
    throttle.mark(response.headers_mut(), &left);
    response
}
