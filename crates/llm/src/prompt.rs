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
    /// Bytes of all its texts.
    pub(crate) fn text_bytes(&self) -> usize {
        self.messages.iter().map(Message::bytes).sum()
    }

    /// Leaves out the oldest of what was said, so that the rest and its answer fit into so many tokens, by our estimate. What is
    /// asked and the instructions stay, if they fit or not: then it is for the provider to say so.
    pub(crate) fn fit(&mut self, context_tokens: u32) {
        // An answer without a bound of its own is given a quarter.
        let answer = self.settings.max_tokens.unwrap_or(context_tokens / 4);
        let room = 4 * context_tokens.saturating_sub(answer) as usize;
        let mut bytes = self.text_bytes();
        let said = self.messages.iter().position(|message| message.role != Role::System).unwrap_or_default();
        let mut end = said;
        while bytes > room && end + 1 < self.messages.len() {
            bytes -= self.messages[end].bytes();
            end += 1;
        }
        // An answer without its question says nothing.
        while end > said && end + 1 < self.messages.len() && self.messages[end].role == Role::Assistant {
            end += 1;
        }
        self.messages.drain(said..end);
    }

    /// The body of a request that is made of this prompt.
    pub(crate) fn encode(&self, request: &impl Serialize) -> Result<Vec<u8>, CallError> {
        let mut body = Vec::with_capacity(self.text_bytes() + 40 * self.messages.len() + 256);
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

    fn fitted(context_tokens: u32, max_tokens: Option<u32>) -> Vec<String> {
        let exchange = |number: usize| {
            [
                Message::user(format!("q{number}").repeat(100)),
                Message::assistant(format!("a{number}").repeat(100)),
            ]
        };
        let said = (1..=3).flat_map(exchange).chain([Message::user("q4".repeat(100))]);
        let mut prompt = Prompt {
            model: "m".to_owned(),
            messages: [Message::system("be brief")].into_iter().chain(said).collect(),
            settings: Settings { max_tokens, ..Settings::default() },
            call_id: "t:1".to_owned(),
            traceparent: None,
        };
        prompt.fit(context_tokens);
        prompt.messages.iter().map(|message| message.content.plain()[..2].to_owned()).collect()
    }

    #[test]
    fn the_oldest_is_left_out_in_whole_exchanges_until_the_rest_fits() {
        let all = ["be", "q1", "a1", "q2", "a2", "q3", "a3", "q4"];
        // 1,408 bytes are 352 tokens.
        assert_eq!(fitted(452, Some(100)), all);
        assert_eq!(fitted(451, Some(100)), [&all[..1], &all[3..]].concat());
        assert_eq!(fitted(300, None), [&all[..1], &all[5..]].concat(), "a quarter is left to the answer");
        assert_eq!(fitted(256, Some(250)), ["be", "q4"], "the question stays");
    }

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
