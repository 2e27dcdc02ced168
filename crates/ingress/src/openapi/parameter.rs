//! What a request says outside of its body.

use serde_json::{Value, json};
use wire::{
    ChooseVersion, FaultCode, LabelPrompt, header, limits::IDEMPOTENCY_KEY_BYTES_MAX, schema::Description,
};

use crate::{
    route::Entry,
    routes::play,
    stream::{Position, STARTING_AFTER},
};

/// A key: visible characters, and spaces between them. One in quotes is taken without them, so something must be within.
const KEY: &str = r#"^([!-~]|[!#-~][ -~]*[!-~]|"[ -~]*[!#-~]|"[ -~]+")$"#;

pub(super) fn parameters(entry: &Entry) -> Vec<Value> {
    let mut parameters: Vec<_> = entry.parameters().map(in_path).collect();
    let request =
        entry.operation().map(|operation| operation.request_schema.of_request()).unwrap_or_default();
    if entry.is_resumable() {
        parameters.extend(last_seen());
    } else {
        parameters.extend(entry.query.iter().map(|name| in_query(name, &request["properties"][name])));
    }
    if entry.waits_for_turn {
        parameters.push(json!({
            "name": header::PREFER,
            "in": "header",
            "description": "`respond-async`: not to wait for the end of the turn.",
            "schema": { "type": "string", "examples": [header::RESPOND_ASYNC] },
        }));
    }
    if entry.faults().contains(&FaultCode::InvalidIdempotencyKey) {
        parameters.push(json!({
            "name": header::IDEMPOTENCY_KEY,
            "in": "header",
            "description": "Sends with the same key are the same turn: repeat a send with its key, and it is answered with \
                the outcome of the first.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": IDEMPOTENCY_KEY_BYTES_MAX,
                "pattern": KEY,
                "examples": ["3f1c9a"],
            },
        }));
    }
    parameters
}

/// Where a stream is to be picked up, said in either of two ways.
fn last_seen() -> [Value; 2] {
    let describe =
        |way: &str| format!("The last event that was seen, as {way}; the stream goes on behind it.");
    let number = json!({ "type": "integer", "minimum": 0, "maximum": Position::MAX.number() });
    let id = json!({ "type": "string", "pattern": "^[0-9A-Fa-f-]{36}:[0-9]{1,8}$" });
    [
        json!({ "name": STARTING_AFTER, "in": "query", "description": describe("the number in its `id`"), "schema": number }),
        json!({ "name": header::LAST_EVENT_ID, "in": "header", "description": describe("its `id`"), "schema": id }),
    ]
}

/// A part of the path: an id, or what its name says.
fn in_path(name: &str) -> Value {
    let of = |request: Description, name: &str| request.of_request()["properties"][name].clone();
    let (description, schema) = match name {
        "version" => ("The number of the version.".to_owned(), of(Description::of::<ChooseVersion>(), name)),
        "label" => ("The label.".to_owned(), of(Description::of::<LabelPrompt>(), name)),
        "script" => (
            "The name of the module.".to_owned(),
            json!({ "type": "string", "enum": play::scripts().collect::<Vec<_>>() }),
        ),
        kind => (
            format!("The id of the {}.", kind.replace("api_", "API ")),
            json!({ "type": "string", "format": "uuid" }),
        ),
    };
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

/// A field of the request that stands in the query instead.
fn in_query(name: &str, field: &Value) -> Value {
    let mut schema = present(field.clone());
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

/// The schema of a field that is given: the query knows no null.
fn present(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    schema.remove("default");
    if let Some(Value::Array(choices)) = schema.remove("anyOf") {
        let choice = choices.into_iter().find(|choice| choice["type"] != "null");
        schema.extend(choice.and_then(|choice| choice.as_object().cloned()).unwrap_or_default());
    }
    if let Some(kind) = schema.get_mut("type") {
        let present = kind.as_array().and_then(|kinds| kinds.iter().find(|kind| *kind != "null")).cloned();
        *kind = present.unwrap_or(kind.take());
    }
    schema.into()
}
