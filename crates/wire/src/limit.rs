//! The limits that clients meet, in one table: what is bounded, which key sets it, what happens beyond it, and what counts
//! that. `docs/operations.md` shows it, and a test holds the two equal.

use crate::{FaultCode, limits};

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What its metric calls it.
    pub name: &'static str,
    /// What is bounded.
    pub what: &'static str,
    /// The key that sets it; absent: nobody can.
    pub key: Option<&'static str>,
    /// How much is allowed, unless the key says otherwise.
    pub default: u64,
    /// Of what.
    pub unit: &'static str,
    /// What more than that comes to.
    pub over: Over,
    /// What counts that.
    pub metric: &'static str,
}

/// What happens beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It is refused.
    Refused(FaultCode),
    /// It is refused, and the connection closed.
    RefusedAndClosed(FaultCode),
    /// The connection is closed without a word.
    Closed,
    /// The stream ends, and can be picked up where it was.
    Interrupted,
    /// The socket is closed with this code.
    Ended(u16),
    /// The oldest are left out.
    LeftOut,
}

/// Rows of the table, each also a constant.
macro_rules! limits {
    ($($id:ident = $name:literal, $what:literal, $key:expr, $default:expr, $unit:literal, $over:expr, $metric:expr;)+) => {
        $(#[doc = $what] pub const $id: Limit = Limit {
            name: $name,
            what: $what,
            key: $key,
            default: $default,
            unit: $unit,
            over: $over,
            metric: $metric,
        };)+

        /// Every limit there is, in the order of `docs/operations.md`.
        pub const ALL: &[Limit] = &[$($id),+];
    };
}

/// The metric of a limit that the ingress or the chat service holds by itself.
macro_rules! hits {
    ($name:literal) => {
        concat!("omnichat_limit_hits_total{limit=\"", $name, "\"}")
    };
}

use FaultCode::{
    AnswerTooLarge, AttemptsExhausted, AuthBusy, BodyTooLarge, ConversationBusy, HeadersTooLarge,
    InvalidBody, Overloaded, ProviderTimedOut, RateLimited, RequestTimedOut, TooManyConnections, Unavailable,
    UriTooLong,
};
use Over::{Closed, Ended, Interrupted, LeftOut, Refused, RefusedAndClosed};

limits! {
    CONNECTIONS = "connections", "HTTP connections at a time",
        Some("http.connections_max"), 1_000, "", RefusedAndClosed(Overloaded), hits!("connections");
    CONNECTIONS_PER_ADDRESS = "connections_per_address", "of these, from one address",
        Some("http.connections_per_address_max"), 32, "", RefusedAndClosed(TooManyConnections), hits!("connections_per_address");
    HEAD_TIME = "head_time", "time for the head of a request, and for the first byte on a new connection",
        Some("http.header_read_timeout_s"), 10, "s", RefusedAndClosed(RequestTimedOut), hits!("head_time");
    BODY_TIME = "body_time", "time for the body of a request",
        Some("http.body_read_timeout_s"), 15, "s", RefusedAndClosed(RequestTimedOut), hits!("body_time");
    IDLE_TIME = "idle_time", "time between two requests, and without taking anything of an answer",
        Some("http.idle_timeout_s"), 60, "s", Closed, hits!("idle_time");
    TOTAL_TIME = "total_time", "time of a request in all, a send excepted; of a stream, until it begins",
        Some("http.total_timeout_s"), 30, "s", Refused(Unavailable), hits!("total_time");
    HEADER_BYTES = "header_bytes", "headers of a request, names and values together",
        None, limits::HEADER_BYTES_MAX as u64, "bytes", Refused(HeadersTooLarge), hits!("header_bytes");
    HEADERS = "headers", "headers of a request",
        None, limits::HEADERS_MAX as u64, "", Refused(HeadersTooLarge), hits!("headers");
    URI_BYTES = "uri_bytes", "path and query of a request",
        None, limits::URI_BYTES_MAX as u64, "bytes", Refused(UriTooLong), hits!("uri_bytes");
    BODY_BYTES = "body_bytes", "body of a request",
        None, limits::BODY_BYTES_MAX as u64, "bytes", RefusedAndClosed(BodyTooLarge), hits!("body_bytes");
    MESSAGE_BYTES = "message_bytes", "content of a message",
        None, limits::MESSAGE_BYTES_MAX as u64, "bytes", Refused(InvalidBody), "omnichat_requests_total{code=\"invalid_body\"}";
    IMAGES = "images", "images of a message",
        None, limits::IMAGES_MAX as u64, "", Refused(InvalidBody), "omnichat_requests_total{code=\"invalid_body\"}";
    IMAGES_BYTES = "images_bytes", "of these, together: their addresses, or themselves in base64",
        None, limits::IMAGES_BYTES_MAX as u64, "bytes", Refused(InvalidBody), "omnichat_requests_total{code=\"invalid_body\"}";
    SETTINGS_BYTES = "settings_bytes", "tools, response format and extra parameters of a request, as JSON, together",
        None, limits::SETTINGS_BYTES_MAX as u64, "bytes", Refused(InvalidBody), "omnichat_requests_total{code=\"invalid_body\"}";
    LOGINS = "logins", "logins per address and minute",
        Some("limits.logins_per_address_per_min"), 30, "", Refused(RateLimited), hits!("logins");
    REGISTRATIONS = "registrations", "registrations per address and minute",
        Some("limits.registrations_per_address_per_min"), 10, "", Refused(RateLimited), hits!("registrations");
    REFRESHES = "refreshes", "refreshed sessions per address and minute",
        Some("limits.refreshes_per_address_per_min"), 60, "", Refused(RateLimited), hits!("refreshes");
    FAILED_LOGINS = "failed_logins", "wrong passwords of an account in a row, before each next try waits for up to a minute",
        None, 5, "", Refused(RateLimited), "omnichat_requests_total{operation=\"LOG_IN\",code=\"rate_limited\"}";
    WAITING_HASHES = "waiting_hashes", "passwords that wait to be hashed",
        Some("auth.hash_queue"), 16, "", Refused(AuthBusy), "omnichat_auth_busy_total";
    REQUESTS = "requests", "requests of one user that a service works on at a time, sends excepted",
        None, limits::REQUESTS_OF_ONE_MAX as u64, "", Refused(Overloaded), "omnichat_requests_total{code=\"overloaded\"}";
    TURNS = "turns", "messages sent per user and minute, over HTTP and NATS together",
        Some("limits.turns_per_user_per_min"), 600, "", Refused(RateLimited), hits!("turns");
    RUNNING_TURNS_PER_USER = "running_turns_per_user", "turns of one user that run at a time",
        Some("limits.running_turns_per_user"), 64, "", Refused(RateLimited), hits!("running_turns_per_user");
    RUNNING_TURNS = "running_turns", "turns that run at a time, per process",
        Some("limits.running_turns_per_node"), 2_048, "", Refused(Overloaded), hits!("running_turns");
    OPEN_TURNS = "open_turns", "turns that are accepted, or about to be, and have no outcome yet, of all users",
        Some("limits.open_turns"), 10_000, "", Refused(Overloaded), hits!("open_turns");
    WAITING_TURNS = "waiting_turns", "turns that wait in one conversation, beside the one that runs",
        Some("limits.waiting_turns_per_conversation"), 8, "", Refused(ConversationBusy), "omnichat_requests_total{code=\"conversation_busy\"}";
    STREAMS_PER_USER = "streams_per_user", "open streams of one user",
        Some("limits.streams_per_user"), 8, "", Refused(RateLimited), hits!("streams_per_user");
    STREAMS = "streams", "open streams, per process",
        Some("limits.streams_per_node"), 500, "", Refused(Overloaded), hits!("streams");
    STREAM_TIME = "stream_time", "time of a stream",
        Some("http.stream_life_s"), 1_800, "s", Interrupted, "omnichat_streams_ended_total{reason=\"grown_old\"}";
    STREAM_FRAMES = "stream_frames", "events that wait for a stream's reader, who takes nothing for `http.stream_stall_s`",
        None, limits::STREAM_FRAMES_MAX as u64, "", Interrupted, "omnichat_streams_ended_total{reason=\"lagged\"}";
    STREAM_BYTES = "stream_bytes", "of these, together",
        None, limits::STREAM_BYTES_MAX as u64, "bytes", Interrupted, "omnichat_streams_ended_total{reason=\"lagged\"}";
    SOCKETS_PER_USER = "sockets_per_user", "open sockets of one user",
        Some("limits.sockets_per_user"), 8, "", Ended(4429), hits!("sockets_per_user");
    SOCKETS = "sockets", "open sockets, per process",
        Some("limits.sockets_per_node"), 500, "", Refused(Overloaded), hits!("sockets");
    SOCKET_MESSAGES = "socket_messages", "messages to sockets per user and minute",
        Some("limits.socket_messages_per_user_per_min"), 1_200, "", Refused(RateLimited), hits!("socket_messages");
    SOCKET_MESSAGE_BYTES = "socket_message_bytes", "a message to a socket",
        None, limits::SOCKET_MESSAGE_BYTES_MAX as u64, "bytes", Ended(1009), "omnichat_sockets_ended_total{reason=\"too_big\"}";
    SOCKET_TURNS = "socket_turns", "turns followed over one socket at a time, those that it sends included",
        None, limits::SOCKET_TURNS_MAX as u64, "", Refused(RateLimited), hits!("socket_turns");
    SOCKET_CONVERSATIONS = "socket_conversations", "conversations watched over one socket",
        None, limits::SOCKET_CONVERSATIONS_MAX as u64, "", Refused(RateLimited), hits!("socket_conversations");
    SOCKET_REQUESTS = "socket_requests", "requests over one socket that are under way at a time, sends excepted",
        None, limits::SOCKET_REQUESTS_MAX as u64, "", Refused(RateLimited), hits!("socket_requests");
    SOCKET_CONTROLS = "socket_controls", "pings and pongs to a socket between two heartbeats",
        None, limits::SOCKET_CONTROLS_MAX as u64, "", Ended(1008), "omnichat_sockets_ended_total{reason=\"flooded\"}";
    SOCKET_TOKEN_TIME = "socket_token_time", "time for the token, when a socket was opened without one",
        None, limits::SOCKET_TOKEN_TIME_S as u64, "s", Ended(4401), "omnichat_sockets_ended_total{reason=\"not_let_in\"}";
    SOCKET_TIME = "socket_time", "time of a socket",
        Some("http.stream_life_s"), 1_800, "s", Ended(1001), "omnichat_sockets_ended_total{reason=\"grown_old\"}";
    SOCKET_LAG = "socket_lag", "frames that wait for a socket's reader, who takes nothing for `http.stream_stall_s`, together",
        None, limits::STREAM_BYTES_MAX as u64, "bytes", Ended(1008), "omnichat_sockets_ended_total{reason=\"lagged\"}";
    ATTEMPTS = "attempts", "calls to a provider for one turn",
        None, limits::ATTEMPTS_MAX as u64, "", Refused(AttemptsExhausted), "omnichat_turns_finished_total{code=\"attempts_exhausted\"}";
    ANSWER_BYTES = "answer_bytes", "an answer of a model",
        None, limits::ANSWER_BYTES_MAX as u64, "bytes", Refused(AnswerTooLarge), "omnichat_turns_finished_total{code=\"answer_too_large\"}";
    ANSWER_TIME = "answer_time", "time of a call to a provider",
        Some("providers.*.timeouts.total_ms"), 120_000, "ms", Refused(ProviderTimedOut), "omnichat_turns_finished_total{code=\"provider_timed_out\"}";
    HISTORY_MESSAGES = "history_messages", "messages of a conversation that a model is told, the question included; the prompt always is",
        Some("chat.history_messages_max"), 100, "", LeftOut, hits!("history_messages");
    HISTORY_BYTES = "history_bytes", "of these before the question, together",
        Some("chat.history_bytes_max"), 262_144, "bytes", LeftOut, hits!("history_bytes");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_limit_has_one_name_and_one_metric() {
        let names: BTreeSet<_> = ALL.iter().map(|limit| limit.name).collect();
        assert_eq!(names.len(), ALL.len());
        for limit in ALL {
            let (hits, own) =
                (limit.metric.starts_with("omnichat_limit_hits_total"), format!("\"{}\"", limit.name));
            assert!(!hits || limit.metric.contains(&own), "{}", limit.name);
        }
    }
}
