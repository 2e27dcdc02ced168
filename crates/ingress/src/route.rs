//! A route: one row, of which both the router and the description of the API are made, so that they cannot disagree.

use axum::routing::MethodRouter;
use serde_json::Value;
use wire::{
    ApiKeyId, ConversationId, FaultCode, Id, OperationInfo, ProjectId, PromptId, TurnId, schema::Description,
};

use crate::stream::STARTING_AFTER;

/// A route with its handler.
#[derive(Clone, Copy)]
pub(crate) struct Route<S: 'static> {
    /// What is said of it.
    pub entry: Entry,
    /// Makes its handler.
    pub connect: fn() -> MethodRouter<S>,
}

/// What is said of a route.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// In capitals.
    pub method: &'static str,
    /// With `{name}` where a part varies. An id is called like its token in a subject.
    pub path: &'static str,
    pub does: Does,
    pub body: Body,
    /// Query parameters; each is a field of the operation's request.
    pub query: &'static [&'static str],
    pub limit: Option<Limit>,
    /// It answers when a turn has ended, which may take minutes.
    pub waits_for_turn: bool,
    /// What it may answer beside what follows from the rest of this row.
    own_faults: &'static [FaultCode],
}

/// What a route is for.
#[derive(Clone, Copy)]
pub(crate) enum Does {
    /// It asks a service.
    Ask(&'static OperationInfo),
    /// It answers by itself.
    Tell(&'static Told),
    /// It tells what is told on this subject, to whoever may ask for this operation.
    Stream(&'static Told, &'static OperationInfo, &'static str),
    /// It goes on as a WebSocket, on which everybody says who they are.
    Switch(&'static Told),
}

/// What a route answers by itself.
pub(crate) struct Told {
    pub name: &'static str,
    pub summary: &'static str,
    /// What a success holds, in a sentence.
    pub gives: &'static str,
    pub media_type: &'static str,
    /// What it looks like.
    pub schema: fn() -> Value,
    /// The same with the status 503, when things are not well.
    pub or_503: bool,
}

/// The body that a route takes.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    None,
    /// The operation's request.
    Request,
    /// The operation's request, unless the query has it.
    RequestOrQuery,
    /// What is left of the operation's request when the path has the rest.
    Rest(Description),
}

/// What is bounded per minute: per address by the ingress, per user by the service.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    Logins,
    Registrations,
    Refreshes,
    Turns,
}

/// A row of a table of routes.
macro_rules! route {
    ($method:ident $path:literal, $handler:path, $does:expr) => {
        $crate::route::Route::new(stringify!($method), $path, $does, || {
            axum::routing::on(axum::routing::MethodFilter::$method, $handler)
        })
    };
}
pub(crate) use route;

impl<S> Route<S> {
    pub const fn new(
        method: &'static str,
        path: &'static str,
        does: Does,
        connect: fn() -> MethodRouter<S>,
    ) -> Self {
        let entry = Entry {
            method,
            path,
            does,
            body: Body::None,
            query: &[],
            limit: None,
            waits_for_turn: false,
            own_faults: &[],
        };
        Self { entry, connect }
    }

    /// It takes the operation's request as its body.
    pub const fn body(self) -> Self {
        self.takes(Body::Request)
    }

    pub const fn takes(mut self, body: Body) -> Self {
        self.entry.body = body;
        self
    }

    /// It takes a list's page from the query.
    pub const fn page(self) -> Self {
        self.query(&["limit", "cursor"])
    }

    pub const fn query(mut self, names: &'static [&'static str]) -> Self {
        self.entry.query = names;
        self
    }

    pub const fn limit(mut self, limit: Limit) -> Self {
        self.entry.limit = Some(limit);
        self
    }

    /// It answers when a turn has ended.
    pub const fn waits_for_turn(mut self) -> Self {
        self.entry.waits_for_turn = true;
        self
    }

    /// It may answer these as well.
    pub const fn or(mut self, faults: &'static [FaultCode]) -> Self {
        self.entry.own_faults = faults;
        self
    }
}

/// The ids that a path may have, and what is answered when there is no such thing.
const IDS: &[(&str, FaultCode)] = &[
    (ApiKeyId::TOKEN, ApiKeyId::MISSING),
    (ConversationId::TOKEN, ConversationId::MISSING),
    (ProjectId::TOKEN, ProjectId::MISSING),
    (PromptId::TOKEN, PromptId::MISSING),
    (TurnId::TOKEN, TurnId::MISSING),
];

/// What a turn may come to, beside its answer.
const OUTCOMES: &[FaultCode] = &[
    FaultCode::InvalidIdempotencyKey,
    FaultCode::PromptUnrenderable,
    FaultCode::UnknownModel,
    FaultCode::IdempotencyKeyReused,
    FaultCode::ContextTooLong,
    FaultCode::ConversationBusy,
    FaultCode::TurnCancelled,
    FaultCode::AttemptsExhausted,
    FaultCode::ProviderUnavailable,
    FaultCode::ProviderRejected,
    FaultCode::ProviderMisconfigured,
    FaultCode::ProviderFailed,
    FaultCode::AnswerTruncated,
    FaultCode::AnswerMalformed,
    FaultCode::AnswerEmpty,
    FaultCode::AnswerFiltered,
    FaultCode::AnswerUnsupported,
    FaultCode::AnswerTooLarge,
    FaultCode::ProviderBusy,
    FaultCode::ProviderTimedOut,
    FaultCode::AnswerPending,
];

impl Entry {
    /// The name of what it does: `list_projects`.
    pub fn name(&self) -> String {
        match self.does {
            Does::Ask(operation) => operation.name.to_lowercase(),
            Does::Tell(told) | Does::Stream(told, ..) | Does::Switch(told) => told.name.to_owned(),
        }
    }

    /// The operation that it asks for.
    pub const fn operation(&self) -> Option<&'static OperationInfo> {
        match self.does {
            Does::Ask(operation) | Does::Stream(_, operation, _) => Some(operation),
            Does::Tell(_) | Does::Switch(_) => None,
        }
    }

    /// Whether it tells events.
    pub const fn is_stream(&self) -> bool {
        matches!(self.does, Does::Stream(..))
    }

    /// Whether what it tells can be picked up by an id.
    pub fn is_resumable(&self) -> bool {
        self.query.contains(&STARTING_AFTER)
    }

    /// Whether it goes on as a WebSocket.
    pub const fn is_socket(&self) -> bool {
        matches!(self.does, Does::Switch(_))
    }

    /// Whether one has to say who asks.
    pub fn is_guarded(&self) -> bool {
        self.operation().is_some_and(OperationInfo::is_guarded)
    }

    /// Whether requests to it are counted, per address or, where they make turns, per user.
    pub const fn is_limited(&self) -> bool {
        self.limit.is_some() || self.waits_for_turn
    }

    /// The names of what varies in its path.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// All that it may answer in place of a success, in the order of the table of faults.
    pub fn faults(&self) -> Vec<FaultCode> {
        use FaultCode::{
            AccountDisabled, BodyTooLarge, HeadersTooLarge, InsufficientScope, Internal, InvalidBody,
            InvalidCursor, InvalidEventId, InvalidToken, MalformedBody, MalformedRequest, MissingToken,
            OriginNotAllowed, Overloaded, RateLimited, RequestTimedOut, TokenExpired, TooManyConnections,
            Unavailable, UnsupportedMediaType, UpgradeRequired, UriTooLong,
        };
        let rules: [(bool, &[FaultCode]); 10] = [
            (
                true,
                &[
                    MalformedRequest,
                    RequestTimedOut,
                    UriTooLong,
                    TooManyConnections,
                    HeadersTooLarge,
                    Internal,
                    Overloaded,
                ],
            ),
            (self.operation().is_some(), &[Unavailable]),
            (
                self.is_guarded(),
                &[MissingToken, InvalidToken, TokenExpired, AccountDisabled, InsufficientScope],
            ),
            (
                !matches!(self.body, Body::None),
                &[MalformedBody, BodyTooLarge, UnsupportedMediaType, InvalidBody],
            ),
            (self.query.contains(&"cursor"), &[InvalidCursor, InvalidBody]),
            (self.is_limited(), &[RateLimited]),
            (self.is_stream(), &[RateLimited]),
            (self.is_resumable(), &[InvalidEventId]),
            (self.is_socket(), &[InvalidToken, OriginNotAllowed, UpgradeRequired]),
            (self.waits_for_turn, OUTCOMES),
        ];
        let ruled = rules.into_iter().filter(|(applies, _)| *applies).flat_map(|(_, faults)| faults);
        let missing = self.parameters().filter_map(|name| IDS.iter().find(|(token, _)| *token == name));
        let all: Vec<_> = ruled.chain(missing.map(|(_, fault)| fault)).chain(self.own_faults).collect();
        FaultCode::ALL.iter().filter(|code| all.contains(code)).copied().collect()
    }
}
