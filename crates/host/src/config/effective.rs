use std::{collections::BTreeMap, fmt, slice::from_ref};

use confique::meta::{FieldKind, LeafKind, Meta};

use super::{
    ConfigError,
    mask::masked,
    node::{Node, Value},
};

/// Every key in effect with its value and origin, ordered by section. Prints as TOML with the secrets masked and, where
/// a value is not the default, a comment that says where it was written.
#[derive(Clone, Default, PartialEq)]
pub struct Effective(BTreeMap<(Vec<String>, String), Setting>);

/// One key's value.
#[derive(Clone, PartialEq)]
pub struct Setting {
    /// The value, secrets included.
    pub value: toml::Value,
    /// `omnichat.toml:12`, the variable's name or the flag; `None` for a default.
    pub origin: Option<String>,
}

impl Effective {
    pub(super) fn new(meta: &Meta, tree: &Node) -> Self {
        let mut effective = Self::default();
        effective.add_defaults(meta, &[]);
        if let Value::Table(table) = &tree.value {
            effective.add_table(table, &[]);
        }
        effective
    }

    /// The setting of `key`, given in dots: `postgres.url`.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        let mut section: Vec<String> = key.split('.').map(str::to_owned).collect();
        let name = section.pop()?;
        self.0.get(&(section, name))
    }

    /// Adds to a mistake that an owner found where its key was written.
    pub fn locate(&self, error: ConfigError) -> ConfigError {
        match self.get(error.key()).and_then(|setting| setting.origin.as_deref()) {
            Some(origin) => error.at(origin),
            None => error,
        }
    }

    fn add_defaults(&mut self, meta: &Meta, section: &[String]) {
        for field in meta.fields {
            match field.kind {
                FieldKind::Nested { meta } => {
                    self.add_defaults(meta, &[section, &[field.name.to_owned()]].concat())
                }
                FieldKind::Leaf { kind: LeafKind::Required { default: Some(default) }, .. } => {
                    // A default that TOML cannot express has no way to be shown; confique's own types all can.
                    if let Ok(value) = toml::Value::try_from(default) {
                        self.add(section, field.name, value, None);
                    }
                }
                FieldKind::Leaf { .. } => {}
            }
        }
    }

    fn add_table(&mut self, table: &BTreeMap<String, Node>, section: &[String]) {
        for (name, node) in table {
            let literal = match &node.value {
                Value::Text(text) if text.read_as_literal.get() => text.literal(&node.origin),
                _ => None,
            };
            let node = literal.as_ref().unwrap_or(node);
            match &node.value {
                Value::Table(table) => self.add_table(table, &[section, from_ref(name)].concat()),
                _ => self.add(section, name, plain(node), Some(node.origin.clone())),
            }
        }
    }

    fn add(&mut self, section: &[String], name: &str, value: toml::Value, origin: Option<String>) {
        if value.as_table().is_some_and(toml::Table::is_empty) {
            return;
        }
        self.0.insert((section.to_vec(), name.to_owned()), Setting { value, origin });
    }
}

fn plain(node: &Node) -> toml::Value {
    match &node.value {
        Value::Table(table) => {
            toml::Value::Table(table.iter().map(|(name, node)| (name.clone(), plain(node))).collect())
        }
        Value::Array(items) => toml::Value::Array(items.iter().map(plain).collect()),
        Value::Literal(literal) => literal.clone(),
        Value::Text(text) => text.text.clone().into(),
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut current: &[String] = &[];
        for (index, ((section, name), setting)) in self.0.iter().enumerate() {
            if section != current {
                let path: Vec<_> = section.iter().map(|name| quoted(name)).collect();
                writeln!(f, "{}[{}]", if index == 0 { "" } else { "\n" }, path.join("."))?;
                current = section;
            }
            write!(f, "{} = {}", quoted(name), masked(name, &setting.value))?;
            match &setting.origin {
                Some(origin) => writeln!(f, "  # {origin}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("origin", &self.origin).finish_non_exhaustive()
    }
}

fn quoted(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        toml::Value::from(name).to_string()
    }
}
