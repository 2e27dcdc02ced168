//! Calls to providers, as the owner of a turn sees them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A call to a provider. Each turn has at least one, if it got so far, and at most three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// Counts from 1.
    #[schemars(example = 1)]
    pub attempt: i16,
    /// How it ended.
    pub status: CallStatus,
    /// The code of the fault it ended with, if it failed.
    pub fault: Option<String>,
    /// The provider that was asked; null where it is not known.
    #[schemars(example = &"openrouter")]
    pub provider: Option<String>,
    /// The model that was asked, as its provider calls it.
    #[schemars(example = &"openai/gpt-4o-mini")]
    pub model: Option<String>,
    /// Tokens the provider read; null where it is not known.
    #[schemars(example = 9)]
    pub prompt_tokens: Option<u32>,
    /// Tokens it generated.
    #[schemars(example = 3)]
    pub completion_tokens: Option<u32>,
    /// Whether the tokens, and so the cost, are an estimate: the provider has not told them, or not yet.
    pub estimated: bool,
    /// What it cost by the configured prices, in millionths of their currency; null without prices, and where tokens are
    /// missing.
    #[schemars(example = 21)]
    pub cost_micros: Option<u64>,
    /// Milliseconds before it was sent, in line for its turn at the provider.
    pub queue_ms: Option<u64>,
    /// Milliseconds from then until there was a connection; null where one was open already, or never came.
    pub connect_ms: Option<u64>,
    /// Milliseconds from then until the provider began to respond, the connection included.
    #[schemars(example = 180)]
    pub response_ms: Option<u64>,
    /// Milliseconds from then until the first text.
    #[schemars(example = 420)]
    pub first_token_ms: Option<u64>,
    /// Milliseconds from then until its end.
    #[schemars(example = 1830)]
    pub total_ms: Option<u64>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// With an answer.
    Completed,
    /// Without one.
    Failed,
    /// It was stopped: the turn was cancelled, or handed over.
    Stopped,
    /// Whoever made it ended first.
    Unknown,
}

impl CallStatus {
    /// The name of the status, as it is stored and sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }
}
