//! Turns.

use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde_json::{Value, json};
use wire::{
    TurnId,
    operations::{CANCEL_TURN, GET_TURN, REGENERATE_TURN},
};

use crate::{
    address::PathId,
    answer::Answer,
    body::JsonBody,
    caller::Caller,
    route::Told,
    send::{IdempotencyKey, Wishes},
    stream::Position,
};

pub(crate) const EVENTS: Told = Told {
    name: "stream_turn",
    summary: "Tells the events of a turn while they happen, as server-sent events.",
    gives: "Events: `accepted`, `started`, `delta` with some of the answer, `restarted` (drop the text so far), and at last one \
        of `completed`, `failed`, `cancelled`, after which the stream ends. A stream that ends before can be picked up: the `id` \
        of the last event goes into `Last-Event-ID`.",
    media_type: "text/event-stream",
    schema: event,
    or_503: false,
};

/// One event: readers of descriptions take the schema of a stream for that of each of its events.
fn event() -> Value {
    let names = ["queued", "accepted", "started", "delta", "restarted", "completed", "failed", "cancelled"];
    let id = "Names the event, and what its reader has by then: `<turn>:<number>`. A turn that is not accepted yet has none.";
    json!({
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "id": { "type": "string", "pattern": "^[0-9a-f-]{36}:[0-9]{1,8}$", "description": id },
            "event": { "enum": names, "description": "What happened." },
            "data": { "type": "string", "contentMediaType": "application/json", "description": "More about it, as JSON." },
        },
    })
}
pub(crate) async fn get(caller: Caller, PathId(turn): PathId<TurnId>) -> Answer {
    caller.ask(&GET_TURN, &[&turn], Bytes::new()).await
}

pub(crate) async fn events(
    caller: Caller,
    PathId(turn): PathId<TurnId>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    caller.stream(turn, Position::given(turn, &uri, &headers)?).await
}

pub(crate) async fn cancel(caller: Caller, PathId(turn): PathId<TurnId>) -> Answer {
    caller.ask(&CANCEL_TURN, &[&turn], Bytes::new()).await
}

pub(crate) async fn regenerate(
    caller: Caller,
    PathId(turn): PathId<TurnId>,
    key: IdempotencyKey,
    wishes: Wishes,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.send(&REGENERATE_TURN, &turn, key, wishes, body).await
}
