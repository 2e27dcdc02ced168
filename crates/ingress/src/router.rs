//! Which path leads to which handler.

use std::sync::Arc;

use axum::{Router, middleware::from_fn_with_state};
use wire::FaultCode;

use crate::{
    answer::Refusal,
    deadline,
    door::Door,
    exchange,
    reader::{self, Readers},
    route::{Limit, Route},
    routes::{
        self,
        status::{self, Vitals},
    },
    throttle,
};

/// The whole API.
pub(crate) fn router(door: Arc<Door>, vitals: Vitals, readers: Readers) -> Router {
    let add = |router: Router<Arc<Door>>, Route { entry, connect }: &Route<Arc<Door>>| {
        let throttle = match entry.limit {
            None | Some(Limit::Turns) => None,
            Some(Limit::Logins) => door.logins.clone(),
            Some(Limit::Registrations) => door.registrations.clone(),
            Some(Limit::Refreshes) => door.refreshes.clone(),
        };
        let handler = if entry.waits_for_turn {
            connect()
        } else {
            connect().route_layer(from_fn_with_state(door.total_timeout, deadline::run))
        };
        let handler = match throttle {
            None => handler,
            throttle => handler.route_layer(from_fn_with_state(throttle, throttle::run)),
        };
        router.route(entry.path, handler)
    };
    let status = status::router(vitals).layer(from_fn_with_state(Arc::new(readers), reader::run));
    routes::API
        .iter()
        .fold(Router::new(), add)
        .merge(status)
        .fallback(async || Refusal::from(FaultCode::RouteNotFound))
        .method_not_allowed_fallback(async || Refusal::from(FaultCode::MethodNotAllowed))
        .layer(from_fn_with_state(door.clone(), exchange::run))
        .with_state(door)
}
