//! A serde deserializer over [`Node`]: a variable takes the type its reader wants, a struct's keys are all known, and
//! every error names its key and its origin.

use std::{
    collections::{BTreeMap, btree_map},
    iter::Enumerate,
    slice,
};

use serde::{
    Deserialize,
    de::{
        DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{
    ConfigError,
    node::{Node, Value},
};

/// Reads a `T` from the tree.
///
/// # Errors
/// The first key that is unknown, missing from its table, of the wrong type or refused by its owner's validation.
pub(super) fn read<'de, T: Deserialize<'de>>(tree: &Node) -> Result<T, ConfigError> {
    T::deserialize(tree)
}

impl Node {
    fn blame(&self, error: ConfigError) -> ConfigError {
        let error = if self.origin.is_empty() { error } else { error.at(&self.origin) };
        match &self.value {
            Value::Text(text) => error.without(&text.text),
            Value::Literal(toml::Value::String(text)) => error.without(text),
            _ => error,
        }
    }
}

impl<'de> Deserializer<'de> for &Node {
    type Error = ConfigError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match &self.value {
            Value::Table(table) => visitor.visit_map(Entries::new(table)),
            Value::Array(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Value::Literal(literal) => visit(literal, visitor),
            Value::Text(text) => match text.literal(&self.origin) {
                Some(literal) => literal.deserialize_any(visitor),
                None => visitor.visit_str(&text.text),
            },
        }
        .map_err(|error| self.blame(error))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match &self.value {
            Value::Text(text) => visitor.visit_str(&text.text).map_err(|error| self.blame(error)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        visitor.visit_newtype_struct(self).map_err(|error| self.blame(error))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        match &self.value {
            Value::Text(text) => visitor.visit_enum(variant(&text.text)),
            Value::Literal(toml::Value::String(text)) => visitor.visit_enum(variant(text)),
            Value::Table(table) => visitor.visit_enum(MapAccessDeserializer::new(Entries::new(table))),
            _ => Err(ConfigError::new("", "must be a string")),
        }
        .map_err(|error| self.blame(error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        match &self.value {
            Value::Table(table) => known(table, fields)
                .and_then(|()| visitor.visit_map(Entries::new(table)))
                .map_err(|error| self.blame(error)),
            Value::Text(text) => match text.literal(&self.origin) {
                Some(literal) => literal.deserialize_struct(name, fields, visitor),
                None => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct
        map identifier ignored_any
    }
}

fn variant(name: &str) -> StrDeserializer<'_, ConfigError> {
    name.into_deserializer()
}

fn visit<'de, V: Visitor<'de>>(literal: &toml::Value, visitor: V) -> Result<V::Value, ConfigError> {
    match literal {
        toml::Value::String(text) => visitor.visit_str(text),
        toml::Value::Integer(number) => visitor.visit_i64(*number),
        toml::Value::Float(number) => visitor.visit_f64(*number),
        toml::Value::Boolean(flag) => visitor.visit_bool(*flag),
        other => visitor.visit_string(other.to_string()),
    }
}

fn known(table: &BTreeMap<String, Node>, fields: &[&str]) -> Result<(), ConfigError> {
    let Some((key, node)) = table.iter().find(|(key, _)| !fields.contains(&key.as_str())) else {
        return Ok(());
    };
    let error = ConfigError::new(key, "is not a known key").at(&node.origin);
    let nearest =
        fields.iter().max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
    Err(match nearest {
        Some(nearest) if strsim::jaro_winkler(nearest, key) > 0.7 => {
            error.advice(format!("did you mean {nearest}?"))
        }
        _ => error.advice(format!("known here: {}", fields.join(", "))),
    })
}

struct Entries<'a> {
    entries: btree_map::Iter<'a, String, Node>,
    pending: Option<(&'a String, &'a Node)>,
}

impl<'a> Entries<'a> {
    fn new(table: &'a BTreeMap<String, Node>) -> Self {
        Self { entries: table.iter(), pending: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ConfigError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ConfigError> {
        self.pending = self.entries.next();
        let Some((key, node)) = self.pending else { return Ok(None) };
        seed.deserialize(variant(key)).map(Some).map_err(|error| node.blame(error.under(key)))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ConfigError> {
        let (key, node) =
            self.pending.take().ok_or_else(|| ConfigError::new("", "a value was read before its key"))?;
        seed.deserialize(node).map_err(|error| node.blame(error).under(key))
    }
}

struct Items<'a>(Enumerate<slice::Iter<'a, Node>>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ConfigError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ConfigError> {
        let Some((index, node)) = self.0.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|error| error.under(&format!("[{index}]")))
    }
}
