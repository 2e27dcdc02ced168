//! The wire of OpenAI's streamed chat completions, as OpenAI, OpenRouter, Ollama and many servers speak it.

mod chunk;
mod content;
mod refusal;
mod request;
mod tool;

use reqwest::header::AUTHORIZATION;

use crate::provider::Wire;

/// As OpenAI itself speaks it: its reasoning models refuse the old name of the token limit.
pub(crate) const OPENAI: Wire = Wire {
    body: |prompt, model| request::body(prompt, model, request::TokenLimit::MaxCompletionTokens),
    ..COMPATIBLE
};

/// As OpenRouter does, which can be asked what a call has cost.
pub(crate) const OPENROUTER: Wire = Wire { account: Some(("x-generation-id", "generation")), ..COMPATIBLE };

/// As all others do.
pub(crate) const COMPATIBLE: Wire = Wire {
    path: "chat/completions",
    of_model: None,
    key: (AUTHORIZATION, "Bearer "),
    version: None,
    account: None,
    body: |prompt, model| request::body(prompt, model, request::TokenLimit::MaxTokens),
    decode: chunk::decode,
    refusal: refusal::of_response,
};
