//! What is asked of a model.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{error::CallError, image::Images, settings::Settings, text::Text};

/// One question to one model, with the conversation that led to it.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// A name of [`Config::models`](crate::Config::models).
    pub model: String,
    /// Oldest first; the last one is the message to answer.
    pub messages: Vec<Message>,
    /// How to answer.
    pub settings: Settings,
    /// Names this call at the provider and in its log, as header `X-Client-Request-Id`: `<turn>:<attempt>`, in visible
    /// ASCII.
    pub call_id: String,
    /// The caller's W3C trace context, forwarded as it is.
    pub traceparent: Option<String>,
}

impl Prompt {
    /// The body of a request that is made of this prompt.
    pub(crate) fn encode(&self, request: &impl Serialize) -> Result<Vec<u8>, CallError> {
        let text_bytes: usize = self.messages.iter().map(|message| message.bytes() + 40).sum();
        let mut body = Vec::with_capacity(text_bytes + 256);
        serde_json::to_writer(&mut body, request)
            .map_err(|_| CallError::InvalidPrompt("it does not make JSON"))?;
        Ok(body)
    }
}

/// One message of a conversation. Cheap to clone: a history is sent again with every turn.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text.
    pub content: Text,
    /// Images beside it, which only users show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
}

impl Message {
    /// An instruction that stands above the conversation.
    pub fn system(content: impl Into<Text>) -> Self {
        Self { role: Role::System, content: content.into(), images: None }
    }

    /// What a person said.
    pub fn user(content: impl Into<Text>) -> Self {
        Self { role: Role::User, content: content.into(), images: None }
    }

    /// The same with images beside it.
    #[must_use]
    pub fn showing(self, images: Option<Images>) -> Self {
        Self { images, ..self }
    }

    /// Bytes of what is said and shown.
    pub fn bytes(&self) -> usize {
        self.content.len() + self.images.as_ref().map_or(0, Images::bytes)
    }

    /// What a model answered.
    pub fn assistant(content: impl Into<Text>) -> Self {
        Self { role: Role::Assistant, content: content.into(), images: None }
    }
}

/// Never shows the text: it belongs to a user, and this is what ends up in logs.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({} bytes)", self.role, self.content.len())
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instruction above the conversation.
    System,
    /// A person.
    User,
    /// A model.
    Assistant,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_prompt_shows_no_text() {
        let prompt = Prompt {
            model: "m".to_owned(),
            messages: vec![Message::system("be secretive"), Message::user("my secret")],
            settings: Settings::default(),
            call_id: "t:1".to_owned(),
            traceparent: None,
        };
        let printed = format!("{prompt:?}");
        assert!(printed.contains("User(9 bytes)") && !printed.contains("secret"), "{printed}");
    }
}
