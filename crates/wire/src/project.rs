//! Projects, and the versioned prompts in them.

use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;

use crate::{
    ProjectId, PromptId, UserId,
    check::{Checks, Request},
    limits,
};

/// Makes a project, or replaces all that can be changed of one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// 1 to 255 characters.
    pub name: String,
    /// At most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Changes what is given of a project, and leaves the rest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateProject {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new description; null takes it away.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<String>>,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its owner.
    pub user_id: UserId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// Makes a prompt, at version 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPrompt {
    /// 1 to 255 characters.
    pub name: String,
    /// At most 32 KiB.
    pub content: String,
}

/// Changes a prompt. New content makes the next version; the old ones stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdatePrompt {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The content of the next version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// A prompt at its current version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Its id.
    pub id: PromptId,
    /// The project it belongs to.
    pub project_id: ProjectId,
    /// Its name.
    pub name: String,
    /// The content of this version.
    pub content: String,
    /// Counts from 1, without gap.
    pub version: i32,
    /// When version 1 was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// What was done, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The sentence.
    pub message: String,
}

impl Request for NewProject {
    fn check(&self, checks: &mut Checks) {
        checks.name("name", &self.name, limits::NAME_CHARS_MAX);
        check_description(checks, self.description.as_deref());
    }
}

impl Request for UpdateProject {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = &self.name {
            checks.name("name", name, limits::NAME_CHARS_MAX);
        }
        check_description(checks, self.description.as_ref().and_then(Option::as_deref));
    }
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

fn check_description(checks: &mut Checks, description: Option<&str>) {
    if let Some(description) = description {
        checks.chars_at_most("description", description, limits::DESCRIPTION_CHARS_MAX);
    }
}

/// Tells a field that is null from one that is absent.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    reader: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(reader).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoding;

    #[test]
    fn null_and_absent_differ() {
        let read = |body: &str| Encoding::Json.decode::<UpdateProject>(body.as_bytes()).unwrap().description;
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"description":null}"#), Some(None));
        assert_eq!(read(r#"{"description":"d"}"#), Some(Some("d".into())));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let body = format!(r#"{{"name":" ","description":"{}"}}"#, "d".repeat(1001));
        let fault = Encoding::Json.decode::<NewProject>(body.as_bytes()).unwrap_err();
        let fields: Vec<_> =
            fault.errors.iter().map(|error| (error.field.as_str(), error.code.as_ref())).collect();
        assert_eq!(fields, [("name", "too_short"), ("description", "too_long")]);
    }
}
