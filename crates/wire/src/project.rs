//! Projects.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;

use crate::{
    ProjectId, UserId,
    check::{Checks, Request},
    limits,
    schema::{NAME, STORABLE, Time},
};

/// Makes a project, or replaces all that can be changed of one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// 1 to 255 characters.
    #[schemars(
        length(min = 1, max = limits::NAME_CHARS_MAX),
        regex(pattern = NAME),
        example = &"Translations",
    )]
    pub name: String,
    /// At most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = limits::DESCRIPTION_CHARS_MAX),
        regex(pattern = STORABLE),
        example = &"Letters into plain English",
    )]
    pub description: Option<String>,
}

/// Changes what is given of a project, and leaves the rest.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateProject {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = limits::NAME_CHARS_MAX),
        regex(pattern = NAME),
        example = &"Translations",
    )]
    pub name: Option<String>,
    /// The new description; null takes it away.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::DESCRIPTION_CHARS_MAX), regex(pattern = STORABLE))]
    pub description: Option<Option<String>>,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its owner.
    pub user_id: UserId,
    /// Its name.
    #[schemars(example = &"Translations")]
    pub name: String,
    /// What it is for.
    #[schemars(example = &"Letters into plain English")]
    pub description: Option<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub updated_at: OffsetDateTime,
}

/// What was done, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// The sentence.
    #[schemars(example = &"Deleted successfully")]
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

fn check_description(checks: &mut Checks, description: Option<&str>) {
    if let Some(description) = description {
        checks.chars_at_most("description", description, limits::DESCRIPTION_CHARS_MAX);
    }
}

/// Tells a field that is null from one that is absent.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
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
