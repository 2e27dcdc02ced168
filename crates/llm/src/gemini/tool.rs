//! Functions that the model may ask for, and how long it thinks.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::settings::{ReasoningEffort, Tool, ToolChoice};

/// What the model may ask for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tools<'a> {
    function_declarations: Declarations<'a>,
}

struct Declarations<'a>(&'a [Tool]);

/// Whether it does, and for which.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Choice<'a> {
    function_calling_config: Calling<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Calling<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_function_names: Option<[&'a str; 1]>,
}

/// How long it thinks. The longest is `high`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Thinking {
    /// In tokens.
    ThinkingBudget(u32),
    ThinkingLevel(&'static str),
}

impl Serialize for Declarations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry<'a> {
            name: &'a str,
            // It must be given there.
            description: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            parameters_json_schema: Option<&'a Map<String, Value>>,
        }
        serializer.collect_seq(self.0.iter().map(|tool| Entry {
            name: &tool.name,
            description: tool.description.as_deref().unwrap_or_default(),
            parameters_json_schema: tool.parameters.as_ref(),
        }))
    }
}

impl<'a> Tools<'a> {
    /// One set of functions, or none at all.
    pub(super) fn of(tools: &'a [Tool]) -> Option<[Self; 1]> {
        (!tools.is_empty()).then_some([Self { function_declarations: Declarations(tools) }])
    }
}

impl<'a> Choice<'a> {
    pub(super) fn of(choice: &'a ToolChoice) -> Self {
        let (mode, allowed_function_names) = match choice {
            ToolChoice::None => ("NONE", None),
            ToolChoice::Auto => ("AUTO", None),
            ToolChoice::Required => ("ANY", None),
            ToolChoice::Function(name) => ("ANY", Some([name.as_str()])),
        };
        Self { function_calling_config: Calling { mode, allowed_function_names } }
    }
}

impl Thinking {
    pub(super) const fn of(effort: ReasoningEffort) -> Self {
        match effort {
            ReasoningEffort::None => Self::ThinkingBudget(0),
            ReasoningEffort::Minimal => Self::ThinkingLevel("minimal"),
            ReasoningEffort::Low => Self::ThinkingLevel("low"),
            ReasoningEffort::Medium => Self::ThinkingLevel("medium"),
            ReasoningEffort::High | ReasoningEffort::Xhigh => Self::ThinkingLevel("high"),
        }
    }
}
