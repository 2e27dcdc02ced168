//! Functions that a model may ask its caller to call, in the form that OpenAI gave them.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{check::Checks, limits, schema::FUNCTION_NAME};

/// Something that a model may ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// There are functions only.
    pub r#type: ToolType,
    /// The function.
    pub function: Function,
}

/// What a tool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = only_choice)]
pub enum ToolType {
    /// A function of the caller's.
    Function,
}

/// A choice among one is none: its schema is that of the one.
fn only_choice(schema: &mut Schema) {
    let choices = schema.remove("oneOf");
    if let Some(Value::Object(only)) = choices.and_then(|of| of.get(0).cloned()) {
        schema.insert("const".to_owned(), only.get("const").cloned().unwrap_or_default());
        schema.insert("type".to_owned(), "string".into());
    }
}

/// A function as a model is told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// What the model calls it.
    #[schemars(
        length(min = 1, max = limits::FUNCTION_NAME_CHARS_MAX),
        regex(pattern = FUNCTION_NAME),
        example = &"weather",
    )]
    pub name: String,
    /// When to call it, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it takes, as JSON Schema; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// Whether the model must keep to the schema, where the provider can make it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

/// Whether the model asks for a function, and for which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`none`, `auto`, `required` or a function is expected")]
pub enum ToolChoice {
    /// As the model thinks best, or not at all.
    Mode(ToolMode),
    /// This one.
    Function(FunctionName),
}

/// How free the model is to ask for a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolMode {
    /// It asks for none.
    None,
    /// It may ask for some.
    Auto,
    /// It asks for one at least.
    Required,
}

/// One function, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionName {
    /// There are functions only.
    pub r#type: ToolType,
    /// Which one.
    pub function: Named,
}

/// What has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NamedFunction")]
pub struct Named {
    /// The name.
    #[schemars(length(min = 1, max = limits::FUNCTION_NAME_CHARS_MAX), regex(pattern = FUNCTION_NAME))]
    pub name: String,
}

pub(crate) fn check_tools(checks: &mut Checks, tools: &[Tool]) {
    if tools.len() > limits::TOOLS_MAX {
        let most = limits::TOOLS_MAX;
        checks.error("settings.tools", "out_of_range", format!("must be at most {most}"));
    }
    for (place, Tool { function, .. }) in tools.iter().enumerate() {
        check_function_name(checks, &format!("settings.tools[{place}].function.name"), &function.name);
        if tools.iter().take(place).any(|before| before.function.name == function.name) {
            let field = format!("settings.tools[{place}].function.name");
            checks.error(&field, "invalid_value", "is the name of a function before it");
        }
    }
}

pub(crate) fn check_tool_choice(checks: &mut Checks, choice: &ToolChoice) {
    if let ToolChoice::Function(named) = choice {
        check_function_name(checks, "settings.tool_choice.function.name", &named.function.name);
    }
}

/// A name that models can say: of a function, or of an answer's form.
pub(crate) fn check_function_name(checks: &mut Checks, field: &str, name: &str) {
    let most = limits::FUNCTION_NAME_CHARS_MAX;
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
    if !(1..=most).contains(&name.len()) || !name.bytes().all(allowed) {
        checks.error(
            field,
            "invalid_value",
            format!("must be 1 to {most} letters, digits, underscores and hyphens"),
        );
    }
}
