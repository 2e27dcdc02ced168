//! The gateway against a provider over real HTTP: the scripted simulator, and servers that break the rules.

#![expect(clippy::unwrap_used, reason = "what surrounds a test fails as a test does")]

mod anthropic;
mod ask;
mod bills;
mod completions;
mod conformance;
mod connections;
mod dialects;
mod faults;
mod gemini;
mod hostile;
mod misbehaviour;
mod raw;
mod reports;
mod routes;
mod simulator;
