//! Where an answer may go. The broker does not check the reply subject of a request, so a user could have a service publish
//! in the user's stead, on any subject the service may reach: an empty answer on `$JS.API.STREAM.DELETE.…` deletes a
//! stream. Hence an answer goes to an inbox of the caller, or of the ingress, or nowhere.

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use host::limit::Standing;
use wire::{Encoding, Fault, Problem, UserId, header};

use crate::{Bus, Context};

/// Longer subjects are no inboxes.
const SUBJECT_BYTES_MAX: usize = 256;

/// An inbox that was checked, the encoding that its owner reads, and what every answer to it tells.
#[derive(Debug, Clone)]
pub struct ReplyTo {
    subject: Subject,
    encoding: Encoding,
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
            standing: None,
        })
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
            Ok(body) if body.len() > wire::limits::PAYLOAD_BYTES_MAX => {
                tracing::error!(bytes = body.len(), "a reply is too large to be sent");
                let fault = Fault::because(
                    wire::FaultCode::Internal,
                    "The answer is too large to be sent: ask for less at once",
                );
                self.reply_fault(to, &fault, &Context::default()).await;
            }
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
                self.reply_fault(to, &Fault::new(wire::FaultCode::Internal), &Context::default()).await;
            }
        }
    }

    /// Answers with a fault: the headers of the services' convention, and a body like on HTTP.
    pub async fn reply_fault(&self, to: &ReplyTo, fault: &Fault, context: &Context) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ERROR_CODE, fault.code.status().to_string());
        headers.insert(header::ERROR, fault.message.replace(['\r', '\n'], " "));
        let media_type = match to.encoding {
            Encoding::Json => "application/problem+json",
            Encoding::MessagePack => to.encoding.media_type(),
        };
        headers.insert(header::CONTENT_TYPE, media_type);
        let problem = Problem::of(fault, Some(&context.request_id));
        self.publish_reply(to, headers, to.encoding.encode(&problem).unwrap_or_default().into()).await;
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
}
