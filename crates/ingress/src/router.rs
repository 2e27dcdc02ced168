//! Which path leads to which handler.

use std::sync::Arc;

use axum::{Router, middleware::from_fn_with_state};
use wire::FaultCode;

use crate::{
    answer::Refusal,
    door::Door,
    exchange,
    route::{Limit, Route},
    routes::{
        self,
        status::{self, Vitals},
    },
    throttle,
};

/// The whole API.
pub(crate) fn router(door: Arc<Door>, vitals: Vitals) -> Router {
    let add = |router: Router<Arc<Door>>, Route { entry, connect }: &Route<Arc<Door>>| {
        let throttle = match entry.limit {
            None => None,
            Some(Limit::Logins) => door.logins.clone(),
            Some(Limit::Registrations) => door.registrations.clone(),
            Some(Limit::Refreshes) => door.refreshes.clone(),
        };
        let handler = match throttle {
            None => connect(),
            throttle => connect().route_layer(from_fn_with_state(throttle, throttle::run)),
        };
        router.route(entry.path, handler)
    };
    routes::API
        .iter()
        .fold(Router::new(), add)
        .merge(status::router(vitals))
        .fallback(async || Refusal::from(FaultCode::RouteNotFound))
        .method_not_allowed_fallback(async || Refusal::from(FaultCode::MethodNotAllowed))
        .layer(from_fn_with_state(door.clone(), exchange::run))
        .with_state(door)
}
