//! The body of a request.

use serde::{Serialize, Serializer, ser::SerializeSeq};

use super::{
    content::Content,
    tool::{Choice, Output, Thinking, Tools},
};
use crate::{
    error::CallError,
    prompt::{Message, Prompt, Role},
    settings::Settings,
    text::Text,
};

/// The wire has no answer without a limit; this is one that every model of theirs takes.
const MAX_TOKENS: u32 = 4096;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<Instructions<'a>>,
    messages: Messages<'a>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_sequences: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Tools<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Output<'a>>,
}

/// The instructions, each a block of its own.
struct Instructions<'a>(&'a [Message]);

/// What was said, without them.
struct Messages<'a>(&'a [Message]);

impl Serialize for Instructions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Block<'a> {
            r#type: &'static str,
            text: &'a Text,
        }
        let system = self.0.iter().filter(|message| message.role == Role::System);
        serializer.collect_seq(system.map(|message| Block { r#type: "text", text: &message.content }))
    }
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Spoken<'a> {
            role: &'static str,
            content: Content<'a>,
        }
        let mut messages = serializer.serialize_seq(None)?;
        for message in self.0 {
            let role = match message.role {
                Role::System => continue,
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            messages.serialize_element(&Spoken { role, content: Content::of(message) })?;
        }
        messages.end()
    }
}

/// A streamed answer to `prompt` by what the provider calls `model`. Its temperatures end at 1; it knows no seed, no penalties, and
/// takes no parameter that it does not know.
pub(super) fn body(prompt: &Prompt, model: &str) -> Result<Vec<u8>, CallError> {
    let settings = &prompt.settings;
    let Settings { temperature, top_p, max_tokens, .. } = *settings;
    let instructed = prompt.messages.iter().any(|message| message.role == Role::System);
    prompt.encode(&Request {
        model,
        max_tokens: max_tokens.unwrap_or(MAX_TOKENS),
        system: instructed.then_some(Instructions(&prompt.messages)),
        messages: Messages(&prompt.messages),
        stream: true,
        temperature: temperature.map(|it| it.min(1.0)),
        top_p,
        stop_sequences: settings.stop.as_deref().filter(|it| !it.is_empty()),
        tools: settings.tools.as_deref().filter(|it| !it.is_empty()).map(Tools),
        tool_choice: settings.tool_choice.as_ref().map(Choice::of),
        thinking: Thinking::of(settings),
        output_config: Output::of(settings),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::settings::{JsonFormat, ReasoningEffort, ResponseFormat, Tool, ToolChoice};

    fn sent(messages: Vec<Message>, settings: Settings) -> Value {
        let prompt = Prompt {
            model: "ours".to_owned(),
            messages,
            settings,
            call_id: "t:1".to_owned(),
            traceparent: None,
        };
        serde_json::from_slice(&body(&prompt, "theirs").unwrap()).unwrap()
    }

    #[test]
    fn instructions_stand_beside_the_messages() {
        let said = vec![Message::system("be \"brief\""), Message::user("hi"), Message::assistant("hello")];
        let expected = json!({
            "model": "theirs",
            "max_tokens": 4096,
            "system": [{"type": "text", "text": "be \"brief\""}],
            "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
            "stream": true,
        });
        assert_eq!(sent(said, Settings::default()), expected);
        assert_eq!(sent(vec![Message::user("hi")], Settings::default()).get("system"), None);
    }

    #[test]
    fn settings_have_the_names_and_bounds_of_this_wire() {
        let settings = Settings {
            temperature: Some(1.5),
            top_p: Some(0.5),
            max_tokens: Some(7),
            stop: Some(vec!["END".to_owned()]),
            seed: Some(1),
            presence_penalty: Some(1.0),
            frequency_penalty: Some(1.0),
            extra: Some(Map::from_iter([("top_k".to_owned(), json!(40))])),
            ..Settings::default()
        };
        let sent = sent(vec![Message::user("hi")], settings);
        assert_eq!(
            (&sent["temperature"], &sent["top_p"], &sent["max_tokens"], &sent["stop_sequences"]),
            (&json!(1.0), &json!(0.5), &json!(7), &json!(["END"]))
        );
        for unknown in ["stop", "seed", "presence_penalty", "frequency_penalty", "extra", "top_k"] {
            assert_eq!(sent.get(unknown), None, "{unknown}");
        }
    }

    fn with(edit: impl FnOnce(&mut Settings)) -> Value {
        let mut settings = Settings::default();
        edit(&mut settings);
        sent(vec![Message::user("hi")], settings)
    }

    #[test]
    fn functions_have_the_form_of_this_wire() {
        let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
        let weather = Tool {
            name: "weather".to_owned(),
            description: Some("Tells the weather.".to_owned()),
            parameters: schema.as_object().cloned(),
            strict: Some(true),
        };
        let bare = Tool { name: "now".to_owned(), description: None, parameters: None, strict: None };
        let expected = json!([
            { "name": "weather", "description": "Tells the weather.", "input_schema": schema, "strict": true },
            { "name": "now", "input_schema": { "type": "object" } },
        ]);
        assert_eq!(with(|it| it.tools = Some(vec![weather, bare]))["tools"], expected);
        for (choice, expected) in [
            (ToolChoice::None, json!({ "type": "none" })),
            (ToolChoice::Auto, json!({ "type": "auto" })),
            (ToolChoice::Required, json!({ "type": "any" })),
            (ToolChoice::Function("now".to_owned()), json!({ "type": "tool", "name": "now" })),
        ] {
            assert_eq!(with(|it| it.tool_choice = Some(choice))["tool_choice"], expected);
        }
    }

    #[test]
    fn effort_and_form_are_said_as_far_as_there_is_a_word() {
        let effort = |effort| {
            let sent = with(|it| it.reasoning_effort = Some(effort));
            (sent.get("thinking").cloned(), sent.get("output_config").cloned())
        };
        let low = (None, Some(json!({ "effort": "low" })));
        assert_eq!(effort(ReasoningEffort::None), (Some(json!({ "type": "disabled" })), None));
        assert_eq!((effort(ReasoningEffort::Minimal), effort(ReasoningEffort::Low)), (low.clone(), low));
        assert_eq!(effort(ReasoningEffort::Xhigh), (None, Some(json!({ "effort": "xhigh" }))));
        for format in [ResponseFormat::Text, ResponseFormat::JsonObject] {
            let sent = with(|it| it.response_format = Some(format));
            assert_eq!((sent.get("output_config"), sent.get("response_format")), (None, None));
        }
        let schema = json!({ "type": "object" });
        let format = JsonFormat {
            name: "answer".to_owned(),
            description: None,
            schema: schema.as_object().cloned().unwrap(),
            strict: Some(true),
        };
        let sent = with(|it| it.response_format = Some(ResponseFormat::JsonSchema(Box::new(format))));
        assert_eq!(sent["output_config"], json!({ "format": { "type": "json_schema", "schema": schema } }));
    }
}
