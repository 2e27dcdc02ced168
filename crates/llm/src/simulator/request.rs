//! What the simulator reads of a request, over OpenAI's wire or Anthropic's; `gemini` does for Google's.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::{Image, Settings, Text, prompt::Role};

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
    /// Everything else, as it came.
    #[serde(flatten)]
    pub parameters: Map<String, Value>,
    /// What is known of it.
    #[serde(skip)]
    pub settings: Settings,
}

/// A message of it.
#[derive(Deserialize)]
pub(super) struct Spoken<'a> {
    pub role: Role,
    #[serde(borrow)]
    pub content: Content<'a>,
}

/// What is said: a text, or parts of which some are texts.
#[derive(Default)]
pub(super) struct Content<'a> {
    /// The texts, with a blank line between them.
    pub text: Cow<'a, str>,
    /// The images.
    pub images: Vec<Image>,
}

#[derive(Default, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub include_usage: bool,
}

/// A request of Messages.
#[derive(Deserialize)]
pub(super) struct MessagesRequest<'a> {
    model: String,
    /// It must be given there.
    max_tokens: u32,
    #[serde(borrow)]
    system: Option<Content<'a>>,
    #[serde(borrow)]
    messages: Vec<Spoken<'a>>,
    #[serde(default)]
    stream: bool,
    #[serde(flatten)]
    parameters: Map<String, Value>,
}

/// A part of what is said, of either wire.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    Text { text: String },
    ImageUrl { image_url: Image },
    Image { source: Source },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source {
    Url { url: Text },
    Base64 { media_type: String, data: String },
}

/// The settings that both wires know.
#[derive(Deserialize)]
struct Sampling {
    temperature: Option<f64>,
    top_p: Option<f64>,
    #[serde(alias = "max_completion_tokens")]
    max_tokens: Option<u32>,
    #[serde(alias = "stop_sequences")]
    stop: Option<Vec<String>>,
    seed: Option<i64>,
}

impl<'a> Request<'a> {
    /// Of chat completions.
    pub fn of_completions(body: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice::<Self>(body)?.understood()
    }

    /// Of Messages: the same as the other wire asks for it, instructions first, and with the usage.
    pub fn of_messages(body: &'a [u8]) -> serde_json::Result<Self> {
        let request = serde_json::from_slice::<MessagesRequest<'_>>(body)?;
        let system = request.system.map(|content| Spoken { role: Role::System, content });
        let mut parameters = request.parameters;
        parameters.insert("max_tokens".to_owned(), request.max_tokens.into());
        let request = Self {
            model: request.model.into(),
            messages: system.into_iter().chain(request.messages).collect(),
            stream: request.stream,
            stream_options: StreamOptions { include_usage: true },
            parameters,
            settings: Settings::default(),
        };
        request.understood()
    }

    fn understood(mut self) -> serde_json::Result<Self> {
        if !self.parameters.is_empty() {
            let Sampling { temperature, top_p, max_tokens, stop, seed } =
                Sampling::deserialize(&Value::Object(self.parameters.clone()))?;
            self.settings = Settings { temperature, top_p, max_tokens, stop, seed, ..Settings::default() };
        }
        Ok(self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a list of parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Content { text: text.into(), images: Vec::new() })
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Content { text: text.to_owned().into(), images: Vec::new() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let (mut texts, mut images) = (Vec::new(), Vec::new());
        while let Some(part) = parts.next_element::<Part>()? {
            match part {
                Part::Text { text } => texts.push(text),
                Part::ImageUrl { image_url } => images.push(image_url),
                Part::Image { source: Source::Url { url } } => images.push(Image { url, detail: None }),
                Part::Image { source: Source::Base64 { media_type, data } } => {
                    let url = format!("data:{media_type};base64,{data}").into();
                    images.push(Image { url, detail: None });
                }
            }
        }
        Ok(Content { text: texts.join("\n\n").into(), images })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said<'a>(request: &'a Request<'_>) -> Vec<(Role, &'a str)> {
        request.messages.iter().map(|message| (message.role, &*message.content.text)).collect()
    }

    #[test]
    fn both_wires_ask_alike() {
        let body = json!({ "model": "m", "max_completion_tokens": 7, "stop": ["END"], "tools": [{ "a": 1 }],
            "messages": [{ "role": "system", "content": "brief" }, { "role": "user", "content": [
                { "type": "text", "text": "h\u{fc}\n" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=" } }] }] });
        let body = body.to_string();
        let request = Request::of_completions(body.as_bytes()).unwrap();
        assert_eq!(said(&request), [(Role::System, "brief"), (Role::User, "h\u{fc}\n")]);
        let parameters = json!({ "max_completion_tokens": 7, "stop": ["END"], "tools": [{ "a": 1 }] });
        assert_eq!(Value::from(request.parameters.clone()), parameters);

        let body = json!({ "model": "m", "max_tokens": 7, "stop_sequences": ["END"], "tools": [{ "a": 1 }],
            "system": [{ "type": "text", "text": "brief" }],
            "messages": [{ "role": "user", "content": [
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "aGk=" } },
                { "type": "text", "text": "h\u{fc}\n" }] }] });
        let body = body.to_string();
        let other = Request::of_messages(body.as_bytes()).unwrap();
        assert_eq!((said(&other), &other.settings), (said(&request), &request.settings));
        let shown = |request: &Request<'_>| request.messages.last().unwrap().content.images.clone();
        assert_eq!((shown(&request).len(), shown(&other)), (1, shown(&request)));
        let parameters = json!({ "max_tokens": 7, "stop_sequences": ["END"], "tools": [{ "a": 1 }] });
        assert_eq!(Value::from(other.parameters.clone()), parameters);
    }

    #[test]
    fn a_setting_of_the_wrong_kind_is_refused() {
        let body = br#"{"model":"m","messages":[],"temperature":"hot"}"#;
        assert!(Request::of_completions(body).is_err());
    }
}
