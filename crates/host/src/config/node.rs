use std::{cell::Cell, collections::BTreeMap};

use toml::{Spanned, de::DeValue};

use super::ConfigError;

/// A value of the merged configuration, with the place it was written.
pub(super) struct Node {
    /// `omnichat.toml:12`, the variable's name or the flag.
    pub origin: String,
    pub value: Value,
}

pub(super) enum Value {
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    Literal(toml::Value),
    Text(Text),
}

/// A value from outside the file: it gets its type from whoever reads it.
pub(super) struct Text {
    pub text: String,
    /// It was read as a TOML literal (`16`, `true`, `["a"]`) and not as a string.
    pub read_as_literal: Cell<bool>,
}

impl Node {
    pub fn empty() -> Self {
        Self { origin: String::new(), value: Value::Table(BTreeMap::new()) }
    }

    pub fn text(origin: &str, text: &str) -> Self {
        let text = Text { text: text.to_owned(), read_as_literal: Cell::new(false) };
        Self { origin: origin.to_owned(), value: Value::Text(text) }
    }

    /// A parsed TOML value; `origin` turns an offset in the source into a place.
    ///
    /// # Errors
    /// A number that no `i64` or `f64` can hold.
    pub fn parsed(
        value: Spanned<DeValue<'_>>,
        origin: &dyn Fn(usize) -> String,
    ) -> Result<Self, ConfigError> {
        let origin_here = origin(value.span().start);
        let unfit = || ConfigError::new("", "must be a number of 64 bits").at(&origin_here);
        let value = match value.into_inner() {
            DeValue::Table(table) => {
                let mut entries = BTreeMap::new();
                for (key, value) in table {
                    let key = key.into_inner().into_owned();
                    let node = Self::parsed(value, origin).map_err(|error| error.under(&key))?;
                    entries.insert(key, node);
                }
                Value::Table(entries)
            }
            DeValue::Array(items) => Value::Array(
                items.into_iter().map(|item| Self::parsed(item, origin)).collect::<Result<_, _>>()?,
            ),
            DeValue::String(text) => Value::Literal(text.into_owned().into()),
            DeValue::Boolean(flag) => Value::Literal(flag.into()),
            DeValue::Datetime(time) => Value::Literal(time.into()),
            DeValue::Float(number) => {
                Value::Literal(number.as_str().parse::<f64>().map_err(|_| unfit())?.into())
            }
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| unfit())?;
                Value::Literal(number.into())
            }
        };
        Ok(Self { origin: origin_here, value })
    }

    /// Sets the value at `path`, making the tables on the way.
    ///
    /// # Errors
    /// Something on the way is a plain value.
    pub fn set<'a>(
        &mut self,
        mut path: impl Iterator<Item = &'a str>,
        value: Self,
    ) -> Result<(), ConfigError> {
        let Some(name) = path.next() else {
            *self = value;
            return Ok(());
        };
        let Value::Table(table) = &mut self.value else {
            return Err(ConfigError::new("", "holds a plain value and no further keys").at(&value.origin));
        };
        let name = table.keys().find(|key| same_name(key, name)).cloned().unwrap_or_else(|| name.to_owned());
        let new = || Self { origin: value.origin.clone(), ..Self::empty() };
        table.entry(name.clone()).or_insert_with(new).set(path, value).map_err(|error| error.under(&name))
    }
}

impl Text {
    /// The text as a TOML literal, if it is one.
    pub fn literal(&self, origin: &str) -> Option<Node> {
        let parsed = DeValue::parse(&self.text).ok()?;
        let node = Node::parsed(parsed, &|_| origin.to_owned()).ok()?;
        self.read_as_literal.set(true);
        Some(node)
    }
}

/// Variables are upper case and hold no hyphen or dot, so `MY_LLAMA` means the file's `My-Llama`.
fn same_name(key: &str, name: &str) -> bool {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    key.chars().map(plain).eq(name.chars().map(plain))
}
