//! Ids: UUIDv7 made in Rust, one type per kind, so that no two can be mixed up. They print as plain UUIDs.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::FaultCode;

/// What every id of a stored thing can do.
pub trait Id: FromStr + fmt::Display + Copy {
    /// The name of its token in a subject pattern: `{project}`.
    const TOKEN: &'static str;
    /// What to answer when there is no such thing, or it belongs to somebody else.
    const MISSING: FaultCode;
}

/// The text is not a UUID in its plain form of 36 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID")]
pub struct NotAnId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $token:literal, $missing:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id; later ids sort after earlier ones (to the millisecond).
            #[expect(clippy::new_without_default, reason = "an id out of nowhere is never a default")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The bare value, for storage.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl Id for $name {
            const TOKEN: &'static str = $token;
            const MISSING: FaultCode = FaultCode::$missing;
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            /// Takes the hyphenated form only, in either case.
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                if text.len() != 36 {
                    return Err(NotAnId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| NotAnId)
            }
        }
    )+};
}

ids! {
    /// An API key.
    ApiKeyId = "api_key", ApiKeyNotFound;
    /// A conversation.
    ConversationId = "conversation", ConversationNotFound;
    /// A message. An assistant's message has the id of its turn.
    MessageId = "message", MessageNotFound;
    /// A project.
    ProjectId = "project", ProjectNotFound;
    /// A prompt, whatever its version.
    PromptId = "prompt", PromptNotFound;
    /// A turn: one message of the user and its one outcome.
    TurnId = "turn", TurnNotFound;
    /// A user.
    UserId = "user", InvalidToken;
}

impl MessageId {
    /// The id of the answer to `turn`, known before the answer exists.
    pub const fn answer_to(turn: TurnId) -> Self {
        Self(turn.uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_in_either_case_and_in_no_other_form() {
        let id = ProjectId::new();
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        for bad in [
            format!("{{{text}}}"),
            text.replace('-', ""),
            format!("urn:uuid:{text}"),
            "x".repeat(36),
            String::new(),
        ] {
            assert_eq!(bad.parse::<ProjectId>(), Err(NotAnId), "{bad}");
        }
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let ids: Vec<_> = (0..1000).map(|_| TurnId::new()).collect();
        assert!(ids.is_sorted());
    }
}
