//! The models that answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A model that conversations, and single messages, may choose by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// What it is called here, whoever serves it.
    #[schemars(example = &"large")]
    pub name: String,
    /// Whether it answers where none is chosen. One of them does.
    pub default: bool,
}
