//! Prompts: versioned texts with variables, that conversations open with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::{
    ProjectId, PromptId,
    check::{Checks, Request},
    limits,
    schema::{LABEL, NAME, STORABLE, Time},
};

/// Makes a prompt, at version 1.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPrompt {
    /// 1 to 255 characters.
    #[schemars(length(min = 1, max = limits::NAME_CHARS_MAX), regex(pattern = NAME), example = &"Translator")]
    pub name: String,
    /// At most 32 KiB.
    #[schemars(
        length(max = limits::PROMPT_BYTES_MAX),
        regex(pattern = STORABLE),
        example = &"Translate into {{ language }}.",
    )]
    pub content: String,
}

/// Changes a prompt. New content makes the next version; the old ones stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdatePrompt {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::NAME_CHARS_MAX), regex(pattern = NAME))]
    pub name: Option<String>,
    /// The content of the next version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = limits::PROMPT_BYTES_MAX),
        regex(pattern = STORABLE),
        example = &"Translate into plain {{ language }}.",
    )]
    pub content: Option<String>,
    /// The version that the change was made from: refused if the prompt has another one by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<i32>,
}

/// A prompt at its current version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prompt {
    /// Its id.
    pub id: PromptId,
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// Its name.
    #[schemars(example = &"Translator")]
    pub name: String,
    /// The content of this version.
    #[schemars(example = &"Translate into {{ language }}.")]
    pub content: String,
    /// Counts from 1, without gap.
    #[schemars(example = 1)]
    pub version: i32,
    /// When version 1 was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub updated_at: OffsetDateTime,
}

/// A version of a prompt; it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromptVersion {
    /// The prompt.
    pub prompt_id: PromptId,
    /// Counts from 1, without gap.
    #[schemars(example = 1)]
    pub version: i32,
    /// Its content.
    #[schemars(example = &"Translate into {{ language }}.")]
    pub content: String,
    /// The labels that are on it.
    #[schemars(example = serde_json::json!(["production"]))]
    pub labels: Vec<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub created_at: OffsetDateTime,
}

/// Names a version of a prompt: to look at it, or to roll back to it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChooseVersion {
    /// The version.
    #[schemars(example = 1)]
    pub version: i32,
}

/// Puts a label on a version of a prompt; it is taken from the version that had it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelPrompt {
    /// 1 to 64 letters, digits, `-`, `_` or `.`: `production`.
    #[schemars(
        length(min = 1, max = limits::LABEL_CHARS_MAX),
        regex(pattern = LABEL),
        example = &"production",
    )]
    pub label: String,
    /// The version.
    #[schemars(example = 1)]
    pub version: i32,
}

/// Takes a label away.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnlabelPrompt {
    /// The label.
    #[schemars(
        length(min = 1, max = limits::LABEL_CHARS_MAX),
        regex(pattern = LABEL),
        example = &"production",
    )]
    pub label: String,
}

/// A label and the version it is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromptLabel {
    /// The prompt.
    pub prompt_id: PromptId,
    /// The label.
    #[schemars(example = &"production")]
    pub label: String,
    /// The version.
    #[schemars(example = 1)]
    pub version: i32,
}

/// Fills in the variables of a prompt.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenderPrompt {
    /// A value for every variable of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({ "language": "English" }))]
    pub variables: Option<Map<String, Value>>,
    /// The version to fill in; absent: the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// The version with this label instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::LABEL_CHARS_MAX), regex(pattern = LABEL))]
    pub label: Option<String>,
}

/// A prompt with its variables filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RenderedPrompt {
    /// The text.
    #[schemars(example = &"Translate into English.")]
    pub content: String,
    /// The version it was made of.
    #[schemars(example = 1)]
    pub version: i32,
}

impl Request for NewPrompt {
    fn check(&self, checks: &mut Checks) {
        checks.name("name", &self.name, limits::NAME_CHARS_MAX);
        checks.bytes_at_most("content", &self.content, limits::PROMPT_BYTES_MAX);
    }
}

impl Request for UpdatePrompt {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = &self.name {
            checks.name("name", name, limits::NAME_CHARS_MAX);
        }
        if let Some(content) = &self.content {
            checks.bytes_at_most("content", content, limits::PROMPT_BYTES_MAX);
        }
    }
}

impl Request for ChooseVersion {
    fn check(&self, _: &mut Checks) {}
}

impl Request for LabelPrompt {
    fn check(&self, checks: &mut Checks) {
        check_label(checks, "label", &self.label);
    }
}

impl Request for UnlabelPrompt {
    fn check(&self, checks: &mut Checks) {
        check_label(checks, "label", &self.label);
    }
}

impl Request for RenderPrompt {
    fn check(&self, checks: &mut Checks) {
        check_variables(checks, self.variables.as_ref());
        if let Some(label) = &self.label {
            check_label(checks, "label", label);
        }
        if self.version.is_some() && self.label.is_some() {
            checks.error("label", "invalid_value", "give a version or a label, not both");
        }
    }
}

/// What a label may be. Another text is none of any version's, and may not even be storable.
pub(crate) fn check_label(checks: &mut Checks, field: &str, label: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if label.is_empty() || label.len() > limits::LABEL_CHARS_MAX || !label.chars().all(plain) {
        let most = limits::LABEL_CHARS_MAX;
        checks.error(field, "invalid_value", format!("must be 1 to {most} letters, digits, '-', '_' or '.'"));
    }
}

/// The values for a prompt's variables, as JSON, are bounded like the prompt itself.
pub(crate) fn check_variables(checks: &mut Checks, variables: Option<&Map<String, Value>>) {
    if let Some(variables) = variables {
        let variables = Value::from(variables.clone());
        checks.bytes_at_most("variables", &variables.to_string(), limits::PROMPT_BYTES_MAX);
        checks.storable_json("variables", &variables);
    }
}
