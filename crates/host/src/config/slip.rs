use confique::meta::{FieldKind, Meta};

use super::{ConfigError, Environment};

/// Refuses a variable that sets nothing and looks as if it did: one underscore where two belong.
///
/// An orchestrator makes names like `OMNICHAT_SERVICE_HOST` of its own accord, so only what is a key, or has a double
/// underscore further on, is a slip.
///
/// # Errors
/// The first slip, with the name that was meant.
pub(super) fn refuse(prefix: &str, environment: &Environment, meta: &Meta) -> Result<(), ConfigError> {
    let mut keys = Vec::new();
    collect(meta, "", &mut keys);
    for (name, value) in environment.iter().filter(|(_, value)| !value.is_empty()) {
        let Some(rest) = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')) else { continue };
        let key = keys.iter().find(|key| key.replace("__", "_").eq_ignore_ascii_case(rest));
        let meant = match key {
            _ if rest.starts_with('_') => None,
            Some(key) => Some(key.to_uppercase()),
            None => rest.contains("__").then(|| rest.to_owned()),
        };
        if let Some(meant) = meant {
            let error = ConfigError::new("", "is not a known variable").at(name).without(value);
            return Err(error.advice(format!("did you mean {prefix}__{meant}?")));
        }
    }
    Ok(())
}

/// Every key, as in a variable: `postgres__url`.
fn collect(meta: &Meta, section: &str, keys: &mut Vec<String>) {
    for field in meta.fields {
        let key = format!("{section}{}", field.name);
        match field.kind {
            FieldKind::Nested { meta } => collect(meta, &format!("{key}__"), keys),
            FieldKind::Leaf { .. } => keys.push(key),
        }
    }
}
