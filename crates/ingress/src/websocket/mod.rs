//! One socket for many turns (RFC 6455). What a client says is an operation with a name of its own; what it is told are the
//! answers to these, and the events of turns: the very frames that `stream` tells over HTTP.
//!
//! ```text
//! client ──► request: what is said ──► desk: what is under way ──► caller: the same calls as over HTTP
//!        ◄── session: writes ◄── outbox ◄── desk, and the followers of turns (`stream`)
//! ```
//!
//! `handshake`: who may open one; `request`: what a client says; `reply`: what it is told; `turns`: those that are followed;
//! `desk`: what is under way; `session`: its life; `close`: why it ends.

mod close;
mod desk;
mod handshake;
mod reply;
mod request;
mod session;
mod turns;

use axum::{
    extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    response::{IntoResponse, Response},
};
use host::{limit::hit, telemetry::Metric};
use http::{
    HeaderMap, HeaderValue, Uri,
    header::{CONNECTION, UPGRADE},
};
use serde_json::{Value, json};
use wire::{Fault, FaultCode, limit::Limit, limits::SOCKET_MESSAGE_BYTES_MAX};

use self::{handshake::PROTOCOL, session::Session};
use crate::{
    answer::{Answer, Refusal},
    caller::Visitor,
    route::Told,
};

const OPEN: &str = "omnichat_sockets_in_flight";
const ENDED: &str = "omnichat_sockets_ended_total";
const MESSAGES: &str = "omnichat_socket_messages_total";

/// The metrics of sockets.
pub(crate) const METRICS: &[Metric] = &[
    Metric::gauge(OPEN, "Sockets that are open."),
    Metric::counter(ENDED, "Sockets that ended, by the reason."),
    Metric::counter(MESSAGES, "Messages that came over sockets, by operation."),
];

pub(crate) const SOCKET: Told = Told {
    name: "open_socket",
    summary: "Opens a WebSocket, over which messages are sent and turns are watched, any number at a time.",
    gives: "The connection is a WebSocket from now on. The subprotocol is `omnichat.v1`; the token is offered as another one, \
        `bearer.<token>`, or said in the first message: `{\"op\":\"auth\",\"token\":…}`. Operations are `send`, `regenerate`, \
        `watch`, `unwatch`, `cancel` and `ping`, each a JSON object in a text message. What comes back are `reply` and `error`, \
        with the `ref` of their operation, and the events of turns, with the `id` that a stream gives them.",
    media_type: "application/json",
    schema: frame,
    or_503: false,
};

/// What the server says in one message.
fn frame() -> Value {
    let names = ["ready", "reply", "error", "reconnect", "accepted", "started", "delta", "restarted"];
    let names = names.into_iter().chain(["completed", "failed", "cancelled"]).collect::<Vec<_>>();
    let id = "Of an event of a turn: `<turn>:<number>`, as in a stream.";
    json!({
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": { "enum": names, "description": "What happened." },
            "id": { "type": "string", "pattern": "^[0-9a-f-]{36}:[0-9]{1,8}$", "description": id },
            "ref": { "type": "string", "description": "What the client called the operation that this answers." },
            "data": { "type": "object", "description": "More about it." },
        },
    })
}

/// A WebSocket is read in small pieces, and each message written at once: thousands of them are open and quiet.
const READ_BYTES: usize = 4 * 1024;

pub(crate) async fn open(
    visitor: Visitor,
    headers: HeaderMap,
    uri: Uri,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer {
    let door = visitor.door();
    let Ok(upgrade) = upgrade else { return Ok(no_upgrade()) };
    let credential = handshake::check(&door.origins, &headers, &uri)?;
    let slot = door.sockets.take(None).map_err(|limit| {
        hit(limit.name);
        Refusal::from(FaultCode::Overloaded)
    })?;
    let session = Session { visitor, slot, credential };
    Ok(upgrade
        .protocols([PROTOCOL])
        .max_message_size(SOCKET_MESSAGE_BYTES_MAX)
        .max_frame_size(SOCKET_MESSAGE_BYTES_MAX)
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .on_upgrade(|socket| session.run(socket)))
}

/// What a request that asks for no WebSocket is told (RFC 9110 §15.5.22).
fn no_upgrade() -> Response {
    let mut response = Refusal::from(FaultCode::UpgradeRequired).into_response();
    let wanted = [(CONNECTION, "upgrade"), (UPGRADE, "websocket")];
    response.headers_mut().extend(wanted.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// A limit of a socket was reached.
fn refused(limit: &Limit, message: &'static str) -> Fault {
    hit(limit.name);
    Fault::because(FaultCode::RateLimited, message)
}
