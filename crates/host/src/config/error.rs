use std::fmt;

/// A mistake in the configuration, as one line: where, which key, what is wrong, what to do. It never holds the value.
///
/// Owners of a key report what only they can know in the same form:
/// ```
/// use host::config::ConfigError;
/// let error = ConfigError::new("auth.jwt_secret", "is shorter than 32 bytes").advice("make a longer one");
/// assert_eq!(error.to_string(), "auth.jwt_secret is shorter than 32 bytes; make a longer one");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    origin: Option<String>,
    key: String,
    problem: String,
    advice: Option<String>,
    /// The problem is in a parser's own words, which may quote the value.
    foreign: bool,
}

impl ConfigError {
    /// `problem` continues the sentence that `key` begins: `is required`, `must be at least 1`.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { origin: None, key: key.into(), problem: problem.into(), advice: None, foreign: false }
    }

    /// Adds what to do about it.
    pub fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// Adds where the value was written: `omnichat.toml:12`, the variable's name, the flag. An origin once known stays.
    pub fn at(mut self, origin: &str) -> Self {
        self.origin.get_or_insert_with(|| origin.to_owned());
        self
    }

    /// The key, in dots; empty if the mistake belongs to no key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Puts the key of the enclosing table or array in front: errors are made at the leaf and travel outward.
    pub(super) fn under(mut self, parent: &str) -> Self {
        self.key = match self.key.chars().next() {
            None => parent.to_owned(),
            Some('[') => format!("{parent}{}", self.key),
            Some(_) => format!("{parent}.{}", self.key),
        };
        self
    }

    /// A problem in a parser's own words.
    pub(super) fn foreign(problem: &str) -> Self {
        Self { foreign: true, ..Self::new("", problem) }
    }

    /// Blots out `value`, should a parser have quoted it. Too short a value would blot out ordinary words.
    pub(super) fn without(mut self, value: &str) -> Self {
        const SECRET_LENGTH_MIN: usize = 4;
        if self.foreign && value.len() >= SECRET_LENGTH_MIN {
            self.problem = self.problem.replace(value, "…");
        }
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        if let Some(origin) = &self.origin {
            line.push_str(origin);
            line.push_str(": ");
        }
        if !self.key.is_empty() {
            line.push_str(&self.key);
            line.push(' ');
        }
        line.push_str(&self.problem);
        if let Some(advice) = &self.advice {
            line.push_str("; ");
            line.push_str(advice);
        }
        f.write_str(&line.replace(['\n', '\r'], " "))
    }
}

impl std::error::Error for ConfigError {}
