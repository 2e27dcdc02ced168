//! The blocking send, and what waits like it: the answer, or word of the turn that goes on without this request.

use axum::extract::FromRequestParts;
use bus::{CallError, Reply};
use bytes::Bytes;
use http::{HeaderMap, request::Parts};
use serde::Deserialize;
use uuid::Uuid;
use wire::{Fault, FaultCode, Operation, TurnId, TurnStatus, header, operations::FIND_TURN};

use crate::{
    answer::{Answer, Refusal},
    caller::{Caller, SubjectId},
};

/// The client's key of a send; ours if it gave none.
pub(crate) struct IdempotencyKey(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let key = given_key(&parts.headers)?;
        Ok(Self(key.unwrap_or_else(|| Uuid::now_v7().to_string())))
    }
}

fn given_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut given = headers.get_all(header::IDEMPOTENCY_KEY).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => bus::incoming::parse_key(key.to_str().unwrap_or_default()).map(Some),
        _ => Err(FaultCode::InvalidIdempotencyKey.into()),
    }
}

/// The part of a [`wire::Turn`] that decides what to answer.
#[derive(Deserialize)]
struct Standing {
    id: TurnId,
    status: TurnStatus,
}

impl Caller {
    /// Asks for a turn and waits for its outcome, as long as `answer_timeout_s` allows.
    pub async fn send<Q, R>(
        &self,
        operation: &Operation<Q, R>,
        id: SubjectId<'_>,
        IdempotencyKey(key): IdempotencyKey,
        body: Bytes,
    ) -> Answer {
        self.check_scope(&operation.info)?;
        let send = async |body, timeout| self.call(operation, &[id], body, Some(key.clone()), timeout).await;
        match send(body.clone(), self.door().answer_timeout).await {
            Err(CallError::TimedOut) => {}
            result => return self.answered(result),
        }
        let Some(turn) = self.find(&key).await else { return Err(FaultCode::AnswerPending.into()) };
        if !matches!(turn.status, TurnStatus::Queued | TurnStatus::Running) {
            // The outcome came without reaching us; the same key brings it again.
            match send(body, self.door().request_timeout).await {
                // It counts like any send, and may be one too many.
                Ok(Reply { status: Some(429), .. }) | Err(_) => {}
                reply => return self.answered(reply),
            }
        }
        Err(Fault::new(FaultCode::AnswerPending).of_turn(turn.id).into())
    }

    async fn find(&self, key: &str) -> Option<Standing> {
        let body = serde_json::json!({ "idempotency_key": key }).to_string();
        let reply = self.call(&FIND_TURN, &[], body.into(), None, self.door().request_timeout).await.ok()?;
        reply.status.is_none().then(|| serde_json::from_slice(&reply.body).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_given_once_or_not_at_all() {
        let key = |values: &[&str]| {
            let value = |text: &&str| {
                (header::IDEMPOTENCY_KEY.parse().unwrap(), HeaderValue::from_bytes(text.as_bytes()).unwrap())
            };
            given_key(&values.iter().map(value).collect()).map_err(|fault| fault.code)
        };
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&["k1"]), Ok(Some("k1".into())));
        assert_eq!(key(&["\"k1\""]), Ok(Some("k1".into())));
        for bad in [&[""][..], &["k1", "k1"], &["\u{e9}"]] {
            assert_eq!(key(bad), Err(FaultCode::InvalidIdempotencyKey), "{bad:?}");
        }
    }
}
