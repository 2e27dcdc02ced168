//! One file per kind of thing, one function per route.

pub(crate) mod auth;
pub(crate) mod conversations;
pub(crate) mod projects;
pub(crate) mod prompts;
pub(crate) mod status;
pub(crate) mod turns;
