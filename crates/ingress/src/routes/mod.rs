//! Every route there is, and one file per kind of thing with a function per route.

pub(crate) mod auth;
pub(crate) mod conversations;
pub(crate) mod description;
pub(crate) mod models;
pub(crate) mod play;
pub(crate) mod projects;
pub(crate) mod prompts;
pub(crate) mod status;
pub(crate) mod turns;

use std::sync::Arc;

use wire::{
    ChooseVersion,
    FaultCode::*,
    operations::*,
    schema::Description,
    subject::{CONVERSATION_EVENTS, TURN_EVENTS},
};

use crate::{
    door::Door,
    route::{
        Body,
        Does::{Ask, Stream, Switch, Tell},
        Limit, Route, route,
    },
    stream::STARTING_AFTER,
    websocket,
};

/// The routes of the API.
pub(crate) const API: &[Route<Arc<Door>>] = &[
    route!(POST "/auth/register", auth::register, Ask(&REGISTER.info))
        .body()
        .limit(Limit::Registrations)
        .or(&[EmailTaken, AuthBusy]),
    route!(POST "/auth/login", auth::log_in, Ask(&LOG_IN.info))
        .body()
        .limit(Limit::Logins)
        .or(&[InvalidCredentials, AccountDisabled, RateLimited, AuthBusy]),
    route!(POST "/auth/refresh", auth::refresh, Ask(&REFRESH.info))
        .body()
        .limit(Limit::Refreshes)
        .or(&[InvalidToken, AccountDisabled]),
    route!(POST "/auth/logout", auth::log_out, Ask(&LOG_OUT.info)),
    route!(GET "/auth/validate", auth::validate, Ask(&VALIDATE_ACCOUNT.info)),
    route!(GET "/auth/me", auth::me, Ask(&GET_ACCOUNT.info)),
    route!(POST "/auth/password", auth::change_password, Ask(&CHANGE_PASSWORD.info))
        .body()
        .or(&[InvalidCredentials, RateLimited, AuthBusy]),
    route!(POST "/auth/api-keys", auth::create_api_key, Ask(&CREATE_API_KEY.info)).body(),
    route!(GET "/auth/api-keys", auth::list_api_keys, Ask(&LIST_API_KEYS.info)).page(),
    route!(DELETE "/auth/api-keys/{api_key}", auth::delete_api_key, Ask(&DELETE_API_KEY.info)),
    route!(GET "/.well-known/jwks.json", auth::jwks, Tell(&auth::JWKS)).or(&[RouteNotFound]),
    route!(POST "/projects", projects::create, Ask(&CREATE_PROJECT.info)).body(),
    route!(GET "/projects", projects::list, Ask(&LIST_PROJECTS.info)).page(),
    route!(GET "/projects/{project}", projects::get, Ask(&GET_PROJECT.info)),
    route!(PUT "/projects/{project}", projects::replace, Ask(&REPLACE_PROJECT.info)).body(),
    route!(PATCH "/projects/{project}", projects::update, Ask(&UPDATE_PROJECT.info)).body(),
    route!(DELETE "/projects/{project}", projects::delete, Ask(&DELETE_PROJECT.info)),
    route!(POST "/projects/{project}/prompts", prompts::create, Ask(&CREATE_PROMPT.info)).body(),
    route!(GET "/projects/{project}/prompts", prompts::list, Ask(&LIST_PROMPTS.info)).page(),
    route!(GET "/projects/{project}/prompts/{prompt}", prompts::get, Ask(&GET_PROMPT.info)),
    route!(PUT "/projects/{project}/prompts/{prompt}", prompts::update, Ask(&UPDATE_PROMPT.info))
        .body()
        .or(&[VersionConflict]),
    route!(DELETE "/projects/{project}/prompts/{prompt}", prompts::delete, Ask(&DELETE_PROMPT.info)),
    route!(GET "/projects/{project}/prompts/{prompt}/versions", prompts::versions, Ask(&LIST_PROMPT_VERSIONS.info))
        .page(),
    route!(GET "/projects/{project}/prompts/{prompt}/versions/{version}", prompts::version, Ask(&GET_PROMPT_VERSION.info)),
    route!(POST "/projects/{project}/prompts/{prompt}/rollback", prompts::roll_back, Ask(&ROLL_BACK_PROMPT.info)).body(),
    route!(GET "/projects/{project}/prompts/{prompt}/labels", prompts::labels, Ask(&LIST_PROMPT_LABELS.info)),
    route!(PUT "/projects/{project}/prompts/{prompt}/labels/{label}", prompts::label, Ask(&LABEL_PROMPT.info))
        .takes(Body::Rest(Description::of::<ChooseVersion>())),
    route!(DELETE "/projects/{project}/prompts/{prompt}/labels/{label}", prompts::unlabel, Ask(&UNLABEL_PROMPT.info))
        .or(&[InvalidBody]),
    route!(POST "/projects/{project}/prompts/{prompt}/render", prompts::render, Ask(&RENDER_PROMPT.info))
        .body()
        .or(&[PromptUnrenderable]),
    route!(POST "/conversations", conversations::create, Ask(&CREATE_CONVERSATION.info))
        .takes(Body::RequestOrQuery)
        .query(&["project_id"])
        .or(&[ProjectNotFound, PromptNotFound, PromptUnrenderable, UnknownModel]),
    route!(GET "/conversations/project/{project}", conversations::list, Ask(&LIST_CONVERSATIONS.info)).page(),
    route!(GET "/conversations/{conversation}", conversations::get, Ask(&GET_CONVERSATION.info)),
    route!(PATCH "/conversations/{conversation}", conversations::update, Ask(&UPDATE_CONVERSATION.info))
        .body()
        .or(&[PromptNotFound, PromptUnrenderable, UnknownModel]),
    route!(DELETE "/conversations/{conversation}", conversations::delete, Ask(&DELETE_CONVERSATION.info)),
    route!(GET "/conversations/{conversation}/messages", conversations::messages, Ask(&LIST_MESSAGES.info))
        .query(&["branch", "limit", "cursor"]),
    route!(POST "/conversations/{conversation}/messages", conversations::send, Ask(&SEND_MESSAGE.info))
        .body()
        .limit(Limit::Turns)
        .waits_for_turn()
        .or(&[MessageNotFound]),
    route!(
        GET "/conversations/{conversation}/events",
        conversations::events,
        Stream(&conversations::EVENTS, &GET_CONVERSATION.info, CONVERSATION_EVENTS)
    ),
    route!(GET "/turns/{turn}", turns::get, Ask(&GET_TURN.info)),
    route!(GET "/turns/{turn}/events", turns::events, Stream(&turns::EVENTS, &GET_TURN.info, TURN_EVENTS))
        .query(&[STARTING_AFTER]),
    route!(POST "/turns/{turn}/cancel", turns::cancel, Ask(&CANCEL_TURN.info)),
    route!(POST "/turns/{turn}/regenerate", turns::regenerate, Ask(&REGENERATE_TURN.info))
        .body()
        .limit(Limit::Turns)
        .waits_for_turn()
        .or(&[ConversationNotFound]),
    route!(GET "/models", models::list, Ask(&LIST_MODELS.info)),
    route!(GET "/ws", websocket::open, Switch(&websocket::SOCKET)),
    route!(GET "/openapi.json", description::document, Tell(&description::DOCUMENT)),
    route!(GET "/docs", description::page, Tell(&description::PAGE)),
    route!(GET "/docs/reference.js", description::script, Tell(&description::SCRIPT)),
    route!(GET "/play", play::page, Tell(&play::PAGE)),
    route!(GET "/play/style.css", play::style, Tell(&play::STYLE)),
    route!(GET "/play/{script}", play::script, Tell(&play::SCRIPT)).or(&[RouteNotFound]),
];
