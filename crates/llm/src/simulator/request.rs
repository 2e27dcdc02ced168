//! What the simulator reads of a request, whatever the wire.

use std::borrow::Cow;

use serde::Deserialize;

use crate::prompt::{Role, Settings};

/// A request for a chat completion; the settings are only recorded.
#[derive(Deserialize)]
pub(super) struct Request<'a> {
    #[serde(borrow)]
    pub model: Cow<'a, str>,
    #[serde(borrow)]
    pub messages: Vec<Spoken<'a>>,
    #[serde(default)]
    pub stream: bool,
    #[serde(default)]
    pub stream_options: StreamOptions,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    #[serde(alias = "max_completion_tokens")]
    pub max_tokens: Option<u32>,
    pub stop: Option<Vec<String>>,
    pub seed: Option<i64>,
}

/// A message of it.
#[derive(Deserialize)]
pub(super) struct Spoken<'a> {
    pub role: Role,
    #[serde(borrow)]
    pub content: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub include_usage: bool,
}

/// A request of Messages.
#[derive(Deserialize)]
pub(super) struct MessagesRequest {
    model: String,
    /// It must be given there.
    max_tokens: u32,
    system: Option<Content>,
    messages: Vec<Said>,
    #[serde(default)]
    stream: bool,
    temperature: Option<f64>,
    top_p: Option<f64>,
    stop_sequences: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Said {
    role: Role,
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

#[derive(Deserialize)]
struct Block {
    text: String,
}

impl Request<'_> {
    pub fn settings(&self) -> Settings {
        let Self { temperature, top_p, max_tokens, seed, .. } = *self;
        Settings { temperature, top_p, max_tokens, stop: self.stop.clone(), seed }
    }
}

impl Content {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Blocks(blocks) => {
                let texts: Vec<_> = blocks.into_iter().map(|block| block.text).collect();
                texts.join("\n\n")
            }
        }
    }
}

impl From<MessagesRequest> for Request<'static> {
    /// The same as chat completions ask for it: instructions first, and with the usage.
    fn from(request: MessagesRequest) -> Self {
        let system = request.system.map(|content| Said { role: Role::System, content });
        let said = system.into_iter().chain(request.messages);
        let messages = said.map(|it| Spoken { role: it.role, content: it.content.text().into() });
        Self {
            model: request.model.into(),
            messages: messages.collect(),
            stream: request.stream,
            stream_options: StreamOptions { include_usage: true },
            temperature: request.temperature,
            top_p: request.top_p,
            max_tokens: Some(request.max_tokens),
            stop: request.stop_sequences,
            seed: None,
        }
    }
}
