//! Conversations and their messages.

use bytes::Bytes;
use http::Uri;
use serde_json::{Value, json};
use wire::{
    ConversationId, ProjectId,
    operations::{
        CREATE_CONVERSATION, DELETE_CONVERSATION, GET_CONVERSATION, LIST_CONVERSATIONS, LIST_MESSAGES,
        SEND_MESSAGE, UPDATE_CONVERSATION,
    },
};

use crate::{
    address::{PathId, query_as_body, query_fields},
    answer::Answer,
    body::JsonBody,
    caller::Caller,
    route::Told,
    send::{IdempotencyKey, Wishes},
};

pub(crate) const EVENTS: Told = Told {
    name: "stream_conversation",
    summary: "Tells what happens in a conversation, as server-sent events.",
    gives: "Events: `turn_accepted`, `turn_ended`, `updated`, `missed` (some may have been lost: read again), and at last \
        `deleted`. They have no ids: who comes back reads the messages again.",
    media_type: "text/event-stream",
    schema: event,
    or_503: false,
};

/// One event: readers of descriptions take the schema of a stream for that of each of its events.
fn event() -> Value {
    let names = ["turn_accepted", "turn_ended", "updated", "missed", "deleted"];
    json!({
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": { "enum": names, "description": "What happened." },
            "data": { "type": "string", "contentMediaType": "application/json", "description": "More about it, as JSON." },
        },
    })
}

/// The project stands in the body or, when there is none, in the query.
pub(crate) async fn create(caller: Caller, uri: Uri, JsonBody(body): JsonBody) -> Answer {
    let body = if body.is_empty() { query_as_body(&uri, &["project_id"])? } else { body };
    caller.ask(&CREATE_CONVERSATION, &[], body).await
}

pub(crate) async fn list(caller: Caller, PathId(project): PathId<ProjectId>, uri: Uri) -> Answer {
    let mut fields = query_fields(&uri, &["limit", "cursor"])?;
    fields.insert("project_id".into(), project.to_string().into());
    caller.ask(&LIST_CONVERSATIONS, &[], Value::from(fields).to_string().into()).await
}

pub(crate) async fn get(caller: Caller, PathId(conversation): PathId<ConversationId>) -> Answer {
    caller.ask(&GET_CONVERSATION, &[&conversation], Bytes::new()).await
}

pub(crate) async fn update(
    caller: Caller,
    PathId(conversation): PathId<ConversationId>,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.ask(&UPDATE_CONVERSATION, &[&conversation], body).await
}

pub(crate) async fn delete(caller: Caller, PathId(conversation): PathId<ConversationId>) -> Answer {
    caller.ask(&DELETE_CONVERSATION, &[&conversation], Bytes::new()).await
}

pub(crate) async fn messages(
    caller: Caller,
    PathId(conversation): PathId<ConversationId>,
    uri: Uri,
) -> Answer {
    caller.ask(&LIST_MESSAGES, &[&conversation], query_as_body(&uri, &["branch", "limit", "cursor"])?).await
}

pub(crate) async fn events(caller: Caller, PathId(conversation): PathId<ConversationId>) -> Answer {
    caller.stream_conversation(conversation).await
}

pub(crate) async fn send(
    caller: Caller,
    PathId(conversation): PathId<ConversationId>,
    key: IdempotencyKey,
    wishes: Wishes,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.send(&SEND_MESSAGE, &conversation, key, wishes, body).await
}
