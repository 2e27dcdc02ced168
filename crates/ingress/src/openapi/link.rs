//! What can be done with what was made: links from an answer to the routes that take its ids.

use serde_json::{Map, Value, json};
use wire::{ApiKeyId, ConversationId, Id, ProjectId, PromptId, TurnId};

use super::entries;
use crate::route::{Does, Entry};

/// A reply that names a new thing: the reply's type, what its id is called in paths, and where it stands in the reply.
const NEW: &[(&str, &str, &str)] = &[
    ("Answer", TurnId::TOKEN, "/turn_id"),
    ("Conversation", ConversationId::TOKEN, "/id"),
    ("Project", ProjectId::TOKEN, "/id"),
    ("Prompt", PromptId::TOKEN, "/id"),
    ("ShownApiKey", ApiKeyId::TOKEN, "/id"),
];

/// The routes about the thing that this one makes: those whose last id is its, or that take it in the query.
pub(super) fn links(entry: &Entry) -> Map<String, Value> {
    let Does::Ask(operation) = entry.does else { return Map::new() };
    let made = NEW.iter().find(|(reply, ..)| *reply == operation.reply);
    let Some((_, token, place)) = made.filter(|(_, token, _)| entry.parameters().all(|name| name != *token))
    else {
        return Map::new();
    };
    let linked = entries().filter(|other| entry.method == "POST" && is_about(other, token));
    linked.filter_map(|other| Some((other.name(), link(entry, other, token, place)?))).collect()
}

fn is_about(entry: &Entry, token: &str) -> bool {
    last_id(entry) == Some(token) || entry.query.contains(&&*in_query(token))
}

/// What the id is called in a query.
fn in_query(token: &str) -> String {
    format!("{token}_id")
}

/// The last id of a path; a label or version behind it only chooses among what the thing has.
fn last_id(entry: &Entry) -> Option<&'static str> {
    entry.parameters().filter(|name| is_id(name)).last()
}

fn is_id(name: &str) -> bool {
    NEW.iter().any(|(_, token, _)| *token == name)
}

/// The link, if all that the other path asks for is known: from the reply, or from the path before.
fn link(entry: &Entry, other: &Entry, token: &str, place: &str) -> Option<Value> {
    let mut parameters = Map::new();
    for name in other.parameters() {
        let value = if name == token {
            format!("$response.body#{place}")
        } else if entry.parameters().any(|before| before == name) {
            format!("$request.path.{name}")
        } else if is_id(name) {
            return None;
        } else {
            continue;
        };
        parameters.insert(name.to_owned(), value.into());
    }
    if other.query.contains(&&*in_query(token)) {
        parameters.insert(in_query(token), format!("$response.body#{place}").into());
    }
    Some(json!({ "operationId": other.name(), "parameters": parameters }))
}
