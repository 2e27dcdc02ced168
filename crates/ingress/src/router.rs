//! Which path leads to which handler.

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{delete, get, post, put},
};
use wire::FaultCode;

use crate::{
    answer::Refusal,
    door::Door,
    exchange,
    routes::{
        auth, conversations, projects, prompts,
        status::{self, Vitals},
        turns,
    },
    throttle,
};

/// Every route there is. A parameter is called like the id's token in a subject.
pub(crate) fn router(door: Arc<Door>, vitals: Vitals) -> Router {
    Router::new()
        .route(
            "/auth/register",
            post(auth::register).route_layer(from_fn_with_state(door.registrations.clone(), throttle::run)),
        )
        .route(
            "/auth/login",
            post(auth::log_in).route_layer(from_fn_with_state(door.logins.clone(), throttle::run)),
        )
        .route(
            "/auth/refresh",
            post(auth::refresh).route_layer(from_fn_with_state(door.refreshes.clone(), throttle::run)),
        )
        .route("/auth/logout", post(auth::log_out))
        .route("/auth/password", post(auth::change_password))
        .route("/auth/api-keys", post(auth::create_api_key).get(auth::list_api_keys))
        .route("/auth/api-keys/{api_key}", delete(auth::delete_api_key))
        .route("/.well-known/jwks.json", get(auth::jwks))
        .route("/auth/validate", get(auth::validate))
        .route("/auth/me", get(auth::me))
        .route("/projects", post(projects::create).get(projects::list))
        .route(
            "/projects/{project}",
            get(projects::get).put(projects::replace).patch(projects::update).delete(projects::delete),
        )
        .route("/projects/{project}/prompts", post(prompts::create).get(prompts::list))
        .route(
            "/projects/{project}/prompts/{prompt}",
            get(prompts::get).put(prompts::update).delete(prompts::delete),
        )
        .route("/projects/{project}/prompts/{prompt}/versions", get(prompts::versions))
        .route("/projects/{project}/prompts/{prompt}/versions/{version}", get(prompts::version))
        .route("/projects/{project}/prompts/{prompt}/rollback", post(prompts::roll_back))
        .route("/projects/{project}/prompts/{prompt}/labels", get(prompts::labels))
        .route(
            "/projects/{project}/prompts/{prompt}/labels/{label}",
            put(prompts::label).delete(prompts::unlabel),
        )
        .route("/projects/{project}/prompts/{prompt}/render", post(prompts::render))
        .route("/conversations", post(conversations::create))
        .route("/conversations/project/{project}", get(conversations::list))
        .route(
            "/conversations/{conversation}",
            get(conversations::get).patch(conversations::update).delete(conversations::delete),
        )
        .route(
            "/conversations/{conversation}/messages",
            get(conversations::messages).post(conversations::send),
        )
        .route("/turns/{turn}", get(turns::get))
        .merge(status::routes(vitals))
        .fallback(async || Refusal::from(FaultCode::RouteNotFound))
        .method_not_allowed_fallback(async || Refusal::from(FaultCode::MethodNotAllowed))
        .layer(from_fn_with_state(door.clone(), exchange::run))
        .with_state(door)
}
