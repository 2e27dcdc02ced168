//! Where an answer may go. The broker does not check the reply subject of a request, so a user could have a service publish
//! in the user's stead, on any subject the service may reach: an empty answer on `$JS.API.STREAM.DELETE.…` deletes a
//! stream. Hence an answer goes to an inbox of the caller, or of the ingress, or nowhere.
//!
//! What is said there is one answer, or, to whoever asked for steps, those and then an empty message.

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use host::limit::Standing;
use wire::{Encoding, Fault, FaultCode, Problem, TurnEvent, UserId, header, limits::PAYLOAD_BYTES_MAX};

use crate::{Bus, Context};

/// Longer subjects are no inboxes.
const SUBJECT_BYTES_MAX: usize = 256;

/// How much whoever sends a turn is told of it ([`header::STREAM`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wants {
    /// The outcome.
    #[default]
    Outcome,
    /// Every step.
    Steps,
    /// The steps until it is accepted.
    Acceptance,
}

impl Wants {
    /// What the header's value says.
    ///
    /// # Errors
    /// [`FaultCode::MalformedRequest`] for any other value.
    pub(crate) fn parse(value: Option<&str>) -> Result<Self, Fault> {
        let wanted = [Self::Steps, Self::Acceptance].into_iter().find(|wants| wants.value() == value);
        match value {
            None => Ok(Self::Outcome),
            Some(_) => wanted.ok_or_else(|| {
                Fault::because(FaultCode::MalformedRequest, "Oc-Stream is 1, for every step, or accepted")
            }),
        }
    }

    pub(crate) const fn value(self) -> Option<&'static str> {
        match self {
            Self::Outcome => None,
            Self::Steps => Some("1"),
            Self::Acceptance => Some("accepted"),
        }
    }
}

/// An inbox that was checked, the encoding that its owner reads, how much is wanted there, and what every answer to it tells.
#[derive(Debug, Clone)]
pub struct ReplyTo {
    subject: Subject,
    encoding: Encoding,
    wants: Wants,
    standing: Option<Standing>,
}

impl ReplyTo {
    /// The inbox `subject`, if `user` (or, before there is a user, anybody) may be answered there.
    pub fn checked(subject: &str, user: Option<UserId>, encoding: Encoding) -> Option<Self> {
        let own = match user {
            Some(user) => subject
                .strip_prefix(wire::subject::user_inbox(user).as_str())
                .is_some_and(|rest| rest.starts_with('.')),
            None => subject.starts_with("_INBOX."),
        };
        let plain = subject.len() <= SUBJECT_BYTES_MAX
            && subject.bytes().all(|byte| byte.is_ascii_graphic() && !b"*>".contains(&byte));
        (plain && (own || subject.starts_with("_INBOX.ingress."))).then(|| Self {
            subject: subject.into(),
            encoding,
            wants: Wants::Outcome,
            standing: None,
        })
    }

    /// The same, where so much is wanted.
    #[must_use]
    pub fn wanting(self, wants: Wants) -> Self {
        Self { wants, ..self }
    }

    /// How much is wanted there.
    pub const fn wants(&self) -> Wants {
        self.wants
    }

    /// The same, with where its owner stands with a limit: every answer tells it.
    #[must_use]
    pub fn with_standing(self, standing: Option<Standing>) -> Self {
        Self { standing, ..self }
    }

    /// Where its owner stands with a limit, if the answer tells it.
    pub(crate) const fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    /// The subject, to be carried through the queue.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The encoding of the answer.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }
}

impl Bus {
    /// Answers with a success.
    pub async fn reply<T: wire::Reply + ?Sized>(&self, to: &ReplyTo, value: &T) {
        match to.encoding.encode(value) {
            // The server would end the connection of the whole role.
            Ok(body) if body.len() > PAYLOAD_BYTES_MAX => self.reply_too_large(to, body.len()).await,
            Ok(body) => {
                let mut headers = HeaderMap::new();
                headers.insert(header::CONTENT_TYPE, to.encoding.media_type());
                if let Some(next) = value.next() {
                    headers.insert(header::NEXT, next);
                }
                self.publish_reply(to, headers, body.into()).await;
            }
            Err(error) => {
                tracing::error!(%error, "a reply could not be encoded");
                self.reply_fault(to, &Fault::new(FaultCode::Internal), &Context::default()).await;
            }
        }
    }

    async fn reply_too_large(&self, to: &ReplyTo, bytes: usize) {
        tracing::error!(bytes, "a reply is too large to be sent");
        let sentence = "The answer is too large to be sent: ask for less at once";
        let fault = Fault::because(FaultCode::Internal, sentence);
        self.reply_fault(to, &fault, &Context::default()).await;
    }

    /// Answers with a fault: the headers of the services' convention, and a body like on HTTP. Nothing comes after it.
    pub async fn reply_fault(&self, to: &ReplyTo, fault: &Fault, context: &Context) {
        let mut headers = HeaderMap::new();
        name_fault(&mut headers, fault);
        let media_type = match to.encoding {
            Encoding::Json => "application/problem+json",
            Encoding::MessagePack => to.encoding.media_type(),
        };
        headers.insert(header::CONTENT_TYPE, media_type);
        let problem = Problem::of(fault, Some(&context.request_id));
        self.publish_reply(to, headers, to.encoding.encode(&problem).unwrap_or_default().into()).await;
        if to.wants != Wants::Outcome {
            self.reply_end(to).await;
        }
    }

    /// Tells step `seq` to an inbox where steps are wanted. One that is too large is left out, unless it is the last: that is a
    /// fault then.
    pub async fn reply_step(&self, to: &ReplyTo, seq: u64, step: &TurnEvent) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, to.encoding.media_type());
        headers.insert(header::EVENT, step.name());
        headers.insert(header::SEQ, seq.to_string());
        match step {
            TurnEvent::Failed(problem) => name_fault(&mut headers, &(**problem).clone().into()),
            TurnEvent::Cancelled { .. } => name_fault(&mut headers, &FaultCode::TurnCancelled.into()),
            _ => {}
        }
        match to.encoding.encode(step) {
            Ok(body) if body.len() <= PAYLOAD_BYTES_MAX => self.publish_reply(to, headers, body.into()).await,
            Ok(body) if step.is_last() => self.reply_too_large(to, body.len()).await,
            Ok(body) => tracing::warn!(bytes = body.len(), "a step is too large to be told"),
            Err(error) => tracing::error!(%error, "a step could not be encoded"),
        }
    }

    /// Says to an inbox where steps are wanted that the turn is still in hand.
    pub async fn reply_alive(&self, to: &ReplyTo) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, to.encoding.media_type());
        headers.insert(header::EVENT, header::ALIVE);
        // An empty one would be the end.
        let body = to.encoding.encode(&serde_json::json!({ "event": header::ALIVE })).unwrap_or_default();
        self.publish_reply(to, headers, body.into()).await;
    }

    /// Says to an inbox where steps are wanted that no more comes.
    pub async fn reply_end(&self, to: &ReplyTo) {
        if let Err(error) = self.client.publish(to.subject.clone(), Bytes::new()).await {
            tracing::debug!(%error, "the end of a reply was not sent");
        }
    }

    /// Answers that the send is in the queue already.
    pub async fn reply_queued(&self, to: &ReplyTo) {
        let mut headers = HeaderMap::new();
        headers.insert(header::EVENT, header::QUEUED);
        self.publish_reply(to, headers, Bytes::new()).await;
    }

    async fn publish_reply(&self, to: &ReplyTo, mut headers: HeaderMap, body: Bytes) {
        write_standing(&mut headers, to.standing());
        // Fails only while the connection is closing for good; a lost reply is fetched again with the same key.
        if let Err(error) = self.client.publish_with_headers(to.subject.clone(), headers, body).await {
            tracing::debug!(%error, "a reply was not sent");
        }
    }
}

/// Names a fault as services do (ADR-32).
fn name_fault(headers: &mut HeaderMap, fault: &Fault) {
    headers.insert(header::ERROR_CODE, fault.code.status().to_string());
    headers.insert(header::ERROR, fault.message.replace(['\r', '\n'], " "));
}

/// Tells where a user stands with a limit.
pub(crate) fn write_standing(headers: &mut HeaderMap, standing: Option<&Standing>) {
    if let Some(Standing { policy, left }) = standing {
        headers.insert(header::RATE_LIMIT_POLICY, policy.as_str());
        headers.insert(header::RATE_LIMIT, left.as_str());
    }
}

/// What [`write_standing`] has written.
pub(crate) fn read_standing(headers: &HeaderMap) -> Option<Standing> {
    let text = |name: &'static str| headers.get(name).map(|value| value.as_str().to_owned());
    Some(Standing { policy: text(header::RATE_LIMIT_POLICY)?, left: text(header::RATE_LIMIT)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_inboxes_of_the_caller_and_the_ingress_are_answered() {
        let user = UserId::new();
        let goes = |subject: &str, user| ReplyTo::checked(subject, user, Encoding::Json).is_some();
        assert!(goes(&format!("_INBOX.{user}.abc.1"), Some(user)));
        assert!(goes("_INBOX.ingress.abc.1", Some(user)));
        assert!(goes("_INBOX.anybody.1", None));
        let long = format!("_INBOX.{user}.{}", "x".repeat(256));
        let stranger = format!("_INBOX.{}.abc", UserId::new());
        let neighbour = format!("_INBOX.{user}x.abc");
        let wildcard = format!("_INBOX.{user}.*");
        for bad in [
            "$JS.API.STREAM.DELETE.TURNS",
            "omnichat.q.turn.a.b",
            "",
            &long,
            &stranger,
            &neighbour,
            &wildcard,
        ] {
            assert!(!goes(bad, Some(user)), "{bad}");
        }
        assert!(!goes("$SYS.REQ.USER.AUTH", None));
    }

    #[test]
    fn what_is_wanted_is_said_in_one_of_two_ways_or_not_at_all() {
        for wants in [Wants::Outcome, Wants::Steps, Wants::Acceptance] {
            assert_eq!(Wants::parse(wants.value()), Ok(wants));
        }
        for other in ["", "0", "true", "Accepted", "1,1"] {
            assert_eq!(Wants::parse(Some(other)).unwrap_err().code, FaultCode::MalformedRequest, "{other}");
        }
    }
}
