//! What a request must satisfy beyond its form. All that is wrong is told at once, each with its field.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Fault, FieldError};

/// The body of a request.
pub trait Request: DeserializeOwned {
    /// Notes everything that is wrong.
    fn check(&self, checks: &mut Checks);
}

/// What was found wrong so far.
#[derive(Debug, Default)]
pub struct Checks {
    errors: Vec<FieldError>,
}

/// Checks a request.
pub fn run<T: Request>(request: &T) -> Result<(), Fault> {
    let mut checks = Checks::default();
    request.check(&mut checks);
    checks.result()
}

impl Checks {
    /// All that was noted.
    pub(crate) fn result(self) -> Result<(), Fault> {
        if self.errors.is_empty() { Ok(()) } else { Err(Fault::invalid(self.errors)) }
    }

    /// Notes one error.
    pub fn error(&mut self, field: &str, code: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.to_owned(), code: code.into(), message: message.into() });
    }

    /// A name or title: not blank, at most `chars_max` characters.
    pub fn name(&mut self, field: &str, text: &str, chars_max: usize) {
        if text.trim().is_empty() {
            self.error(field, "too_short", "must not be blank");
        }
        self.chars_at_most(field, text, chars_max);
    }

    /// Free text of at most `chars_max` characters.
    pub fn chars_at_most(&mut self, field: &str, text: &str, chars_max: usize) {
        if text.chars().count() > chars_max {
            self.error(field, "too_long", format!("must have at most {chars_max} characters"));
        }
        self.storable(field, text);
    }

    /// Free text of at most `bytes_max` bytes.
    pub fn bytes_at_most(&mut self, field: &str, text: &str, bytes_max: usize) {
        if text.len() > bytes_max {
            self.error(field, "too_long", format!("must have at most {bytes_max} bytes"));
        }
        self.storable(field, text);
    }

    /// A number between two bounds, both included.
    pub fn within<N: PartialOrd + std::fmt::Display>(&mut self, field: &str, number: N, least: N, most: N) {
        if !(least <= number && number <= most) {
            self.error(field, "out_of_range", format!("must be between {least} and {most}"));
        }
    }

    /// NUL is the one character that the database's text cannot hold.
    pub fn storable(&mut self, field: &str, text: &str) {
        if text.contains('\0') {
            self.error(field, "invalid_character", "must not contain the character NUL");
        }
    }

    /// The same of every text and name in a value. What was read is nested in bounds.
    pub fn storable_json(&mut self, field: &str, value: &Value) {
        if has_nul(value) {
            self.storable(field, "\0");
        }
    }

    /// Values within values, at most so deep. What is kept is read again within lists and replies, and deeper there.
    pub fn depth_at_most(&mut self, field: &str, value: &Value, depth_max: usize) {
        if depth(value) > depth_max {
            self.error(field, "out_of_range", format!("must be nested at most {depth_max} deep"));
        }
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// A request without fields.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Request for Nothing {
    fn check(&self, _: &mut Checks) {}
}
