//! The description of the API (OpenAPI 3.1), made of the table of routes and of the types that travel.

mod example;
mod fault;
mod link;
mod operation;
mod parameter;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use wire::schema::Collection;

use crate::{
    route::Entry,
    routes::{self, status},
};

/// The document, as JSON.
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        // All that it is made of is known when the program is built.
        serde_json::to_string(&Document::new()).unwrap_or_default()
    });
    &DOCUMENT
}

/// In the order in which people read it.
#[derive(Serialize)]
struct Document {
    openapi: &'static str,
    info: Value,
    servers: Value,
    security: Value,
    tags: Vec<Value>,
    paths: Ordered<Ordered<Value>>,
    components: Value,
}

/// A map in the order of its making.
#[derive(Default)]
struct Ordered<V>(Vec<(String, V)>);

impl<V> Ordered<V> {
    fn entry(&mut self, key: &str) -> &mut V
    where
        V: Default,
    {
        let place = self.0.iter().position(|(name, _)| name == key).unwrap_or(self.0.len());
        if place == self.0.len() {
            self.0.push((key.to_owned(), V::default()));
        }
        &mut self.0[place].1
    }
}

impl<V: Serialize> Serialize for Ordered<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// What operations share.
pub(crate) struct Components {
    requests: Collection,
    replies: Collection,
    /// Answers with faults, by their names.
    faults: Map<String, Value>,
}

impl Document {
    fn new() -> Self {
        let mut components = Components {
            requests: Collection::of_requests(),
            replies: Collection::of_replies(),
            faults: Map::new(),
        };
        let mut paths = Ordered::<Ordered<Value>>::default();
        for entry in entries() {
            *paths.entry(entry.path).entry(&entry.method.to_lowercase()) =
                operation::operation(entry, &mut components);
        }
        let Components { requests, replies, faults } = components;
        let mut schemas = requests.definitions();
        schemas.extend(replies.definitions());
        for path in &mut paths.0 {
            path.1.0.iter_mut().for_each(|(_, operation)| example::add(operation, &schemas));
        }
        Self {
            openapi: "3.1.1",
            info: info(),
            servers: json!([{ "url": "/", "description": "The server that gave this document." }]),
            security: json!([{ "bearer": [] }]),
            tags: operation::tags(),
            paths,
            components: json!({
                "schemas": schemas,
                "responses": faults,
                "headers": fault::headers(),
                "securitySchemes": {
                    "bearer": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "An access token of `POST /auth/login`, or an API key.",
                    },
                },
            }),
        }
    }
}

/// Every route, in the order of the tables.
fn entries() -> impl Iterator<Item = &'static Entry> {
    routes::API.iter().map(|route| &route.entry).chain(status::ROUTES.iter().map(|route| &route.entry))
}

fn info() -> Value {
    json!({
        "title": "OMNICHAT",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "A chat backend for many users and many models.",
        "description": "Projects hold prompts and conversations; a message in a conversation is answered exactly once, \
            whatever crashes meanwhile. The same operations can be had over NATS.\n\n\
            Bodies are JSON in UTF-8, times RFC 3339 in UTC, ids UUIDs. What is refused is answered as a problem \
            (RFC 9457): `code` is the contract, `detail` is for people. What belongs to somebody else is answered like \
            what does not exist. Every answer carries `x-request-id`: quote it in a report.",
        "license": { "name": "MIT", "identifier": "MIT" },
    })
}
