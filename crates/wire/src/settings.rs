//! How a model is called. The names are those of OpenAI's chat completions, which most providers know; for the others they are
//! translated, as far as there is a word.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Tool, ToolChoice,
    check::Checks,
    limits,
    schema::{FUNCTION_NAME, STORABLE},
    tool::{check_function_name, check_tool_choice, check_tools},
};

/// How the model is called. What is absent is left to the provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 2.0), example = 0.2)]
    pub temperature: Option<f64>,
    /// 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub top_p: Option<f64>,
    /// The longest answer, in the model's tokens: 1 to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_tokens: Option<u32>,
    /// Up to four texts that end the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 256), regex(pattern = STORABLE)))]
    pub stop: Option<Vec<String>>,
    /// For answers that repeat, where the provider can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// -2 to 2: how much less likely a word is that was said before, however often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -2.0, max = 2.0))]
    pub presence_penalty: Option<f64>,
    /// -2 to 2: how much less likely a word is each time that it was said before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -2.0, max = 2.0))]
    pub frequency_penalty: Option<f64>,
    /// How long the model thinks before it answers, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<ReasoningEffort>,
    /// The functions that the model may ask for: at most 128, each with a name of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::TOOLS_MAX))]
    pub tools: Option<Vec<Tool>>,
    /// Whether it asks for one of them, and for which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// The form of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
    /// Parameters of the provider that have no field here. They stand in its request as they stand here, and cannot take the
    /// place of anything that has a field, or that decides which model is called; left out where the provider takes only
    /// what it knows (Anthropic). With `tools` and `response_format` at most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

/// How long a model thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningEffort {
    /// Not at all.
    None,
    /// As little as it can.
    Minimal,
    /// A little.
    Low,
    /// Some time.
    Medium,
    /// Long.
    High,
    /// Longer still.
    Xhigh,
}

/// The form of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ResponseFormat {
    /// Any text.
    Text {},
    /// One JSON object; the messages must ask for it as well.
    JsonObject {},
    /// JSON of this form.
    JsonSchema {
        /// The form.
        json_schema: Box<JsonFormat>,
    },
}

/// The form of an answer in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonFormat {
    /// What the model calls it.
    #[schemars(length(min = 1, max = limits::FUNCTION_NAME_CHARS_MAX), regex(pattern = FUNCTION_NAME))]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The form, as JSON Schema.
    pub schema: Map<String, Value>,
    /// Whether the model must keep to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

/// Parameters that no caller sets by way of [`Settings::extra`]: those that have a field of their own here, those that say how
/// the answer comes, and those by which some providers choose the model that is called.
pub const RESERVED: &[&str] = &[
    "model",
    "messages",
    "system",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "stop_sequences",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "reasoning_effort",
    "tools",
    "tool_choice",
    "response_format",
    "n",
    "models",
    "fallbacks",
    "preset",
];

impl Settings {
    pub(crate) fn check(&self, checks: &mut Checks) {
        if let Some(temperature) = self.temperature {
            checks.within("settings.temperature", temperature, 0.0, 2.0);
        }
        if let Some(top_p) = self.top_p {
            checks.within("settings.top_p", top_p, 0.0, 1.0);
        }
        if let Some(max_tokens) = self.max_tokens {
            checks.within("settings.max_tokens", max_tokens, 1, 1_000_000);
        }
        if let Some(stop) = &self.stop {
            if stop.len() > 4 || stop.iter().any(String::is_empty) {
                checks.error("settings.stop", "out_of_range", "must be at most 4 texts, none of them empty");
            }
            for text in stop {
                checks.bytes_at_most("settings.stop", text, 256);
            }
        }
        if let Some(penalty) = self.presence_penalty {
            checks.within("settings.presence_penalty", penalty, -2.0, 2.0);
        }
        if let Some(penalty) = self.frequency_penalty {
            checks.within("settings.frequency_penalty", penalty, -2.0, 2.0);
        }
        if let Some(choice) = &self.tool_choice {
            check_tool_choice(checks, choice);
        }
        if self.tools.is_some() || self.response_format.is_some() || self.extra.is_some() {
            self.check_json(checks);
        }
    }

    /// What the caller wrote in JSON of its own.
    fn check_json(&self, checks: &mut Checks) {
        check_tools(checks, self.tools.as_deref().unwrap_or_default());
        if let Some(ResponseFormat::JsonSchema { json_schema }) = &self.response_format {
            check_function_name(checks, "settings.response_format.json_schema.name", &json_schema.name);
        }
        for name in self.extra.iter().flat_map(Map::keys).filter(|name| RESERVED.contains(&name.as_str())) {
            let field = format!("settings.extra.{name}");
            checks.error(&field, "invalid_value", "is not for `extra`: it is set otherwise, or not at all");
        }
        let mut bytes = 0;
        for (field, json) in [
            ("settings.tools", self.tools.as_ref().map(serde_json::to_value)),
            ("settings.response_format", self.response_format.as_ref().map(serde_json::to_value)),
            ("settings.extra", self.extra.as_ref().map(serde_json::to_value)),
        ] {
            // What was read as JSON can be written as JSON.
            let Some(Ok(json)) = json else { continue };
            checks.storable_json(field, &json);
            checks.depth_at_most(field, &json, limits::SETTINGS_DEPTH_MAX);
            bytes += json.to_string().len();
            if bytes > limits::SETTINGS_BYTES_MAX {
                let most = limits::SETTINGS_BYTES_MAX;
                let message =
                    format!("tools, response format and extra must have at most {most} bytes together");
                checks.error(field, "too_long", message);
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Encoding, RegenerateTurn};

    fn read(settings: &Value) -> Result<Settings, (String, String)> {
        let body = json!({ "settings": settings }).to_string();
        let request = Encoding::Json.decode::<RegenerateTurn>(body.as_bytes());
        request.map(|request| request.settings.unwrap()).map_err(|fault| {
            let error = &fault.errors[0];
            (error.field.to_string(), error.code.to_string())
        })
    }

    fn refused(settings: &Value) -> (String, String) {
        read(settings).unwrap_err()
    }

    fn tool(name: &str) -> Value {
        json!({ "type": "function", "function": { "name": name } })
    }

    #[test]
    fn settings_are_written_as_they_were_read() {
        let everything = json!({
            "temperature": 0.5, "top_p": 0.5, "max_tokens": 7, "stop": ["END"], "seed": 1,
            "presence_penalty": -2.0, "frequency_penalty": 2.0, "reasoning_effort": "xhigh",
            "tools": [{ "type": "function", "function": { "name": "weather", "description": "Tells the weather.",
                "parameters": { "type": "object", "properties": { "city": { "type": "string" } } }, "strict": true } }],
            "tool_choice": { "type": "function", "function": { "name": "weather" } },
            "response_format": { "type": "json_schema",
                "json_schema": { "name": "answer", "schema": { "type": "object" }, "strict": true } },
            "extra": { "top_k": 40, "provider": { "order": ["a"] } },
        });
        let settings = read(&everything).unwrap();
        assert_eq!(serde_json::to_value(&settings).unwrap(), everything);
        let packed = Encoding::MessagePack.encode(&json!({ "settings": everything })).unwrap();
        let request = Encoding::MessagePack.decode::<RegenerateTurn>(&packed).unwrap();
        assert_eq!(request.settings.unwrap(), settings);
        for choice in ["none", "auto", "required"] {
            let settings = read(&json!({ "tool_choice": choice })).unwrap();
            assert_eq!(serde_json::to_value(&settings).unwrap(), json!({ "tool_choice": choice }));
        }
        for form in ["text", "json_object"] {
            let format = json!({ "response_format": { "type": form } });
            assert_eq!(serde_json::to_value(read(&format).unwrap()).unwrap(), format);
        }
        assert_eq!(serde_json::to_value(Settings::default()).unwrap(), json!({}));
    }

    #[test]
    fn what_is_wrong_is_told_by_field() {
        let named = |settings: Value| refused(&settings).0;
        assert_eq!(named(json!({ "presence_penalty": 2.1 })), "settings.presence_penalty");
        assert_eq!(named(json!({ "frequency_penalty": -2.1 })), "settings.frequency_penalty");
        assert_eq!(named(json!({ "reasoning_effort": "much" })), "settings.reasoning_effort");
        assert_eq!(named(json!({ "tool_choice": "any" })), "settings.tool_choice");
        assert_eq!(named(json!({ "tools": [{ "type": "shell" }] })), "settings.tools[0].type");
        let twice = json!({ "tools": [tool("a"), tool("a")] });
        assert_eq!(named(twice), "settings.tools[1].function.name");
        let wrong = json!({ "tools": [{ "type": "function", "function": { "name": "a", "colour": 1 } }] });
        assert_eq!(refused(&wrong), ("settings.tools[0].function.colour".into(), "unknown_field".into()));
        let chosen = json!({ "tool_choice": { "type": "function", "function": { "name": "a b" } } });
        assert_eq!(named(chosen), "settings.tool_choice.function.name");
        let unknown = json!({ "response_format": { "type": "text", "colour": 1 } });
        assert_eq!(refused(&unknown).1, "unknown_field");
        let schema = json!({ "type": "json_schema", "json_schema": { "name": "", "schema": {} } });
        assert_eq!(named(json!({ "response_format": schema })), "settings.response_format.json_schema.name");
        let nul = json!({ "extra": { "a": ["b\0"] } });
        assert_eq!(refused(&nul), ("settings.extra".into(), "invalid_character".into()));
    }

    #[test]
    fn names_and_numbers_of_tools_are_bounded() {
        let tools = |count: usize| -> Value { (0..count).map(|it| tool(&format!("f_{it}-A"))).collect() };
        read(&json!({ "tools": tools(limits::TOOLS_MAX) })).unwrap();
        assert_eq!(refused(&json!({ "tools": tools(limits::TOOLS_MAX + 1) })).0, "settings.tools");
        let name = "n".repeat(limits::FUNCTION_NAME_CHARS_MAX);
        read(&json!({ "tools": [tool(&name)] })).unwrap();
        for name in [format!("{name}n"), String::new(), "a.b".into(), "\u{e9}".into()] {
            assert_eq!(refused(&json!({ "tools": [tool(&name)] })).0, "settings.tools[0].function.name");
        }
    }

    #[test]
    fn so_many_bytes_of_json_are_taken_and_one_more_is_refused() {
        let extra = |bytes: usize| json!({ "extra": { "a": "x".repeat(bytes - r#"{"a":""}"#.len()) } });
        read(&extra(limits::SETTINGS_BYTES_MAX)).unwrap();
        assert_eq!(
            refused(&extra(limits::SETTINGS_BYTES_MAX + 1)),
            ("settings.extra".into(), "too_long".into())
        );
        let mut together = extra(limits::SETTINGS_BYTES_MAX);
        together["tools"] = json!([]);
        assert_eq!(refused(&together).1, "too_long");
        let nested = |depth: usize| {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            json!({ "extra": { "a": serde_json::from_str::<Value>(&text).unwrap() } })
        };
        read(&nested(limits::SETTINGS_DEPTH_MAX - 1)).unwrap();
        assert_eq!(refused(&nested(limits::SETTINGS_DEPTH_MAX)).1, "out_of_range");
    }

    #[test]
    fn extra_parameters_take_the_place_of_nothing() {
        for name in RESERVED {
            let field = format!("settings.extra.{name}");
            assert_eq!(refused(&json!({ "extra": { *name: 1 } })), (field, "invalid_value".into()));
        }
        let fields = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
        for name in fields["properties"].as_object().unwrap().keys().filter(|name| *name != "extra") {
            assert!(RESERVED.contains(&name.as_str()), "{name} has a field of its own");
        }
    }
}
