//! Configuration in layers: flags, then the environment, then legacy names, then a TOML file, then defaults.
//!
//! A product describes its keys as a `confique::Config` struct; this module fills it. A mistake is one line that names
//! the key and the place it was written, and never its value: values may be secrets.
//!
//! - `PREFIX__SECTION__KEY` sets `section.key`, at any depth and inside maps (`PREFIX__PROVIDERS__OPENAI__KIND`)
//! - an environment variable takes the type of its key: `007` stays a string where a string is wanted
//! - an empty variable is no variable: compose files cannot leave one out
//! - an unknown key is an error that suggests the nearest one

mod effective;
mod environment;
mod error;
mod file;
mod mask;
mod node;
mod read;
mod slip;
mod template;
mod wording;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use confique::{Config, Layer};

pub use self::{
    effective::{Effective, Setting},
    environment::Environment,
    error::ConfigError,
    template::template,
};
use self::{node::Node, read::read};

/// Collects the layers of one configuration and loads it.
#[derive(Debug)]
pub struct Loader<'a> {
    prefix: &'static str,
    environment: &'a Environment,
    file: Option<(PathBuf, Presence)>,
    legacy: &'a [(&'static str, &'static str)],
    flags: Vec<Flag>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Presence {
    Required,
    Optional,
}

#[derive(Debug)]
struct Flag {
    name: &'static str,
    key: &'static str,
    value: String,
}

/// A configuration, and what it was made of.
#[derive(Debug)]
pub struct Loaded<C> {
    /// The configuration itself.
    pub config: C,
    /// Every key in effect, with its origin; prints itself with the secrets masked.
    pub effective: Effective,
}

impl<'a> Loader<'a> {
    /// A loader that reads variables called `PREFIX__…` from `environment`.
    pub fn new(prefix: &'static str, environment: &'a Environment) -> Self {
        Self { prefix, environment, file: None, legacy: &[], flags: Vec::new() }
    }

    /// Reads `path`, which must exist.
    pub fn required_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some((path.into(), Presence::Required));
        self
    }

    /// Reads `path` if it exists.
    pub fn optional_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some((path.into(), Presence::Optional));
        self
    }

    /// Variables with names of their own, each with the key it sets: `("DATABASE_URL", "postgres.url")`.
    pub fn legacy(mut self, names: &'a [(&'static str, &'static str)]) -> Self {
        self.legacy = names;
        self
    }

    /// Sets `key` from a flag of the command line (`name` is for error messages). `None` leaves the key alone.
    pub fn flag(mut self, name: &'static str, key: &'static str, value: Option<String>) -> Self {
        self.flags.extend(value.map(|value| Flag { name, key, value }));
        self
    }

    /// Merges the layers into a `C`.
    ///
    /// # Errors
    /// The first mistake found: an unreadable file, TOML that does not parse, an unknown key, a value of the wrong
    /// type, a field validation that failed, a required key that is missing.
    pub fn load<C: Config>(self) -> Result<Loaded<C>, ConfigError> {
        slip::refuse(self.prefix, self.environment, &C::META)?;
        let tree = self.merge()?;
        let layer: C::Layer = read(&tree)?;
        let effective = Effective::new(&C::META, &tree);
        let config = C::from_layer(layer.with_fallback(C::Layer::default_values()))
            .map_err(|error| self.incomplete(&error.to_string()))?;
        Ok(Loaded { config, effective })
    }

    fn merge(&self) -> Result<Node, ConfigError> {
        let mut tree = match &self.file {
            Some((path, Presence::Optional)) if !path.exists() => Node::empty(),
            Some((path, _)) => file::read(path)?,
            None => Node::empty(),
        };
        for (name, key) in self.legacy {
            if let Some(value) = self.environment.get(name).filter(|value| !value.is_empty()) {
                tree.set(key.split('.'), Node::text(name, value))?;
            }
        }
        for (name, value) in self.environment.iter() {
            if let Some(path) = self.path_of(name).filter(|_| !value.is_empty()) {
                tree.set(path.split("__"), Node::text(name, value))?;
            }
        }
        for Flag { name, key, value } in &self.flags {
            tree.set(key.split('.'), Node::text(name, value))?;
        }
        Ok(tree)
    }

    /// `OMNICHAT__POSTGRES__URL` → `postgres__url`.
    fn path_of(&self, name: &str) -> Option<String> {
        Some(name.strip_prefix(self.prefix)?.strip_prefix("__")?.to_lowercase())
    }

    /// confique reports a missing key in prose; the key stands between quotes.
    fn incomplete(&self, prose: &str) -> ConfigError {
        let Some(key) = prose.strip_prefix("required configuration value is missing: ") else {
            return ConfigError::new("", prose);
        };
        let key = key.trim_matches('\'');
        let variable = format!("{}__{}", self.prefix, key.replace('.', "__").to_uppercase());
        let legacy =
            self.legacy.iter().find(|(_, target)| *target == key).map(|(name, _)| format!(" or {name}"));
        let place = self
            .file
            .as_ref()
            .map_or("the configuration file".into(), |(path, _)| path.display().to_string());
        ConfigError::new(key, "is required")
            .advice(format!("set it in {place}, or set {variable}{}", legacy.unwrap_or_default()))
    }
}
