//! Functions that the model may ask for, and how it thinks and answers.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::settings::{ReasoningEffort, ResponseFormat, Settings, Tool, ToolChoice};

/// What the model may ask for.
pub(super) struct Tools<'a>(pub &'a [Tool]);

/// Whether it does, and for which.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Choice<'a> {
    None,
    Auto,
    Any,
    Tool { name: &'a str },
}

/// Whether it thinks first.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Thinking {
    Disabled,
}

/// With how much effort, and in which form it answers.
#[derive(Serialize)]
pub(super) struct Output<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonSchema { schema: &'a Map<String, Value> },
}

/// What a function takes. Here there is no function without.
#[derive(Serialize)]
#[serde(untagged)]
enum InputSchema<'a> {
    Given(&'a Map<String, Value>),
    Nothing { r#type: &'static str },
}

impl Serialize for Tools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entry<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            input_schema: InputSchema<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            strict: Option<bool>,
        }
        serializer.collect_seq(
            self.0.iter().map(|tool| Entry {
                name: &tool.name,
                description: tool.description.as_deref(),
                input_schema: tool
                    .parameters
                    .as_ref()
                    .map_or(InputSchema::Nothing { r#type: "object" }, InputSchema::Given),
                strict: tool.strict,
            }),
        )
    }
}

impl<'a> Choice<'a> {
    pub(super) fn of(choice: &'a ToolChoice) -> Self {
        match choice {
            ToolChoice::None => Self::None,
            ToolChoice::Auto => Self::Auto,
            ToolChoice::Required => Self::Any,
            ToolChoice::Function(name) => Self::Tool { name },
        }
    }
}

impl Thinking {
    /// Only not to think is said here: how much is a matter of effort.
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        (settings.reasoning_effort == Some(ReasoningEffort::None)).then_some(Self::Disabled)
    }
}

impl<'a> Output<'a> {
    /// None where neither was asked for, or there is no word for what was: JSON without a schema has none. The least effort
    /// is `low`.
    pub(super) fn of(settings: &'a Settings) -> Option<Self> {
        let effort = settings.reasoning_effort.and_then(|effort| match effort {
            ReasoningEffort::None => None,
            ReasoningEffort::Minimal | ReasoningEffort::Low => Some("low"),
            ReasoningEffort::Medium => Some("medium"),
            ReasoningEffort::High => Some("high"),
            ReasoningEffort::Xhigh => Some("xhigh"),
        });
        let format = match &settings.response_format {
            Some(ResponseFormat::JsonSchema(format)) => Some(Format::JsonSchema { schema: &format.schema }),
            Some(ResponseFormat::Text | ResponseFormat::JsonObject) | None => None,
        };
        (effort.is_some() || format.is_some()).then_some(Self { effort, format })
    }
}
