//! What people do with the program, from outside: the same flows with all roles in one process and with a process per
//! role.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "a test awaits the tasks it spawns, or ends with them")]

mod accounts;
mod api_keys;
mod bodies;
mod branches;
mod cancels;
mod cascades;
mod connections;
mod conversation_events;
mod conversation_prompts;
mod conversations;
mod dead_letters;
mod description;
mod hostile_users;
mod idempotency;
mod images;
mod isolation;
mod key_rotation;
mod limits;
mod lists;
mod models;
mod nats_door;
mod projects;
mod prompts;
mod provider_answers;
mod provider_faults;
mod provider_limits;
mod provider_tls;
mod residents;
mod routes;
mod sends;
mod sessions;
mod settings;
mod sockets;
mod steps;
mod streams;
mod subscriptions;
mod takeovers;
mod turns;

use std::time::Duration;

use testkit::{Layout, World, WorldBuilder};

/// Longer than what comes by itself may take.
const SOON: Duration = Duration::from_secs(20);
/// An id of nothing.
const NOWHERE: &str = "01920000-0000-7000-8000-000000000000";

fn world(layout: Layout) -> WorldBuilder {
    World::builder(env!("CARGO_BIN_EXE_omnichat"), layout)
}

/// The names of an object's fields, sorted.
fn fields(object: &serde_json::Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
