//! What a credential lets its holder do with the holder's own things.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A right of an API key. A session has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To look at everything of one's own.
    Read,
    /// To hold conversations: start and change them, send messages, fill in prompts.
    Chat,
    /// To make, change and delete projects, prompts, conversations and API keys.
    Admin,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 3] = [Self::Read, Self::Chat, Self::Admin];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Chat => "chat",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}
