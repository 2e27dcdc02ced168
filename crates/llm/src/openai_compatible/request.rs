//! The body of a request.

use serde::{Serialize, Serializer};

use crate::{
    error::CallError,
    prompt::{Message, Prompt, Role, Settings},
    text::Text,
};

/// What the provider calls its limit of tokens: OpenAI's reasoning models refuse the old name, others know no new one.
#[derive(Clone, Copy)]
pub(super) enum TokenLimit {
    MaxTokens,
    MaxCompletionTokens,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Messages<'a>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

struct Messages<'a>(&'a [Message]);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Spoken<'a> {
            role: &'static str,
            content: &'a Text,
        }
        serializer.collect_seq(self.0.iter().map(|message| Spoken {
            role: match message.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            },
            content: &message.content,
        }))
    }
}

/// A streamed chat completion of `prompt` by what the provider calls `model`.
pub(super) fn body(prompt: &Prompt, model: &str, token_limit: TokenLimit) -> Result<Vec<u8>, CallError> {
    let Settings { temperature, top_p, max_tokens, ref stop, seed } = prompt.settings;
    let (max_tokens, max_completion_tokens) = match token_limit {
        TokenLimit::MaxTokens => (max_tokens, None),
        TokenLimit::MaxCompletionTokens => (None, max_tokens),
    };
    prompt.encode(&Request {
        model,
        messages: Messages(&prompt.messages),
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        temperature,
        top_p,
        max_tokens,
        max_completion_tokens,
        stop: stop.as_deref().filter(|it| !it.is_empty()),
        seed,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sent(settings: Settings, token_limit: TokenLimit) -> Value {
        let prompt = Prompt {
            model: "ours".to_owned(),
            messages: vec![Message::system("be \"brief\""), Message::user("hi"), Message::assistant("hello")],
            settings,
            call_id: "t:1".to_owned(),
            traceparent: None,
        };
        serde_json::from_slice(&body(&prompt, "theirs", token_limit).unwrap()).unwrap()
    }

    #[test]
    fn settings_that_are_absent_are_not_sent() {
        let expected = json!({
            "model": "theirs",
            "messages": [
                {"role": "system", "content": "be \"brief\""},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
            ],
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        assert_eq!(sent(Settings::default(), TokenLimit::MaxTokens), expected);
    }

    #[test]
    fn the_token_limit_has_the_name_the_provider_knows() {
        let settings = || Settings { max_tokens: Some(7), ..Settings::default() };
        let old = sent(settings(), TokenLimit::MaxTokens);
        assert_eq!((&old["max_tokens"], &old["max_completion_tokens"]), (&json!(7), &Value::Null));
        let new = sent(settings(), TokenLimit::MaxCompletionTokens);
        assert_eq!((&new["max_tokens"], &new["max_completion_tokens"]), (&Value::Null, &json!(7)));
    }
}
