//! The wire of Anthropic's Messages: events of their own, the system prompt beside the messages, a limit that must be given.

mod content;
mod event;
mod refusal;
mod request;
mod tool;

use reqwest::header::HeaderName;

use crate::provider::Wire;

/// Messages, as streamed since version 2023-06-01.
pub(crate) const MESSAGES: Wire = Wire {
    path: "messages",
    of_model: None,
    key: (HeaderName::from_static("x-api-key"), ""),
    version: Some((HeaderName::from_static("anthropic-version"), "2023-06-01")),
    account: None,
    body: request::body,
    decode: event::decode,
    refusal: refusal::of_response,
};
