//! What one address may ask for how often, before anybody is known. Every answer tells what is left.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use host::limit::{RateLimit, Standing};
use http::{HeaderMap, HeaderName, HeaderValue};
use wire::{Fault, FaultCode, limit::Limit};

use crate::{
    answer::Refusal,
    peer::{Peer, TrustedProxies, customer},
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// One limit, per address and minute.
pub(crate) struct Throttle {
    limit: RateLimit<IpAddr>,
    proxies: TrustedProxies,
}

impl Throttle {
    /// So many requests per minute; no limit for 0.
    pub fn new(limit: &Limit, per_min: u32, proxies: &TrustedProxies) -> Option<Arc<Self>> {
        let limit = RateLimit::new(limit.name, per_min)?;
        Some(Arc::new(Self { limit, proxies: proxies.clone() }))
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
    let (mut response, standing) = match throttle.limit.take(&customer(client)) {
        Ok(standing) => (next.run(request).await, standing),
        Err(excess) => {
            let fault = Fault::because(FaultCode::RateLimited, "Too many requests from this address");
            let refusal = Refusal::from(fault.retry_after(excess.retry_after_s));
            (refusal.into_response(), excess.standing)
        }
    };
    mark(response.headers_mut(), &standing);
    response
}

/// Tells in an answer what is left of its limit.
pub(crate) fn mark(headers: &mut HeaderMap, standing: &Standing) {
    for (header, text) in [(POLICY, &standing.policy), (LEFT, &standing.left)] {
        headers.extend(HeaderValue::try_from(text).ok().map(|value| (header, value)));
    }
}
