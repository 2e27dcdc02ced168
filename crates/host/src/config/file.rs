use std::{fs, path::Path};

use toml::de::{DeTable, DeValue};

use super::{ConfigError, node::Node};

/// Reads a TOML file into a tree whose nodes know their line.
///
/// # Errors
/// The file cannot be read, or is not TOML.
pub(super) fn read(path: &Path) -> Result<Node, ConfigError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        ConfigError::new("", format!("cannot be read: {error}"))
            .at(&name)
            .advice("check the path and its permissions")
    })?;
    let place = |offset: usize| format!("{name}:{}", line_of(&text, offset));
    let table = DeTable::parse(&text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        ConfigError::new("", format!("is not TOML: {}", error.message())).at(&place(offset))
    })?;
    let root = toml::Spanned::new(table.span(), DeValue::Table(table.into_inner()));
    Node::parsed(root, &place)
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
