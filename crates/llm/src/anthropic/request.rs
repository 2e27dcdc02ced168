//! The body of a request.

use serde::{Serialize, Serializer, ser::SerializeSeq};

use crate::{
    error::CallError,
    prompt::{Message, Prompt, Role, Settings},
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
            content: &'a Text,
        }
        let mut messages = serializer.serialize_seq(None)?;
        for message in self.0 {
            let role = match message.role {
                Role::System => continue,
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            messages.serialize_element(&Spoken { role, content: &message.content })?;
        }
        messages.end()
    }
}

/// A streamed answer to `prompt` by what the provider calls `model`. Its temperatures end at 1, and it knows no seed.
pub(super) fn body(prompt: &Prompt, model: &str) -> Result<Vec<u8>, CallError> {
    let Settings { temperature, top_p, max_tokens, ref stop, seed: _ } = prompt.settings;
    let instructed = prompt.messages.iter().any(|message| message.role == Role::System);
    prompt.encode(&Request {
        model,
        max_tokens: max_tokens.unwrap_or(MAX_TOKENS),
        system: instructed.then_some(Instructions(&prompt.messages)),
        messages: Messages(&prompt.messages),
        stream: true,
        temperature: temperature.map(|it| it.min(1.0)),
        top_p,
        stop_sequences: stop.as_deref().filter(|it| !it.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

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
        };
        let sent = sent(vec![Message::user("hi")], settings);
        assert_eq!(
            (&sent["temperature"], &sent["top_p"], &sent["max_tokens"], &sent["stop_sequences"]),
            (&json!(1.0), &json!(0.5), &json!(7), &json!(["END"]))
        );
        assert_eq!((sent.get("stop"), sent.get("seed")), (None, None));
    }
}
