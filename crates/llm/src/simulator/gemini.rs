//! Google's wire as the simulator speaks it: its requests, and the objects of its answers.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    request::{self, Request, Spoken, StreamOptions},
    script::NumberOrText,
    wire::Tokens,
};
use crate::{Settings, prompt::Role};

/// The form in which a stream is wanted.
#[derive(Deserialize)]
pub(super) struct Form {
    pub alt: Option<String>,
}

/// A request; which model, and whether as a stream, stands in its address.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerateContent {
    system_instruction: Option<Content>,
    contents: Vec<Content>,
    #[serde(default)]
    generation_config: GenerationConfig,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    role: Speaker,
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Speaker {
    #[default]
    User,
    Model,
}

#[derive(Deserialize)]
struct Part {
    /// Of an image there is none.
    text: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig {
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_output_tokens: Option<u32>,
    stop_sequences: Option<Vec<String>>,
    seed: Option<i32>,
}

impl Content {
    fn spoken(self, role: Role) -> Spoken<'static> {
        let texts: Vec<_> = self.parts.into_iter().filter_map(|part| part.text).collect();
        let content = request::Content { text: texts.join("\n\n").into(), images: Vec::new() };
        Spoken { role, content }
    }
}

impl GenerateContent {
    /// The same as chat completions ask for it: instructions first, and with the usage.
    pub fn of(self, model: &str, stream: bool) -> Request<'_> {
        let system = self.system_instruction.map(|content| content.spoken(Role::System));
        let said = self.contents.into_iter().map(|content| {
            let role = match content.role {
                Speaker::User => Role::User,
                Speaker::Model => Role::Assistant,
            };
            content.spoken(role)
        });
        let config = self.generation_config;
        Request {
            model: model.into(),
            messages: system.into_iter().chain(said).collect(),
            stream,
            stream_options: StreamOptions { include_usage: true },
            parameters: Map::new(),
            settings: Settings {
                temperature: config.temperature,
                top_p: config.top_p,
                max_tokens: config.max_output_tokens,
                stop: config.stop_sequences,
                seed: config.seed.map(i64::from),
                ..Settings::default()
            },
        }
    }
}

/// What comes before the text.
pub(super) fn begun(model: &str, usage: Option<Tokens>) -> Value {
    let usage = usage.map(|[prompt, _]| json!({ "promptTokenCount": prompt, "totalTokenCount": prompt }));
    response(model, "", None, usage)
}

/// More text.
pub(super) fn said(model: &str, text: &str) -> Value {
    response(model, text, None, None)
}

/// Text, why it ends here, and what was consumed.
pub(super) fn whole(model: &str, text: &str, finish: &str, usage: Option<Tokens>) -> Value {
    let usage = usage.map(|[prompt, completion]| {
        json!({ "promptTokenCount": prompt, "candidatesTokenCount": completion,
            "totalTokenCount": prompt + completion })
    });
    response(model, text, Some(finish_reason(finish)), usage)
}

/// An error, whose name a script may give.
pub(super) fn error(status: u16, name: Option<&NumberOrText>, message: &str) -> Value {
    let name = name.map_or_else(|| status_name(status).to_owned(), ToString::to_string);
    json!({ "error": { "code": status, "message": message, "status": name } })
}

fn response(model: &str, text: &str, finish: Option<&str>, usage: Option<Value>) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": [{ "text": text }] }, "index": 0 });
    if let Some(finish) = finish {
        candidate["finishReason"] = finish.into();
    }
    let mut response = json!({ "candidates": [candidate], "modelVersion": model, "responseId": "simulated" });
    if let Some(usage) = usage {
        response["usageMetadata"] = usage;
    }
    response
}

/// What the wire calls a finish that scripts name as chat completions do; any other is written as it is.
fn finish_reason(finish: &str) -> &str {
    match finish {
        "stop" => "STOP",
        "length" => "MAX_TOKENS",
        "tool_calls" => "UNEXPECTED_TOOL_CALL",
        "content_filter" => "SAFETY",
        other => other,
    }
}

fn status_name(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}
