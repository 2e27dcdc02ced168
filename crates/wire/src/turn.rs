//! Turns: one message of the user and its one outcome.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    Call, ConversationId, Image, ListPage, MessageId, Problem, PromptId, Settings, TurnId,
    check::{Checks, Request},
    conversation::check_model,
    image::check_images,
    limits,
    page::check_page,
    project::present,
    schema::{NAME, STORABLE, Time},
};

/// Sends a message, and asks for the model's answer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// The text, at most 32 KiB; kept byte for byte.
    #[schemars(
        length(min = 1, max = limits::MESSAGE_BYTES_MAX),
        regex(pattern = NAME),
        example = &"Good morning!",
    )]
    pub content: String,
    /// Images beside it: at most 8, with at most 64 KiB together. The model's provider fetches what is an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::IMAGES_MAX))]
    pub images: Option<Vec<Image>>,
    /// Another model than the conversation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::MODEL_BYTES_MAX), regex(pattern = NAME))]
    pub model: Option<String>,
    /// How the model is called, over the conversation's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// What the message follows, to begin a branch: the id of an answer (or of its turn), or of a question, which stands for
    /// its turn; null to begin the conversation anew. Absent: the end of the active path.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Option<MessageId>>,
    /// Whether the steps of the turn are told while they happen, as server-sent events, in place of the answer at its end. Over
    /// NATS the header `Oc-Stream` asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
}

/// Asks for another answer to the question of a turn.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegenerateTurn {
    /// Another model than the conversation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::MODEL_BYTES_MAX), regex(pattern = NAME))]
    pub model: Option<String>,
    /// How the model is called, over the conversation's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// Whether the steps of the turn are told while they happen, as with a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
}

/// Which messages to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListMessages {
    /// `all` for every branch; absent: the active path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Branch>,
    /// The most messages wanted, 1 to 1,000; absent: 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ENTRIES_MAX))]
    pub limit: Option<u32>,
    /// Where the page before ended; absent: the page of the newest messages. The next page is that of the older ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl ListMessages {
    /// The part of the list.
    pub fn page(&self) -> ListPage {
        ListPage { limit: self.limit, cursor: self.cursor.clone() }
    }
}

/// Which part of the message tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Branch {
    /// The path from the newest leaf to the root.
    Active,
    /// The whole tree.
    All,
}

/// Which turn to find by the key it was sent with.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindTurn {
    /// The `Idempotency-Key` of the send.
    #[schemars(length(max = limits::IDEMPOTENCY_KEY_BYTES_MAX), regex(pattern = STORABLE))]
    pub idempotency_key: String,
}

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Its id; an assistant's message has the id of its turn.
    pub id: MessageId,
    /// The conversation it belongs to.
    pub conversation_id: ConversationId,
    /// What it follows: for an answer the user's message; for a user's message the answer before it.
    pub parent_id: Option<MessageId>,
    /// The turn that brought it.
    pub turn_id: TurnId,
    /// 2 × turn for the user, 2 × turn + 1 for the answer: orders a conversation without branches.
    #[schemars(example = 0)]
    pub seq: i64,
    /// Who wrote it.
    pub role: Role,
    /// The text.
    #[schemars(example = &"Good morning!")]
    pub content: String,
    /// The images beside it, in their order; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// When it was stored.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub created_at: OffsetDateTime,
}

/// Tokens of a call, as the provider counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Tokens sent to the model.
    #[schemars(example = 9)]
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    #[schemars(example = 3)]
    pub completion_tokens: u32,
    /// Both together.
    #[schemars(example = 12)]
    pub total_tokens: u32,
}

/// The completed outcome of a turn: the reply to a send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// The assistant's message.
    pub message_id: MessageId,
    /// Its text.
    #[schemars(example = &"Good morning!")]
    pub response: String,
    /// When it was stored.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub created_at: OffsetDateTime,
    /// The turn.
    pub turn_id: TurnId,
    /// The assistant's message, whole.
    pub message: Message,
    /// What it took; null where the provider did not say.
    pub usage: Option<Usage>,
    /// `stop`, or `length` when the model was cut at its longest answer.
    #[schemars(example = &"stop")]
    pub finish_reason: String,
    /// Whether the model was cut at its longest answer.
    pub truncated: bool,
    /// Whether NUL characters of the answer were replaced by U+FFFD; all else is as the model said it.
    pub altered: bool,
    /// The model that answered.
    #[schemars(example = &"small")]
    pub model: String,
}

/// Where a turn stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnStatus {
    /// Accepted, and behind other turns of its conversation.
    Queued,
    /// Accepted, at the head of its conversation, and without an outcome yet.
    Running,
    /// The answer is stored.
    Completed,
    /// There will be no answer.
    Failed,
    /// Stopped on request.
    Cancelled,
}

impl TurnStatus {
    /// Whether the outcome is still to come.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// What a turn was asked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnKind {
    /// A message at the end of the active path.
    Send,
    /// A message somewhere else in the conversation.
    Edit,
    /// A wish for another answer.
    Regenerate,
}

impl TurnKind {
    /// The name of the kind, as it is stored and sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Edit => "edit",
            Self::Regenerate => "regenerate",
        }
    }
}

/// A turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// Its id.
    pub id: TurnId,
    /// The conversation it belongs to.
    pub conversation_id: ConversationId,
    /// What it was asked for by.
    pub kind: TurnKind,
    /// Where it stands.
    pub status: TurnStatus,
    /// Open turns of this conversation before it; null unless it is queued.
    pub queue_position: Option<u32>,
    /// How long it is likely to wait for them, in milliseconds: for each the median of what the last eight answers of this
    /// conversation took, less what the first has taken already. Null unless it is queued, and where there is no answer yet.
    pub wait_ms: Option<u64>,
    /// Calls to a provider so far, at most 3; 1 from the start.
    #[schemars(example = 1)]
    pub attempt: i16,
    /// Counts the conversation's turns from 0.
    #[schemars(example = 0)]
    pub seq: i64,
    /// The key it was sent with.
    pub idempotency_key: Option<String>,
    /// The model asked for.
    #[schemars(example = &"small")]
    pub model: String,
    /// The prompt that the conversation was told to open with when the turn was accepted.
    pub prompt_id: Option<PromptId>,
    /// Its version; null where there is no prompt, or it was gone.
    pub prompt_version: Option<i32>,
    /// When it was accepted.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub created_at: OffsetDateTime,
    /// When it had its outcome.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<Time>")]
    pub finished_at: Option<OffsetDateTime>,
    /// What it took.
    pub usage: Option<Usage>,
    /// `stop`, or `length` when the model was cut at its longest answer; null without an answer.
    #[schemars(example = &"stop")]
    pub finish_reason: Option<String>,
    /// Whether NUL characters of the answer were replaced by U+FFFD; null without an answer.
    pub altered: Option<bool>,
    /// The model that answered; null without an answer.
    #[schemars(example = &"small")]
    pub answered_by: Option<String>,
    /// What all its calls cost together, in millionths of the currency of the prices; null where one of them is not known.
    #[schemars(example = 21)]
    pub cost_micros: Option<u64>,
    /// Its calls to providers that have ended, in order.
    pub calls: Vec<Call>,
    /// Why it failed.
    pub fault: Option<Problem>,
    /// What the model had said when the turn was cancelled; it is no message.
    pub partial: Option<String>,
    /// Its messages: the user's, then the answer when there is one.
    pub messages: Vec<Message>,
}

impl Request for SendMessage {
    fn check(&self, checks: &mut Checks) {
        if is_blank(&self.content) {
            checks.error("content", "empty_message", "must not be empty");
        }
        if self.content.len() > limits::MESSAGE_BYTES_MAX {
            let most = limits::MESSAGE_BYTES_MAX;
            checks.error("content", "message_too_long", format!("must have at most {most} bytes"));
        }
        checks.storable("content", &self.content);
        check_images(checks, self.images.as_deref().unwrap_or_default());
        check_model(checks, self.model.as_deref());
        if let Some(settings) = &self.settings {
            settings.check(checks);
        }
    }
}

impl Request for RegenerateTurn {
    fn check(&self, checks: &mut Checks) {
        check_model(checks, self.model.as_deref());
        if let Some(settings) = &self.settings {
            settings.check(checks);
        }
    }
}

impl Request for ListMessages {
    fn check(&self, checks: &mut Checks) {
        check_page(checks, self.limit);
    }
}

impl Request for FindTurn {
    fn check(&self, checks: &mut Checks) {
        checks.bytes_at_most("idempotency_key", &self.idempotency_key, limits::IDEMPOTENCY_KEY_BYTES_MAX);
    }
}

/// Nothing that a reader could see: white space and the invisible format characters people paste by accident.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoding;

    fn send(content: &str) -> Result<SendMessage, crate::Fault> {
        let body = serde_json::json!({ "content": content }).to_string();
        Encoding::Json.decode(body.as_bytes())
    }

    #[test]
    fn a_message_is_bounded_in_bytes_and_never_blank() {
        assert!(send(&"é".repeat(limits::MESSAGE_BYTES_MAX / 2)).is_ok());
        let code = |content: &str| send(content).unwrap_err().errors[0].code.to_string();
        assert_eq!(code(&"x".repeat(limits::MESSAGE_BYTES_MAX + 1)), "message_too_long");
        for blank in ["", " \n\t", "\u{200b}\u{feff}"] {
            assert_eq!(code(blank), "empty_message");
        }
        assert_eq!(code("a\0b"), "invalid_character");
    }

    #[test]
    fn hostile_text_is_kept_byte_for_byte() {
        for text in
            ["\u{202e}txt", "\u{1b}[31m", "<script>", "'; drop table users; --", "{{7*7}}", "e\u{301}\u{301}"]
        {
            assert_eq!(send(text).unwrap().content, text);
        }
    }
}
