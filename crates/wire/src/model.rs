//! The models that answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A model that conversations, and single messages, may choose by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// What it is called here, whoever serves it.
    #[schemars(example = &"large")]
    pub name: String,
    /// Whether it answers where none is chosen. One of them does.
    pub default: bool,
    /// How much it reads and writes in one call, in tokens; null where it is not configured. Of a longer conversation the oldest
    /// messages are left out.
    #[schemars(example = 128_000)]
    pub context_tokens: Option<u32>,
    /// What a million tokens of a prompt cost; null without prices. The currency is the operator's.
    #[schemars(example = 2.5)]
    pub prompt_price: Option<f64>,
    /// What a million tokens of an answer cost.
    #[schemars(example = 10.0)]
    pub completion_price: Option<f64>,
}
