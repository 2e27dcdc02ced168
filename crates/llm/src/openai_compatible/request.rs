//! The body of a request.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{
    content::Content,
    tool::{Choice, Format, Tools},
};
use crate::{
    error::CallError,
    prompt::{Message, Prompt, Role},
    settings::{ReasoningEffort, Settings},
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
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<ReasoningEffort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Tools<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(flatten)]
    extra: Option<&'a Map<String, Value>>,
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
            content: Content<'a>,
        }
        serializer.collect_seq(self.0.iter().map(|message| Spoken {
            role: match message.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            },
            content: Content::of(message),
        }))
    }
}

/// A streamed chat completion of `prompt` by what the provider calls `model`.
pub(super) fn body(prompt: &Prompt, model: &str, token_limit: TokenLimit) -> Result<Vec<u8>, CallError> {
    let settings = &prompt.settings;
    let Settings { temperature, top_p, max_tokens, seed, .. } = *settings;
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
        stop: settings.stop.as_deref().filter(|it| !it.is_empty()),
        seed,
        presence_penalty: settings.presence_penalty,
        frequency_penalty: settings.frequency_penalty,
        reasoning_effort: settings.reasoning_effort,
        tools: settings.tools.as_deref().filter(|it| !it.is_empty()).map(Tools),
        tool_choice: settings.tool_choice.as_ref().map(Choice::of),
        response_format: settings.response_format.as_ref().map(Format::of),
        extra: settings.extra.as_ref(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::{JsonFormat, ResponseFormat, Tool, ToolChoice};

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

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_asked_for_stands_under_the_names_of_this_wire() {
        let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
        let (name, description) = ("weather".to_owned(), Some("Tells the weather.".to_owned()));
        let weather =
            Tool { name, description, parameters: Some(object(parameters.clone())), strict: Some(true) };
        let bare = Tool { name: "now".to_owned(), description: None, parameters: None, strict: None };
        let format = JsonFormat {
            name: "answer".to_owned(),
            description: None,
            schema: object(json!({ "type": "object" })),
            strict: Some(true),
        };
        let sent = sent(
            Settings {
                presence_penalty: Some(-0.5),
                frequency_penalty: Some(0.5),
                reasoning_effort: Some(ReasoningEffort::Xhigh),
                tools: Some(vec![weather, bare]),
                tool_choice: Some(ToolChoice::Function("weather".to_owned())),
                response_format: Some(ResponseFormat::JsonSchema(Box::new(format))),
                extra: Some(object(json!({ "top_k": 40, "provider": { "order": ["a"] } }))),
                ..Settings::default()
            },
            TokenLimit::MaxTokens,
        );
        let mut settings = object(sent);
        for set in ["model", "messages", "stream", "stream_options"] {
            settings.remove(set).unwrap();
        }
        let weather = json!({ "name": "weather", "description": "Tells the weather.", "parameters": parameters,
            "strict": true });
        let expected = json!({
            "presence_penalty": -0.5,
            "frequency_penalty": 0.5,
            "reasoning_effort": "xhigh",
            "tools": [{ "type": "function", "function": weather }, { "type": "function", "function": { "name": "now" } }],
            "tool_choice": { "type": "function", "function": { "name": "weather" } },
            "response_format": { "type": "json_schema",
                "json_schema": { "name": "answer", "schema": { "type": "object" }, "strict": true } },
            "top_k": 40,
            "provider": { "order": ["a"] },
        });
        assert_eq!(Value::from(settings), expected);
    }

    #[test]
    fn a_choice_and_a_format_without_more_are_one_word() {
        let choices =
            [(ToolChoice::None, "none"), (ToolChoice::Auto, "auto"), (ToolChoice::Required, "required")];
        for (choice, word) in choices {
            let settings = Settings { tool_choice: Some(choice), ..Settings::default() };
            assert_eq!(sent(settings, TokenLimit::MaxTokens)["tool_choice"], word);
        }
        for (format, word) in [(ResponseFormat::Text, "text"), (ResponseFormat::JsonObject, "json_object")] {
            let settings = Settings { response_format: Some(format), ..Settings::default() };
            assert_eq!(sent(settings, TokenLimit::MaxTokens)["response_format"], json!({ "type": word }));
        }
    }
}
