//! The body of a request. The model stands in its address.

use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::{Map, Value};

use super::content::Parts;
use crate::{
    error::CallError,
    prompt::{Message, Prompt, Role},
    settings::{ResponseFormat, Settings},
    text::Text,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Instruction<'a>>,
    contents: Contents<'a>,
    generation_config: GenerationConfig<'a>,
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

#[derive(Serialize)]
struct Part<'a> {
    text: &'a Text,
}

impl Serialize for Instructions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let system = self.0.iter().filter(|message| message.role == Role::System);
        serializer.collect_seq(system.map(|message| Part { text: &message.content }))
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

/// A streamed answer to `prompt`. The wire's seeds have 32 bits: of ours it gets the lower ones, so that equal ones stay equal.
pub(super) fn body(prompt: &Prompt, _model: &str) -> Result<Vec<u8>, CallError> {
    let Settings {
        temperature, top_p, max_tokens, ref stop, seed, presence_penalty, frequency_penalty, ..
    } = prompt.settings;
    let (response_mime_type, response_json_schema) = match &prompt.settings.response_format {
        None | Some(ResponseFormat::Text) => (None, None),
        Some(ResponseFormat::JsonObject) => (Some("application/json"), None),
        Some(ResponseFormat::JsonSchema(format)) => (Some("application/json"), Some(&format.schema)),
    };
    let instructed = prompt.messages.iter().any(|message| message.role == Role::System);
    prompt.encode(&Request {
        system_instruction: instructed.then_some(Instruction { parts: Instructions(&prompt.messages) }),
        contents: Contents(&prompt.messages),
        generation_config: GenerationConfig {
            temperature,
            top_p,
            max_output_tokens: max_tokens,
            stop_sequences: stop.as_deref().filter(|it| !it.is_empty()),
            seed: seed.map(|it| it as i32),
            presence_penalty,
            frequency_penalty,
            response_mime_type,
            response_json_schema,
        },
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
        let schema = json!({"name": "s", "schema": {"type": "object"}});
        let formed = sent(vec![Message::user("hi")], json!({"response_format": {"json_schema": schema}}));
        let expected =
            json!({"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}});
        assert_eq!(formed["generationConfig"], expected);
        let nothing = sent(vec![Message::user("hi")], json!({"stop": [], "seed": -1}));
        assert_eq!(nothing["generationConfig"], json!({"seed": -1}));
    }
}
