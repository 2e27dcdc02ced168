//! Functions that the model may ask for, and forms of its answer.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::settings::{JsonFormat, ResponseFormat, Tool, ToolChoice};

/// What the model may ask for.
pub(super) struct Tools<'a>(pub &'a [Tool]);

/// Whether it does, and for which.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Choice<'a> {
    Mode(&'static str),
    Function { r#type: &'static str, function: Named<'a> },
}

#[derive(Serialize)]
pub(super) struct Named<'a> {
    name: &'a str,
}

/// The form of the answer.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Format<'a> {
    Text,
    JsonObject,
    JsonSchema { json_schema: Schema<'a> },
}

#[derive(Serialize)]
pub(super) struct Schema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    schema: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl Serialize for Tools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entry<'a> {
            r#type: &'static str,
            function: Function<'a>,
        }
        serializer.collect_seq(self.0.iter().map(|tool| Entry {
            r#type: "function",
            function: Function {
                name: &tool.name,
                description: tool.description.as_deref(),
                parameters: tool.parameters.as_ref(),
                strict: tool.strict,
            },
        }))
    }
}

impl<'a> Choice<'a> {
    pub(super) fn of(choice: &'a ToolChoice) -> Self {
        match choice {
            ToolChoice::None => Self::Mode("none"),
            ToolChoice::Auto => Self::Mode("auto"),
            ToolChoice::Required => Self::Mode("required"),
            ToolChoice::Function(name) => Self::Function { r#type: "function", function: Named { name } },
        }
    }
}

impl<'a> Format<'a> {
    pub(super) fn of(format: &'a ResponseFormat) -> Self {
        match format {
            ResponseFormat::Text => Self::Text,
            ResponseFormat::JsonObject => Self::JsonObject,
            ResponseFormat::JsonSchema(format) => {
                let JsonFormat { name, description, schema, strict } = &**format;
                let description = description.as_deref();
                Self::JsonSchema { json_schema: Schema { name, description, schema, strict: *strict } }
            }
        }
    }
}
