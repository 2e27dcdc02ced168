//! What a client says: a JSON object in a text message, read as strictly as a body over HTTP.

use bus::incoming::parse_key;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;
use wire::{
    ConversationId, Encoding, Fault, Id, Request, TurnId,
    check::Checks,
    limits::{CREDENTIAL_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX},
};

use crate::stream::Position;

/// What a client may call a request.
const REFERENCE_BYTES_MAX: usize = 64;

/// A message as it came.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    op: Op,
    #[serde(rename = "ref")]
    reference: Option<String>,
    token: Option<String>,
    conversation_id: Option<String>,
    turn_id: Option<String>,
    last_event_id: Option<String>,
    idempotency_key: Option<String>,
    /// Of a send, or of a wish for another answer. It passes unread: the service judges it.
    body: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Auth,
    Send,
    Regenerate,
    Watch,
    Unwatch,
    Cancel,
    Ping,
}

/// A message, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Who it is, or is still.
    Auth {
        token: String,
    },
    /// A turn is to be made.
    Make {
        of: Source,
        key: String,
        body: Bytes,
    },
    /// What happens is to be told, or no more.
    Watch {
        what: Watched,
        from: Position,
    },
    Unwatch {
        what: Watched,
    },
    /// The turn is to end.
    Cancel {
        turn: TurnId,
    },
    /// Nothing but an answer.
    Ping,
}

/// What a turn is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A message in this conversation.
    Message(ConversationId),
    /// The question of this turn.
    Turn(TurnId),
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    Turn(TurnId),
    /// Every turn that begins in it from now on.
    Conversation(ConversationId),
}

impl Op {
    const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Send => "send",
            Self::Regenerate => "regenerate",
            Self::Watch => "watch",
            Self::Unwatch => "unwatch",
            Self::Cancel => "cancel",
            Self::Ping => "ping",
        }
    }

    /// The fields that it must have, and those that it may have besides.
    const fn fields(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Auth => (&["token"], &[]),
            Self::Send => (&["conversation_id", "body"], &["idempotency_key"]),
            Self::Regenerate => (&["turn_id"], &["body", "idempotency_key"]),
            Self::Watch => (&[], &["turn_id", "conversation_id", "last_event_id"]),
            Self::Unwatch => (&[], &["turn_id", "conversation_id"]),
            Self::Cancel => (&["turn_id"], &[]),
            Self::Ping => (&[], &[]),
        }
    }
}

impl Request for Said {
    fn check(&self, checks: &mut Checks) {
        let given = [
            ("token", self.token.is_some()),
            ("conversation_id", self.conversation_id.is_some()),
            ("turn_id", self.turn_id.is_some()),
            ("last_event_id", self.last_event_id.is_some()),
            ("idempotency_key", self.idempotency_key.is_some()),
            ("body", self.body.is_some()),
        ];
        let ((must, may), op) = (self.op.fields(), self.op.name());
        for (field, given) in given {
            match given {
                false if must.contains(&field) => {
                    checks.error(field, "missing_field", format!("{op} needs it"))
                }
                true if !must.contains(&field) && !may.contains(&field) => {
                    checks.error(field, "unknown_field", format!("{op} has no such field"));
                }
                _ => {}
            }
        }
        let watches = matches!(self.op, Op::Watch | Op::Unwatch);
        if watches && self.turn_id.is_some() == self.conversation_id.is_some() {
            checks.error("turn_id", "invalid_value", "give either a turn_id or a conversation_id");
        }
        if self.last_event_id.is_some() && self.turn_id.is_none() {
            checks.error("last_event_id", "invalid_value", "only a turn has events");
        }
        let bounded = [
            ("ref", &self.reference, REFERENCE_BYTES_MAX),
            ("token", &self.token, CREDENTIAL_BYTES_MAX),
            ("idempotency_key", &self.idempotency_key, IDEMPOTENCY_KEY_BYTES_MAX),
        ];
        for (field, text, most) in bounded {
            checks.bytes_at_most(field, text.as_deref().unwrap_or_default(), most);
        }
    }
}

/// Reads a message: what the client calls it, its operation's name, and what is asked.
pub(super) fn read(text: &str) -> (Option<String>, &'static str, Result<Asked, Fault>) {
    match Encoding::Json.decode::<Said>(text.as_bytes()) {
        Ok(mut said) => (said.reference.take(), said.op.name(), said.understood()),
        Err(fault) => (reference(text), "unreadable", Err(fault)),
    }
}

/// What the client calls a message in which something else is wrong.
fn reference(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Called {
        #[serde(rename = "ref")]
        reference: String,
    }
    let called = serde_json::from_str::<Called>(text).ok()?.reference;
    (called.len() <= REFERENCE_BYTES_MAX).then_some(called)
}

impl Said {
    fn understood(self) -> Result<Asked, Fault> {
        // What must be there is: its absence would have been told before.
        let token = self.token.unwrap_or_default();
        let body =
            self.body.map_or_else(|| Bytes::from_static(b"{}"), |body| Bytes::from(body.get().to_owned()));
        let key = || match &self.idempotency_key {
            Some(key) => parse_key(key),
            None => Ok(Uuid::now_v7().to_string()),
        };
        let turn = || id::<TurnId>(self.turn_id.as_deref());
        let conversation = || id::<ConversationId>(self.conversation_id.as_deref());
        let watched = || match self.turn_id {
            Some(_) => turn().map(Watched::Turn),
            None => conversation().map(Watched::Conversation),
        };
        Ok(match self.op {
            Op::Auth => Asked::Auth { token },
            Op::Send => Asked::Make { of: Source::Message(conversation()?), key: key()?, body },
            Op::Regenerate => Asked::Make { of: Source::Turn(turn()?), key: key()?, body },
            Op::Watch => {
                let what = watched()?;
                let from = match (what, &self.last_event_id) {
                    (Watched::Turn(turn), Some(id)) => Position::parse_id(turn, id.as_bytes())?,
                    _ => Position::START,
                };
                Asked::Watch { what, from }
            }
            Op::Unwatch => Asked::Unwatch { what: watched()? },
            Op::Cancel => Asked::Cancel { turn: turn()? },
            Op::Ping => Asked::Ping,
        })
    }
}

/// What is no id names nothing, so it is answered like the id of what does not exist.
fn id<I: Id>(text: Option<&str>) -> Result<I, Fault> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| I::MISSING.into())
}

#[cfg(test)]
mod tests {
    use wire::FaultCode;

    use super::*;

    fn refused(text: &str) -> (FaultCode, String, String) {
        let fault = read(text).2.unwrap_err();
        let error = fault.errors.first();
        let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
        (fault.code, text(error.map(|error| error.field.as_str())), text(error.map(|error| &*error.code)))
    }

    #[test]
    fn what_is_asked_is_understood() {
        let (turn, conversation) = (TurnId::new(), ConversationId::new());
        let asked = |text: String| {
            let (reference, _, asked) = read(&text);
            assert_eq!(reference.as_deref(), Some("r"), "{text}");
            asked.unwrap()
        };
        let send = format!(
            r#"{{"op":"send","ref":"r","conversation_id":"{conversation}","idempotency_key":"k","body":{{ "content": "a", "content": 1e2 }}}}"#
        );
        let of = Source::Message(conversation);
        let body = Bytes::from_static(br#"{ "content": "a", "content": 1e2 }"#);
        assert_eq!(asked(send), Asked::Make { of, key: "k".into(), body }, "a body passes as it is");
        let again = format!(r#"{{"op":"regenerate","ref":"r","turn_id":"{turn}"}}"#);
        let Asked::Make { of, key, body } = asked(again) else { panic!() };
        assert!(of == Source::Turn(turn) && key.parse::<Uuid>().is_ok() && body == "{}");
        let watch = format!(r#"{{"op":"watch","ref":"r","turn_id":"{turn}","last_event_id":"{turn}:1"}}"#);
        assert_eq!(asked(watch), Asked::Watch { what: Watched::Turn(turn), from: Position::ACCEPTED });
        let watch = format!(r#"{{"op":"watch","ref":"r","conversation_id":"{conversation}"}}"#);
        let what = Watched::Conversation(conversation);
        assert_eq!(asked(watch), Asked::Watch { what, from: Position::START });
        assert_eq!(asked(r#"{"op":"ping","ref":"r"}"#.into()), Asked::Ping);
    }

    #[test]
    fn what_is_wrong_is_named() {
        use FaultCode::{
            ConversationNotFound, InvalidBody, InvalidEventId, InvalidIdempotencyKey, MalformedBody,
            TurnNotFound,
        };
        let turn = TurnId::new();
        let cases = [
            ("".into(), InvalidBody, "op", "missing_field"),
            ("{".into(), MalformedBody, "", ""),
            ("[]".into(), InvalidBody, "body", "invalid_type"),
            (r#"{"op":"fly"}"#.into(), InvalidBody, "op", "invalid_value"),
            (r#"{"op":"ping","x":1}"#.into(), InvalidBody, "x", "unknown_field"),
            (r#"{"op":"ping","op":"ping"}"#.into(), InvalidBody, "op", "duplicate_field"),
            (r#"{"op":"ping","turn_id":"x"}"#.into(), InvalidBody, "turn_id", "unknown_field"),
            (format!(r#"{{"op":"ping","ref":"{}"}}"#, "x".repeat(65)), InvalidBody, "ref", "too_long"),
            (r#"{"op":"cancel"}"#.into(), InvalidBody, "turn_id", "missing_field"),
            (r#"{"op":"cancel","turn_id":"x"}"#.into(), TurnNotFound, "", ""),
            (r#"{"op":"send","conversation_id":"x","body":{}}"#.into(), ConversationNotFound, "", ""),
            (r#"{"op":"watch"}"#.into(), InvalidBody, "turn_id", "invalid_value"),
            (
                r#"{"op":"watch","turn_id":"a","conversation_id":"b"}"#.into(),
                InvalidBody,
                "turn_id",
                "invalid_value",
            ),
            (
                r#"{"op":"watch","conversation_id":"b","last_event_id":"x"}"#.into(),
                InvalidBody,
                "last_event_id",
                "invalid_value",
            ),
            (
                format!(r#"{{"op":"watch","turn_id":"{turn}","last_event_id":"{turn}:2"}}"#),
                InvalidEventId,
                "",
                "",
            ),
            (
                format!(r#"{{"op":"regenerate","turn_id":"{turn}","idempotency_key":""}}"#),
                InvalidIdempotencyKey,
                "",
                "",
            ),
        ];
        for (text, code, field, error) in cases {
            assert_eq!(refused(&text), (code, field.to_owned(), error.to_owned()), "{text}");
        }
        assert_eq!(read(r#"{"op":"fly","ref":"r"}"#).0.as_deref(), Some("r"), "its name is told back");
    }
}
