//! The body of a request. The model stands in its address.

use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::{Map, Value};

use super::{
    content::{Part, Parts},
    tool::{Choice, Thinking, Tools},
};
use crate::{
    error::CallError,
    prompt::{Message, Prompt, Role},
    settings::{ResponseFormat, Settings},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Instruction<'a>>,
    contents: Contents<'a>,
    generation_config: GenerationConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Tools<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Choice<'a>>,
}

/// The model is not asked to show its thoughts: one that has none refuses a request for them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_sequences: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'a Map<String, Value>>,
}

#[derive(Serialize)]
struct Instruction<'a> {
    parts: Instructions<'a>,
}

/// The instructions, each a part of its own.
struct Instructions<'a>(&'a [Message]);

/// What was said, without them.
struct Contents<'a>(&'a [Message]);

impl Serialize for Instructions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let system = self.0.iter().filter(|message| message.role == Role::System);
        serializer.collect_seq(system.map(|message| Part::Text(&message.content)))
    }
}

impl Serialize for Contents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Spoken<'a> {
            role: &'static str,
            parts: Parts<'a>,
        }
        let mut contents = serializer.serialize_seq(None)?;
        for message in self.0 {
            let role = match message.role {
                Role::System => continue,
                Role::User => "user",
                Role::Assistant => "model",
            };
            contents.serialize_element(&Spoken { role, parts: Parts(message) })?;
        }
        contents.end()
    }
}

impl<'a> GenerationConfig<'a> {
    /// The wire's seeds have 32 bits: of ours it gets the lower ones, so that equal ones stay equal.
    fn of(settings: &'a Settings) -> Self {
        let (response_mime_type, response_json_schema) = match &settings.response_format {
            Some(ResponseFormat::JsonObject) => (Some("application/json"), None),
            Some(ResponseFormat::JsonSchema(format)) => (Some("application/json"), Some(&format.schema)),
            Some(ResponseFormat::Text) | None => (None, None),
        };
        Self {
            temperature: settings.temperature,
            top_p: settings.top_p,
            max_output_tokens: settings.max_tokens,
            stop_sequences: settings.stop.as_deref().filter(|it| !it.is_empty()),
            seed: settings.seed.map(|it| it as i32),
            presence_penalty: settings.presence_penalty,
            frequency_penalty: settings.frequency_penalty,
            thinking_config: settings.reasoning_effort.map(Thinking::of),
            response_mime_type,
            response_json_schema,
        }
    }
}

/// A streamed answer to `prompt`. The wire takes no parameter that it does not know.
pub(super) fn body(prompt: &Prompt, _model: &str) -> Result<Vec<u8>, CallError> {
    let settings = &prompt.settings;
    let instructed = prompt.messages.iter().any(|message| message.role == Role::System);
    prompt.encode(&Request {
        system_instruction: instructed.then_some(Instruction { parts: Instructions(&prompt.messages) }),
        contents: Contents(&prompt.messages),
        generation_config: GenerationConfig::of(settings),
        tools: settings.tools.as_deref().and_then(Tools::of),
        tool_config: settings.tool_choice.as_ref().map(Choice::of),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sent(messages: Vec<Message>, settings: Value) -> Value {
        let prompt = Prompt {
            model: "ours".to_owned(),
            messages,
            settings: serde_json::from_value(settings).unwrap(),
            call_id: "t:1".to_owned(),
            traceparent: None,
        };
        serde_json::from_slice(&body(&prompt, "theirs").unwrap()).unwrap()
    }

    #[test]
    fn instructions_stand_beside_the_contents() {
        let said = vec![Message::system("be \"brief\""), Message::user("hi"), Message::assistant("hello")];
        let expected = json!({
            "systemInstruction": {"parts": [{"text": "be \"brief\""}]},
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {"role": "model", "parts": [{"text": "hello"}]},
            ],
            "generationConfig": {},
        });
        assert_eq!(sent(said, json!({})), expected);
        assert_eq!(sent(vec![Message::user("hi")], json!({})).get("systemInstruction"), None);
    }

    #[test]
    fn settings_have_the_names_and_bounds_of_this_wire() {
        let settings = json!({"temperature": 1.5, "top_p": 0.5, "max_tokens": 7, "stop": ["END"], "seed": (9_i64 << 32) + 5});
        let expected = json!({"temperature": 1.5, "topP": 0.5, "maxOutputTokens": 7, "stopSequences": ["END"], "seed": 5});
        assert_eq!(sent(vec![Message::user("hi")], settings)["generationConfig"], expected);
        let nothing = sent(vec![Message::user("hi")], json!({"stop": [], "seed": -1}));
        assert_eq!(nothing["generationConfig"], json!({"seed": -1}));
    }

    #[test]
    fn functions_effort_and_form_have_the_words_of_this_wire() {
        let with = |settings: Value| sent(vec![Message::user("hi")], settings);
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let tools = json!([
            {"name": "weather", "description": "Tells the weather.", "parameters": schema, "strict": true},
            {"name": "now"},
        ]);
        let expected = json!([{"functionDeclarations": [
            {"name": "weather", "description": "Tells the weather.", "parametersJsonSchema": schema},
            {"name": "now", "description": ""},
        ]}]);
        assert_eq!(with(json!({ "tools": tools }))["tools"], expected);
        for (choice, expected) in [
            (json!("none"), json!({"mode": "NONE"})),
            (json!("auto"), json!({"mode": "AUTO"})),
            (json!("required"), json!({"mode": "ANY"})),
            (json!({"function": "now"}), json!({"mode": "ANY", "allowedFunctionNames": ["now"]})),
        ] {
            let sent = with(json!({ "tool_choice": choice }));
            assert_eq!(sent["toolConfig"], json!({ "functionCallingConfig": expected }));
        }
        let format = json!({"json_schema": {"name": "answer", "schema": schema}});
        for (settings, expected) in [
            (json!({"reasoning_effort": "none"}), json!({"thinkingConfig": {"thinkingBudget": 0}})),
            (json!({"reasoning_effort": "minimal"}), json!({"thinkingConfig": {"thinkingLevel": "minimal"}})),
            (json!({"reasoning_effort": "xhigh"}), json!({"thinkingConfig": {"thinkingLevel": "high"}})),
            (json!({"response_format": "text", "extra": {"topK": 1}}), json!({})),
            (json!({"response_format": "json_object"}), json!({"responseMimeType": "application/json"})),
            (
                json!({ "response_format": format }),
                json!({"responseMimeType": "application/json", "responseJsonSchema": schema}),
            ),
            (
                json!({"presence_penalty": 1.0, "frequency_penalty": -1.0}),
                json!({"presencePenalty": 1.0, "frequencyPenalty": -1.0}),
            ),
        ] {
            let sent = with(settings);
            assert_eq!(sent["generationConfig"], expected);
            assert_eq!((sent.get("tools"), sent.get("topK")), (None, None));
        }
    }
}
