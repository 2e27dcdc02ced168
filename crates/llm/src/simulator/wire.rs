//! The wires that the simulator speaks: how the parts of an answer, and an error, are written on each.

use std::io;

use serde_json::{Value, json};

use super::{
    gemini,
    script::{NumberOrText, Script},
};

/// Tokens of the prompt, and of the answer.
pub(super) type Tokens = [i64; 2];

/// A wire, with what its events have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// OpenAI's chat completions.
    Completions {
        /// What every object begins with: `{"id":…,"model":…,`
        head: String,
    },
    /// Anthropic's Messages.
    Messages {
        /// The model that was asked.
        model: String,
    },
    /// Google's `generateContent`.
    GenerateContent {
        /// The model that was asked.
        model: String,
    },
}

/// Where events go, in the manner of a script.
pub(super) struct Writer<'a> {
    pub out: &'a mut Vec<u8>,
    pub script: &'a Script,
}

impl Writer<'_> {
    fn write(&mut self, name: Option<&str>, data: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        let end = if self.script.crlf { "\r\n" } else { "\n" };
        let out = &mut *self.out;
        if self.script.comments {
            out.extend_from_slice(format!(": SIMULATOR PROCESSING{end}{end}").as_bytes());
        }
        if let Some(name) = name {
            out.extend_from_slice(format!("event: {name}{end}").as_bytes());
        }
        out.extend_from_slice(b"data: ");
        // Writing to memory cannot fail.
        let _ = data(out);
        out.extend_from_slice(end.as_bytes());
        out.extend_from_slice(end.as_bytes());
    }

    /// An event that is no more than its data.
    fn data(&mut self, data: &Value) {
        self.write(None, |out| Ok(serde_json::to_writer(out, data)?));
    }

    /// An event of Messages, whose kind stands in the data as well.
    fn message(&mut self, data: &Value) {
        self.write(data["type"].as_str(), |out| Ok(serde_json::to_writer(out, data)?));
    }
}

impl Wire {
    /// Chat completions of this model: its answers in one piece, or the chunks of a stream.
    pub fn completions(model: &str, stream: bool) -> Self {
        let object = if stream { "chat.completion.chunk" } else { "chat.completion" };
        let created = time::OffsetDateTime::now_utc().unix_timestamp();
        let model = Value::from(model);
        let head = format!(
            r#"{{"id":"chatcmpl-simulated","object":"{object}","created":{created},"model":{model},"#
        );
        Self::Completions { head }
    }

    /// What comes before the text.
    pub fn begin(&self, writer: &mut Writer<'_>, usage: Option<Tokens>) {
        match self {
            Self::Completions { head } => {
                choice(writer, head, r#"{"role":"assistant","content":""}"#, &Value::Null);
            }
            Self::Messages { model } => {
                let usage = usage.map(|[prompt, _]| json!({ "input_tokens": prompt, "output_tokens": 1 }));
                let message = json!({ "id": "msg_simulated", "type": "message", "role": "assistant", "model": model,
                    "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage });
                writer.message(&json!({ "type": "message_start", "message": message }));
                let block = json!({ "type": "text", "text": "" });
                writer.message(&json!({ "type": "content_block_start", "index": 0, "content_block": block }));
            }
            Self::GenerateContent { model } => writer.data(&gemini::begun(model, usage)),
        }
    }

    /// More text.
    pub fn text(&self, writer: &mut Writer<'_>, text: &str) {
        match self {
            Self::Completions { head } => writer.write(None, |out| {
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(br#""choices":[{"index":0,"delta":{"content":"#);
                serde_json::to_writer(&mut *out, text)?;
                out.extend_from_slice(br#"},"finish_reason":null}]}"#);
                Ok(())
            }),
            Self::Messages { .. } => {
                let delta = json!({ "type": "text_delta", "text": text });
                writer.message(&json!({ "type": "content_block_delta", "index": 0, "delta": delta }));
            }
            Self::GenerateContent { model } => writer.data(&gemini::said(model, text)),
        }
    }

    /// Why the text ends.
    pub fn finish(&self, writer: &mut Writer<'_>, reason: &str, usage: Option<Tokens>) {
        match self {
            Self::Completions { head } => choice(writer, head, "{}", &Value::from(reason)),
            Self::Messages { .. } => {
                writer.message(&json!({ "type": "content_block_stop", "index": 0 }));
                let delta = json!({ "stop_reason": stop_reason(reason), "stop_sequence": null });
                let usage = usage.map(|[_, completion]| json!({ "output_tokens": completion }));
                writer.message(&json!({ "type": "message_delta", "delta": delta, "usage": usage }));
            }
            Self::GenerateContent { model } => writer.data(&gemini::whole(model, "", reason, usage)),
        }
    }

    /// What was consumed, where that has an event of its own. False: it has none.
    pub fn usage(&self, writer: &mut Writer<'_>, usage: Option<Tokens>) -> bool {
        let (Self::Completions { head }, Some(usage)) = (self, usage) else { return false };
        let usage = completions_usage(usage);
        writer.write(None, |out| {
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(format!(r#""choices":[],"usage":{usage}}}"#).as_bytes());
            Ok(())
        });
        true
    }

    /// The last event, where there is one beside the end of the body. False: there is none.
    pub fn done(&self, writer: &mut Writer<'_>) -> bool {
        match self {
            Self::GenerateContent { .. } => return false,
            Self::Completions { .. } => writer.write(None, |out| {
                out.extend_from_slice(b"[DONE]");
                Ok(())
            }),
            Self::Messages { .. } => writer.message(&json!({ "type": "message_stop" })),
        }
        true
    }

    /// An error within a stream that had begun well.
    pub fn error(&self, writer: &mut Writer<'_>, status: u16) {
        let error = self.error_body(writer.script, status);
        match self {
            Self::Completions { .. } | Self::GenerateContent { .. } => writer.data(&error),
            Self::Messages { .. } => writer.message(&error),
        }
    }

    /// The body of an answer with this status.
    pub fn error_body(&self, script: &Script, status: u16) -> Value {
        let message = script.message.as_deref().unwrap_or("The simulator fails as told.");
        match self {
            Self::Completions { .. } => {
                let code = script.error.clone().unwrap_or(NumberOrText::Number(status.into()));
                json!({ "error": { "message": message, "type": null, "code": code } })
            }
            Self::Messages { .. } => {
                let kind = script.error.as_ref().map(ToString::to_string);
                let kind = kind.unwrap_or_else(|| error_type(status).to_owned());
                json!({ "type": "error", "error": { "type": kind, "message": message } })
            }
            Self::GenerateContent { .. } => gemini::error(status, script.error.as_ref(), message),
        }
    }

    /// An answer in one piece.
    pub fn whole(&self, text: &str, finish: &str, usage: Tokens) -> String {
        match self {
            Self::Completions { head } => {
                let message = json!({ "role": "assistant", "content": text });
                format!(
                    r#"{head}"choices":[{{"index":0,"message":{message},"finish_reason":{}}}],"usage":{}}}"#,
                    Value::from(finish),
                    completions_usage(usage),
                )
            }
            Self::Messages { model } => {
                let [input, output] = usage;
                json!({ "id": "msg_simulated", "type": "message", "role": "assistant", "model": model,
                    "content": [{ "type": "text", "text": text }], "stop_reason": stop_reason(finish),
                    "stop_sequence": null, "usage": { "input_tokens": input, "output_tokens": output } })
                .to_string()
            }
            Self::GenerateContent { model } => gemini::whole(model, text, finish, Some(usage)).to_string(),
        }
    }
}

fn choice(writer: &mut Writer<'_>, head: &str, delta: &str, finish_reason: &Value) {
    writer.write(None, |out| {
        let choice =
            format!(r#"{head}"choices":[{{"index":0,"delta":{delta},"finish_reason":{finish_reason}}}]}}"#);
        out.extend_from_slice(choice.as_bytes());
        Ok(())
    });
}

fn completions_usage([prompt, completion]: Tokens) -> String {
    let total = prompt + completion;
    format!(r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}}}"#)
}

/// What Messages calls a finish that scripts name as chat completions do; any other is written as it is.
fn stop_reason(finish: &str) -> &str {
    match finish {
        "stop" => "end_turn",
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        "content_filter" => "refusal",
        other => other,
    }
}

fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}
