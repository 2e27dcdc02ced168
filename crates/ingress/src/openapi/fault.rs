//! What may be answered in place of a success: one answer per status, with the codes that it may have.

use serde_json::{Map, Value, json};
use wire::{Fault, FaultCode, FieldError, Problem, schema::Description};

use super::Components;
use crate::route::Entry;

/// The name of a request, in examples.
const REQUEST_ID: &str = "0198c5a2-7d1e-7b43-9a52-4f0e5c6d7e8f";

/// The faults of a route, by status. Routes with the same faults share an answer.
pub(super) fn responses(entry: &Entry, components: &mut Components) -> Map<String, Value> {
    let faults = entry.faults();
    let mut responses = Map::new();
    for codes in faults.chunk_by(|a, b| a.status() == b.status()) {
        let name = codes.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(".");
        if !components.faults.contains_key(&name) {
            let problem = components.replies.add(Description::of::<Problem>());
            components.faults.insert(name.clone(), response(codes, &problem));
        }
        responses.insert(codes[0].status().to_string(), reference(&name));
    }
    responses
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/responses/{name}") })
}

fn response(codes: &[FaultCode], problem: &Value) -> Value {
    let status = codes[0].status();
    let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
    let lines: Vec<_> =
        codes.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.detail())).collect();
    let examples: Map<_, _> =
        codes.iter().map(|&code| (code.as_str().to_owned(), json!({ "value": example(code) }))).collect();
    let mut headers = vec!["x-request-id"];
    headers.extend(match status {
        401 => Some("WWW-Authenticate"),
        429 | 503 => Some("Retry-After"),
        _ => None,
    });
    json!({
        "description": lines.join("\n"),
        "headers": references(&headers),
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [problem, { "properties": { "status": { "const": status }, "code": { "enum": names } } }],
                },
                "examples": examples,
            },
        },
    })
}

fn example(code: FaultCode) -> Problem {
    let fault = match code {
        FaultCode::InvalidBody => Fault::invalid(vec![FieldError {
            field: "limit".into(),
            code: "out_of_range".into(),
            message: "must be between 1 and 1000".into(),
        }]),
        _ => Fault::new(code),
    };
    Problem::of(&fault, Some(REQUEST_ID))
}

/// A process that is not well says so in the same form as one that is; too many connections are a problem.
pub(super) fn unwell(content: &Value) -> Value {
    let mut content = content.clone();
    content["application/problem+json"] = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    json!({
        "description": "The process takes no requests.",
        "headers": references(&["x-request-id", "Retry-After"]),
        "content": content,
    })
}

/// The headers that answers may have.
pub(super) fn headers() -> Value {
    let text = |description: &str, example: &str| json!({ "description": description, "schema": { "type": "string", "examples": [example] } });
    json!({
        "x-request-id": text("Names the request, in logs as well. One that the client sends is kept.", REQUEST_ID),
        "Retry-After": {
            "description": "When trying again makes sense, in seconds.",
            "schema": { "type": "integer", "minimum": 1, "maximum": 60 },
        },
        "WWW-Authenticate": text("What is asked for.", "Bearer"),
        "Location": text("Where the turn is shown.", "/turns/0198c5a2-7d1e-7b43-9a52-4f0e5c6d7e8f"),
        "Preference-Applied": text("The preference that was met.", "respond-async"),
        "Link": text("Where the next page of the list is, if there is one.", "</projects?limit=2&cursor=AZ>; rel=\"next\""),
        "RateLimit": text("What is left of the limit, and in how many seconds all of it is there again.", "\"logins\";r=29;t=2"),
        "RateLimit-Policy": text("The limit: so many requests in so many seconds.", "\"logins\";q=30;w=60"),
    })
}

/// References to them.
pub(super) fn references(names: &[&str]) -> Value {
    let reference =
        |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    Value::Object(names.iter().map(reference).collect())
}
