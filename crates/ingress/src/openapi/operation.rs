//! One route, as an operation of the document.

use serde_json::{Map, Value, json};
use wire::{OperationInfo, Turn, schema::Description};

use super::{Components, fault, link, parameter};
use crate::{
    route::{Body, Does, Entry},
    routes::turns::EVENTS,
};

/// The kinds of things that routes are about: a part of their paths, a name, and what it is. The first that fits.
const TAGS: &[(&str, &str, &str)] = &[
    ("/auth/api-keys", "API keys", "Credentials for programs, with scopes."),
    ("/auth/", "Accounts", "Registering, logging in, sessions."),
    ("/.well-known/", "Accounts", ""),
    ("/prompts", "Prompts", "Texts with variables, in versions that never change."),
    ("/projects", "Projects", "What holds prompts and conversations together."),
    ("/conversations", "Conversations", "Messages and their answers."),
    ("/turns", "Turns", "One message and its one outcome."),
    ("/ws", "Turns", ""),
    ("", "Process", "What machines ask about the process, and this description."),
];

/// The kinds, in the order of their routes.
pub(super) fn tags() -> Vec<Value> {
    let order = ["Accounts", "API keys", "Projects", "Prompts", "Conversations", "Turns", "Process"];
    let told =
        order.iter().filter_map(|name| TAGS.iter().find(|(_, tag, about)| tag == name && !about.is_empty()));
    told.map(|(_, name, about)| json!({ "name": name, "description": about })).collect()
}

pub(super) fn operation(entry: &Entry, components: &mut Components) -> Value {
    let tag = TAGS.iter().find(|(part, ..)| entry.path.contains(part)).map(|(_, name, _)| name);
    let mut operation = json!({
        "operationId": entry.name(),
        "tags": [tag],
        "summary": summary(entry).trim_end_matches('.'),
        "responses": responses(entry, components),
    });
    if let Some(description) = description(entry) {
        operation["description"] = description.into();
    }
    let parameters = parameter::parameters(entry);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = body(entry, components) {
        operation["requestBody"] = body;
    }
    // Where no user asks, an empty list takes back what the document says of all.
    let scope = entry.operation().and_then(|operation| operation.scope);
    operation["security"] = scope.map_or(json!([]), |scope| json!([{ "bearer": [scope.as_str()] }]));
    operation
}

/// How a route that waits for a turn may be answered.
const MANNERS: &str = "The answer comes when the turn has ended; or, with `\"stream\": true` or `Accept: text/event-stream`, as \
    the events of the turn while they happen; or, with `Prefer: respond-async`, as soon as the turn is accepted. ";

const fn summary(entry: &Entry) -> &'static str {
    match entry.does {
        Does::Ask(operation) => operation.summary,
        Does::Tell(told) | Does::Stream(told, ..) | Does::Switch(told) => told.summary,
    }
}

fn description(entry: &Entry) -> Option<String> {
    let operation = entry.operation()?;
    let scope = operation.scope.map(|scope| format!("An API key needs the scope `{}`. ", scope.as_str()));
    let over_nats = match entry.does {
        Does::Stream(_, _, subject) => subject,
        Does::Ask(_) | Does::Tell(_) | Does::Switch(_) => operation.pattern,
    };
    let manners = if entry.waits_for_turn { MANNERS } else { "" };
    Some(format!("{}{manners}Over NATS: `{over_nats}`.", scope.unwrap_or_default()))
}

fn body(entry: &Entry, components: &mut Components) -> Option<Value> {
    let description = match entry.body {
        Body::None => return None,
        Body::Request | Body::RequestOrQuery => entry.operation()?.request_schema,
        Body::Rest(description) => description,
    };
    let needed = description.of_request().get("required").is_some();
    Some(json!({
        "required": needed && !matches!(entry.body, Body::RequestOrQuery),
        "content": { "application/json": { "schema": components.requests.add(description) } },
    }))
}

fn responses(entry: &Entry, components: &mut Components) -> Value {
    let mut responses: Map<_, _> = fault::responses(entry, components);
    let status = if entry.is_socket() { "101" } else { "200" };
    responses.insert(status.to_owned(), success(entry, components));
    if entry.waits_for_turn {
        responses.insert("202".to_owned(), accepted(components));
    }
    if let Does::Tell(told) = entry.does
        && told.or_503
        && let Some(content) = responses["200"].get("content").cloned()
    {
        responses.insert("503".to_owned(), fault::unwell(&content));
    }
    responses.into()
}

fn success(entry: &Entry, components: &mut Components) -> Value {
    let (media_type, schema, description) = match entry.does {
        Does::Ask(operation) => {
            ("application/json", components.replies.add(operation.reply_schema), of_reply(operation))
        }
        Does::Tell(told) | Does::Stream(told, ..) | Does::Switch(told) => {
            (told.media_type, (told.schema)(), told.gives.to_owned())
        }
    };
    let mut names = vec!["x-request-id"];
    if entry.query.contains(&"cursor") {
        names.push("Link");
    }
    if entry.is_limited() {
        names.extend(["RateLimit", "RateLimit-Policy"]);
    }
    let mut success = json!({
        "description": description,
        "headers": fault::references(&names),
        "content": { media_type: { "schema": schema } },
    });
    if entry.waits_for_turn {
        success["content"][EVENTS.media_type] = json!({ "schema": (EVENTS.schema)() });
    }
    let links = link::links(entry);
    if !links.is_empty() {
        success["links"] = links.into();
    }
    success
}

/// The answer to whoever does not wait for a turn.
fn accepted(components: &mut Components) -> Value {
    json!({
        "description": "The turn, which is accepted: with `Prefer: respond-async`.",
        "headers": fault::references(&["x-request-id", "Location", "Preference-Applied", "RateLimit", "RateLimit-Policy"]),
        "content": { "application/json": { "schema": components.replies.add(Description::of::<Turn>()) } },
    })
}

/// What a reply is, in a sentence: its type says so.
fn of_reply(operation: &OperationInfo) -> String {
    match operation.reply_schema.of_reply()["description"].as_str() {
        Some(description) => description.to_owned(),
        None => "A page of the list, as an array. `Link` names the next page, if there is one.".to_owned(),
    }
}
