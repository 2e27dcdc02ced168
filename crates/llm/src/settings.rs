//! How a model is asked to answer. What it may ask for in turn, and in which form it answers, each wire says in its own words.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How to answer. What is absent is left to the provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Randomness, 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Share of the probability mass to choose from, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Longest answer in the model's tokens, 1 to 1,000,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Texts before which the answer stops: at most 4, each 1 to 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// Asks for the same answer to the same prompt, where the provider can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// How much less likely a word is that was said before, -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// How much less likely a word is each time that it was said before, -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// How long to think first, where the model does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<ReasoningEffort>,
    /// The functions that the model may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Tool>>,
    /// Whether it asks for one, and for which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// The form of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
    /// Parameters without a field here, for providers that take what they do not know. None of them may have the name of
    /// something that a request has already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
}

/// How long to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningEffort {
    /// Not at all.
    None,
    /// As little as the model can.
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

/// A function that the model may ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// What the model calls it.
    pub name: String,
    /// When to call it, and how.
    pub description: Option<String>,
    /// What it takes, as JSON Schema; absent: nothing.
    pub parameters: Option<Map<String, Value>>,
    /// Whether the model must keep to that.
    pub strict: Option<bool>,
}

/// Whether the model asks for a function, and for which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// For none.
    None,
    /// As it thinks best.
    Auto,
    /// For one at least.
    Required,
    /// For the one of this name.
    Function(String),
}

/// The form of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    /// Any text.
    Text,
    /// One JSON object.
    JsonObject,
    /// JSON of this form.
    JsonSchema(Box<JsonFormat>),
}

/// The form of an answer in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonFormat {
    /// What the model calls it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The form, as JSON Schema.
    pub schema: Map<String, Value>,
    /// Whether the model must keep to it.
    pub strict: Option<bool>,
}

/// Names that no [`Settings::extra`] parameter may have: a request has them already, or what they ask for is not read.
pub const RESERVED_PARAMETERS: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "reasoning_effort",
    "tools",
    "tool_choice",
    "response_format",
    "n",
];

/// A setting out of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidSetting {
    /// The field of [`Settings`].
    pub field: &'static str,
    /// Its bounds, as a sentence to the user.
    pub message: &'static str,
}

impl Settings {
    /// These, with those of `base` where these say nothing.
    #[must_use]
    pub fn over(self, base: &Self) -> Self {
        Self {
            temperature: self.temperature.or(base.temperature),
            top_p: self.top_p.or(base.top_p),
            max_tokens: self.max_tokens.or(base.max_tokens),
            stop: self.stop.or_else(|| base.stop.clone()),
            seed: self.seed.or(base.seed),
            presence_penalty: self.presence_penalty.or(base.presence_penalty),
            frequency_penalty: self.frequency_penalty.or(base.frequency_penalty),
            reasoning_effort: self.reasoning_effort.or(base.reasoning_effort),
            tools: self.tools.or_else(|| base.tools.clone()),
            tool_choice: self.tool_choice.or_else(|| base.tool_choice.clone()),
            response_format: self.response_format.or_else(|| base.response_format.clone()),
            extra: self.extra.or_else(|| base.extra.clone()),
        }
    }

    /// Are all values within their bounds? Names the first field that is not.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        let within =
            |ok: bool, field, message| if ok { Ok(()) } else { Err(InvalidSetting { field, message }) };
        within(
            self.temperature.is_none_or(|it| (0.0..=2.0).contains(&it)),
            "temperature",
            "must be between 0 and 2",
        )?;
        within(self.top_p.is_none_or(|it| (0.0..=1.0).contains(&it)), "top_p", "must be between 0 and 1")?;
        within(
            self.max_tokens.is_none_or(|it| (1..=1_000_000).contains(&it)),
            "max_tokens",
            "must be between 1 and 1000000",
        )?;
        let stops = self.stop.as_deref().unwrap_or_default();
        within(
            stops.len() <= 4 && stops.iter().all(|it| (1..=256).contains(&it.len())),
            "stop",
            "must be at most 4 texts of 1 to 256 bytes",
        )?;
        let penalty = |it: Option<f64>| it.is_none_or(|it| (-2.0..=2.0).contains(&it));
        within(penalty(self.presence_penalty), "presence_penalty", "must be between -2 and 2")?;
        within(penalty(self.frequency_penalty), "frequency_penalty", "must be between -2 and 2")?;
        let replaces =
            self.extra.iter().flat_map(Map::keys).any(|name| RESERVED_PARAMETERS.contains(&name.as_str()));
        within(!replaces, "extra", "must not name what a request has already")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_accepted_at_their_bounds_and_refused_beyond() {
        let with = |edit: fn(&mut Settings)| {
            let mut settings = Settings::default();
            edit(&mut settings);
            settings.validate().map_err(|invalid| invalid.field)
        };
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|it| it.temperature = Some(2.0)), Ok(()));
        assert_eq!(with(|it| it.temperature = Some(2.1)), Err("temperature"));
        assert_eq!(with(|it| it.temperature = Some(f64::NAN)), Err("temperature"));
        assert_eq!(with(|it| it.top_p = Some(0.0)), Ok(()));
        assert_eq!(with(|it| it.top_p = Some(-0.1)), Err("top_p"));
        assert_eq!(with(|it| it.max_tokens = Some(1_000_000)), Ok(()));
        assert_eq!(with(|it| it.max_tokens = Some(0)), Err("max_tokens"));
        assert_eq!(with(|it| it.stop = Some(vec!["x".repeat(256); 4])), Ok(()));
        assert_eq!(with(|it| it.stop = Some(vec!["x".to_owned(); 5])), Err("stop"));
        assert_eq!(with(|it| it.stop = Some(vec![String::new()])), Err("stop"));
        assert_eq!(with(|it| it.presence_penalty = Some(-2.0)), Ok(()));
        assert_eq!(with(|it| it.presence_penalty = Some(-2.1)), Err("presence_penalty"));
        assert_eq!(with(|it| it.frequency_penalty = Some(2.1)), Err("frequency_penalty"));
    }

    #[test]
    fn an_extra_parameter_replaces_nothing() {
        let with = |name: &str| {
            let extra = Map::from_iter([(name.to_owned(), Value::from(1))]);
            Settings { extra: Some(extra), ..Settings::default() }.validate().map_err(|invalid| invalid.field)
        };
        assert_eq!(with("top_k"), Ok(()));
        for name in RESERVED_PARAMETERS {
            assert_eq!(with(name), Err("extra"), "{name}");
        }
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let refused = serde_json::from_str::<Settings>(r#"{"temperatur": 1}"#).unwrap_err().to_string();
        assert!(refused.contains("temperatur"), "{refused}");
    }

    #[test]
    fn what_is_said_goes_over_what_is_usual() {
        let read = |settings| serde_json::from_value::<Settings>(settings).unwrap();
        let tool =
            |name: &str| json!({ "name": name, "description": null, "parameters": null, "strict": null });
        let usual = read(json!({ "temperature": 1.0, "tools": [tool("a")], "extra": { "a": 1 } }));
        let said = read(json!({ "seed": 1, "tools": [tool("b")], "tool_choice": "auto" }));
        let merged = json!({ "temperature": 1.0, "seed": 1, "tools": [tool("b")], "tool_choice": "auto",
            "extra": { "a": 1 } });
        assert_eq!(serde_json::to_value(said.over(&usual)).unwrap(), merged, "tools are not added to tools");
    }
}
