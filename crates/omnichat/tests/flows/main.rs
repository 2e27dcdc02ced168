//! What people do with the program, from outside: the same flows with all roles in one process and with a process per
//! role.

#![cfg(test)]

mod accounts;
mod bodies;
mod conversations;
mod isolation;
mod projects;

use testkit::{Layout, World, WorldBuilder};

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
