//! Google's wire as the simulator speaks it: its requests, and the objects of its answers.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    request::{Content, Request, Spoken, StreamOptions},
    script::NumberOrText,
    wire::Tokens,
};
use crate::{Image, Settings, Text, prompt::Role};

/// The form in which a stream is wanted.
#[derive(Deserialize)]
pub(super) struct Form {
    pub alt: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GenerateContent {
    system_instruction: Option<Said>,
    contents: Vec<Said>,
    /// Everything else, as it came.
    #[serde(flatten)]
    parameters: Map<String, Value>,
}

#[derive(Deserialize)]
struct Said {
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
#[serde(rename_all = "camelCase")]
enum Part {
    Text(String),
    #[serde(rename_all = "camelCase")]
    InlineData {
        mime_type: String,
        data: String,
    },
    #[serde(rename_all = "camelCase")]
    FileData {
        file_uri: Text,
    },
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

impl Said {
    fn spoken(self, role: Role) -> Spoken<'static> {
        let (mut texts, mut images) = (Vec::new(), Vec::new());
        for part in self.parts {
            let url = match part {
                Part::Text(text) => {
                    texts.push(text);
                    continue;
                }
                Part::InlineData { mime_type, data } => format!("data:{mime_type};base64,{data}").into(),
                Part::FileData { file_uri } => file_uri,
            };
            images.push(Image { url, detail: None });
        }
        Spoken { role, content: Content { text: texts.join("\n\n").into(), images } }
    }
}

/// The same as chat completions ask for it: instructions first, and with the usage. Which model, and whether as a stream, stands
/// in the address.
pub(super) fn request<'a>(body: &[u8], model: &'a str, stream: bool) -> serde_json::Result<Request<'a>> {
    let request = serde_json::from_slice::<GenerateContent>(body)?;
    let config = request.parameters.get("generationConfig").map(GenerationConfig::deserialize);
    let config = config.transpose()?.unwrap_or_default();
    let system = request.system_instruction.map(|said| said.spoken(Role::System));
    let said = request.contents.into_iter().map(|said| match said.role {
        Speaker::User => said.spoken(Role::User),
        Speaker::Model => said.spoken(Role::Assistant),
    });
    Ok(Request {
        model: model.into(),
        messages: system.into_iter().chain(said).collect(),
        stream,
        stream_options: StreamOptions { include_usage: true },
        parameters: request.parameters,
        settings: Settings {
            temperature: config.temperature,
            top_p: config.top_p,
            max_tokens: config.max_output_tokens,
            stop: config.stop_sequences,
            seed: config.seed.map(i64::from),
            ..Settings::default()
        },
    })
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
