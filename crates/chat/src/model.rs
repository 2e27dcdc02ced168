//! Turns and their outcomes, as they are stored.

use std::sync::Arc;

use llm::Report;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;
use wire::{
    Answer, CallStatus, ConversationId, Fault, FaultCode, Message, MessageId, Problem, PromptId, Role,
    SendMessage, Settings, TurnEvent, TurnId, TurnKind, Usage, UserId,
    check::{Checks, Request},
};

use crate::question::Question;

/// The right to write the turns of a partition: good as long as Postgres knows no later epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ownership {
    /// Which partition.
    pub partition: i16,
    /// Counts the owners of the partition.
    pub epoch: i64,
}

/// What the queue holds of a turn: a send as it came, or with what the front has looked up. The front has checked it.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct TurnRequest {
    /// The text of a send.
    #[serde(default)]
    pub content: Option<String>,
    /// The images beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<wire::Image>>,
    /// Another model than the conversation's.
    #[serde(default)]
    pub model: Option<String>,
    /// Settings over the conversation's.
    #[serde(default)]
    pub settings: Option<Settings>,
    /// The message that a send is to follow; null for none. Absent: the end of the active path.
    #[serde(default, deserialize_with = "wire::project::present", skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Option<MessageId>>,
    /// The turn of that message.
    #[serde(default)]
    pub follows: Option<TurnId>,
    /// The turn whose question is to be answered again.
    #[serde(default)]
    pub regenerates: Option<TurnId>,
}

impl Request for TurnRequest {
    fn check(&self, _: &mut Checks) {}
}

impl TurnRequest {
    /// What was asked for.
    pub const fn kind(&self) -> TurnKind {
        match (self.regenerates, self.parent_id) {
            (Some(_), _) => TurnKind::Regenerate,
            (None, Some(_)) => TurnKind::Edit,
            (None, None) => TurnKind::Send,
        }
    }
}

impl From<SendMessage> for TurnRequest {
    fn from(send: SendMessage) -> Self {
        Self {
            content: Some(send.content),
            images: send.images,
            model: send.model,
            settings: send.settings,
            parent_id: send.parent_id,
            ..Self::default()
        }
    }
}

/// A turn to be accepted.
#[derive(Debug, Clone)]
pub struct NewTurn {
    /// Its id.
    pub id: TurnId,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// Whose it is.
    pub user: UserId,
    /// By what right it is written.
    pub ownership: Ownership,
    /// Counts the conversation's turns from 0.
    pub seq: i64,
    /// Sends with the same key are the same turn.
    pub idempotency_key: Option<String>,
    /// Of the canonical body: sends with the same key have the same.
    pub body_hash: BodyHash,
    /// What it was asked for by.
    pub kind: TurnKind,
    /// The id of the user's message: a new one, or the one that is answered again.
    pub user_message: MessageId,
    /// The turn that the message follows.
    pub parent: Option<TurnId>,
    /// What is asked.
    pub content: Question,
    /// Another model than the conversation's.
    pub model: Option<String>,
    /// Settings over the conversation's.
    pub settings: Settings,
    /// When it is accepted.
    pub created_at: OffsetDateTime,
}

/// What Postgres made of a turn when it accepted it.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The model to call.
    pub model: String,
    /// How to call it.
    pub settings: Settings,
    /// The prompt that goes first.
    pub opening: Option<Opening>,
}

/// The prompt that opens a turn, as the conversation was told when the turn was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// The prompt.
    pub prompt: PromptId,
    /// Its version; absent: the prompt, or what it was to be followed by, was gone already.
    pub version: Option<i32>,
    /// Values for its variables.
    pub variables: Map<String, Value>,
}

impl Opening {
    /// From what is stored; there is none without a prompt.
    pub(crate) fn of(prompt: Option<Uuid>, version: Option<i32>, variables: Option<Value>) -> Option<Self> {
        let variables = match variables {
            Some(Value::Object(variables)) => variables,
            _ => Map::new(),
        };
        prompt.map(|prompt| Self { prompt: prompt.into(), version, variables })
    }
}

/// SHA-256 of a send's canonical body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyHash(pub [u8; 32]);

impl BodyHash {
    /// The same for the same request, whatever its encoding and the order of its fields.
    pub fn of(request: &TurnRequest) -> Self {
        let mut hash = Sha256::new();
        hash.update(request.content.as_deref().unwrap_or_default().as_bytes());
        // 0xff occurs in no UTF-8 text, so no content can imitate what follows.
        hash.update([0xff]);
        let images = request.images.as_ref().filter(|images| !images.is_empty());
        let branch = request.parent_id.is_some() || request.regenerates.is_some();
        if branch || images.is_some() || request.model.is_some() || request.settings.is_some() {
            let mut rest = vec![serde_json::json!(request.model), serde_json::json!(request.settings)];
            if branch {
                rest.push(serde_json::json!([request.parent_id, request.regenerates]));
            }
            if let Some(images) = images {
                rest.push(serde_json::json!({ "images": images }));
            }
            hash.update(Value::from(rest).to_string().as_bytes());
        }
        Self(hash.finalize().into())
    }
}

/// A turn's outcome, to be stored.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The turn.
    pub turn: TurnId,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// By what right it is written.
    pub ownership: Ownership,
    /// The turn's place in the conversation.
    pub seq: i64,
    /// The message that is answered.
    pub user_message: MessageId,
    /// Calls to providers that were, or may have been, made for it; the last one gave the answer, if there is one.
    pub attempts: i16,
    /// How it ended.
    pub ending: Ending,
    /// When.
    pub finished_at: OffsetDateTime,
}

/// How a turn ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// With an answer.
    Completed(Completion),
    /// Without one.
    Failed(Fault),
    /// Without one, after the last attempt; for the reason of the last failure that is known.
    GivenUp(String),
    /// On request, with what the model had said until then.
    Cancelled(Option<Arc<str>>),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The text.
    pub text: Arc<str>,
    /// `stop` or `length`.
    pub finish_reason: &'static str,
    /// The call that gave it.
    pub report: Report,
}

impl Completion {
    /// What it took, as the provider counted.
    pub fn usage(&self) -> Option<Usage> {
        self.report.usage.filter(|_| !self.report.estimated).map(usage)
    }
}

/// Tokens as the contract counts them.
fn usage(usage: llm::Usage) -> Usage {
    let llm::Usage { prompt_tokens, completion_tokens } = usage;
    Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens.saturating_add(completion_tokens) }
}

/// Names a call at the provider.
pub fn call_id(turn: TurnId, attempt: i16) -> String {
    format!("{turn}:{attempt}")
}

/// A call to a provider of which no outcome tells, or not all.
#[derive(Debug)]
pub struct CallMade {
    /// For which turn.
    pub turn: TurnId,
    /// Counts from 1.
    pub attempt: i16,
    /// How it ended.
    pub status: CallStatus,
    /// Why it failed.
    pub fault: Option<FaultCode>,
    /// What it was, and took.
    pub report: Report,
}

impl Outcome {
    /// The place of the answer among the conversation's messages.
    pub const fn answer_seq(&self) -> i64 {
        2 * self.seq + 1
    }

    /// The reply to whoever waits.
    pub fn reply(&self) -> Result<Answer, Fault> {
        match &self.ending {
            Ending::Failed(fault) => Err(fault.clone().of_turn(self.turn)),
            Ending::GivenUp(_) => Err(Fault::new(FaultCode::AttemptsExhausted).of_turn(self.turn)),
            Ending::Cancelled(_) => Err(Fault::new(FaultCode::TurnCancelled).of_turn(self.turn)),
            Ending::Completed(completion) => Ok(answer(AnswerParts {
                turn: self.turn,
                conversation: self.conversation,
                user_message: self.user_message,
                answer_seq: self.answer_seq(),
                text: completion.text.to_string(),
                finished_at: self.finished_at,
                usage: completion.usage(),
                finish_reason: completion.finish_reason.to_owned(),
                altered: completion.report.altered,
                model: completion.report.model.clone(),
            })),
        }
    }
}

/// The last step of a turn, as its outcome makes it.
pub fn last_step(turn: TurnId, result: &Result<Answer, Fault>) -> TurnEvent {
    match result {
        Ok(answer) => TurnEvent::Completed(Box::new(answer.clone())),
        Err(fault) if fault.code == FaultCode::TurnCancelled => TurnEvent::Cancelled { turn_id: turn },
        Err(fault) => TurnEvent::Failed(Box::new(Problem::of(fault, None))),
    }
}

/// What a reply is made of, fresh from the model or from the database.
pub struct AnswerParts {
    /// The turn.
    pub turn: TurnId,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// The message that is answered.
    pub user_message: MessageId,
    /// The answer's place among the messages.
    pub answer_seq: i64,
    /// The text.
    pub text: String,
    /// When it was stored.
    pub finished_at: OffsetDateTime,
    /// What it took.
    pub usage: Option<Usage>,
    /// `stop` or `length`.
    pub finish_reason: String,
    /// Whether NUL characters were replaced.
    pub altered: bool,
    /// The model that answered.
    pub model: String,
}

/// The reply of a completed turn.
pub fn answer(parts: AnswerParts) -> Answer {
    let message_id = MessageId::answer_to(parts.turn);
    Answer {
        message_id,
        response: parts.text.clone(),
        created_at: parts.finished_at,
        turn_id: parts.turn,
        message: Message {
            id: message_id,
            conversation_id: parts.conversation,
            parent_id: Some(parts.user_message),
            turn_id: parts.turn,
            seq: parts.answer_seq,
            role: Role::Assistant,
            content: parts.text,
            images: Vec::new(),
            created_at: parts.finished_at,
        },
        usage: parts.usage,
        truncated: parts.finish_reason == "length",
        altered: parts.altered,
        finish_reason: parts.finish_reason,
        model: parts.model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(content: &str, model: Option<&str>) -> TurnRequest {
        TurnRequest { content: Some(content.into()), model: model.map(Into::into), ..TurnRequest::default() }
    }

    fn showing(urls: &[&str]) -> TurnRequest {
        let images = urls.iter().map(|url| wire::Image { url: (*url).to_owned(), detail: None });
        TurnRequest { images: Some(images.collect()), ..send("hi", None) }
    }

    /// Keys that are in use keep their meaning.
    #[test]
    fn what_shows_no_image_has_the_hash_that_it_always_had() {
        let hex = |request: &TurnRequest| -> String {
            BodyHash::of(request).0.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
        };
        assert_eq!(hex(&send("hi", None)), "a761bc4c67a1ca68");
        assert_eq!(hex(&showing(&[])), "a761bc4c67a1ca68");
        assert_eq!(hex(&send("hi", Some("m"))), "444728165ea1b566");
    }

    #[test]
    fn only_the_same_request_has_the_same_hash() {
        let turn = TurnId::new();
        let requests = [
            send("hi", None),
            send("hi ", None),
            send("hi", Some("m")),
            send("hi", Some("n")),
            TurnRequest { parent_id: Some(None), ..send("hi", None) },
            TurnRequest { parent_id: Some(Some(MessageId::answer_to(turn))), ..send("hi", None) },
            TurnRequest { regenerates: Some(turn), ..TurnRequest::default() },
            TurnRequest { regenerates: Some(TurnId::new()), ..TurnRequest::default() },
            showing(&["https://example.org/a"]),
            showing(&["https://example.org/b"]),
            showing(&["https://example.org/a", "https://example.org/b"]),
            TurnRequest { parent_id: Some(None), ..showing(&["https://example.org/a"]) },
        ];
        for (place, one) in requests.iter().enumerate() {
            for (other_place, other) in requests.iter().enumerate() {
                let same = BodyHash::of(one) == BodyHash::of(other);
                assert_eq!(same, place == other_place, "{one:?} {other:?}");
            }
        }
        let looked_up = TurnRequest { follows: Some(turn), ..requests[5].clone() };
        assert_eq!(
            BodyHash::of(&looked_up),
            BodyHash::of(&requests[5]),
            "what we found out is not asked for"
        );
    }

    #[test]
    fn a_send_is_read_as_it_came() {
        let read = |body: &str| wire::Encoding::Json.decode::<TurnRequest>(body.as_bytes()).unwrap();
        assert_eq!(read(r#"{"content":"hi","stream":false}"#).kind(), TurnKind::Send);
        assert_eq!(read(r#"{"content":"hi","parent_id":null}"#).kind(), TurnKind::Edit);
        let again = TurnRequest { regenerates: Some(TurnId::new()), ..TurnRequest::default() };
        let body = wire::Encoding::Json.encode(&again).unwrap();
        assert_eq!(read(&String::from_utf8(body).unwrap()).regenerates, again.regenerates);
    }
}
