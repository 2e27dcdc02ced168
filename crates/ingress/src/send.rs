//! The blocking send, and what waits like it: the answer, or word of the turn that goes on without this request.

use std::time::Duration;

use axum::extract::FromRequestParts;
use bus::{CallError, Reply};
use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use http::{HeaderMap, request::Parts};
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until};
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

/// What is known of the turn of a key.
enum Found {
    Turn(Standing),
    Nothing,
    /// Nobody answered.
    Unknown,
}

/// Before the first look for a turn that says nothing, as most have ended by then.
const FIRST_LOOK: Duration = Duration::from_millis(300);
/// For the answer to a look.
const LOOK_TIMEOUT: Duration = Duration::from_millis(300);
/// After this another look is begun beside one that is not answered: a process that hangs must not hold it up.
const LOOK_BESIDE: Duration = Duration::from_millis(100);
/// The pauses grow, those after a look that is not answered faster, up to this: who is not answered because too much is asked
/// must not ask for more.
const LOOK_RARELY: Duration = Duration::from_secs(5);
/// As long as the services are away, a send is tried again: they are likely being replaced.
const RIDE_OUT: Duration = Duration::from_secs(3);
/// Between two such tries.
const AGAIN: Duration = Duration::from_millis(250);

impl Caller {
    /// Asks for a turn and waits for its outcome, as long as `answer_timeout_s` allows.
    ///
    /// NATS promises nothing: a request, or its answer, is lost with the process that has it. So while nothing is heard the
    /// turn is looked for by its key, and asked for again if it is not there, or if its outcome is. The same key makes it
    /// the same turn, however often it is asked for.
    pub async fn send<Q, R>(
        &self,
        operation: &Operation<Q, R>,
        id: SubjectId<'_>,
        IdempotencyKey(key): IdempotencyKey,
        body: Bytes,
    ) -> Answer {
        self.check_scope(&operation.info)?;
        let began = Instant::now();
        let deadline = began + self.door().answer_timeout;
        let send = async |pause: Duration| {
            // A pause of nothing would still cost a tick of the clock.
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let repeated = !pause.is_zero();
            (repeated, self.call(operation, &[id], body.clone(), Some(key.clone()), left).await)
        };
        let mut sends = FuturesUnordered::from_iter([send(Duration::ZERO)]);
        let (mut looks, mut look_at) = (FuturesUnordered::new(), began + FIRST_LOOK);
        let (mut pause, mut beside, mut turn) = (FIRST_LOOK, LOOK_BESIDE, None);
        loop {
            tokio::select! {
                Some((repeated, result)) = sends.next() => match result {
                    Err(CallError::TimedOut) => {}
                    result if is_away(&result) && began.elapsed() < RIDE_OUT => sends.push(send(AGAIN)),
                    // It counts like any send, and may be one too many: the one before is under way.
                    Ok(Reply { status: Some(429), .. }) if repeated => {}
                    result => return self.answered(result),
                },
                () = sleep_until(look_at) => {
                    looks.push(self.find(&key));
                    look_at = Instant::now() + beside;
                    beside = (beside * 4).min(LOOK_RARELY);
                }
                Some(found) = looks.next() => {
                    match found {
                        // The next look is begun in its time.
                        Found::Unknown => continue,
                        Found::Turn(known) if known.status.is_open() => turn = Some(known.id),
                        Found::Turn(_) | Found::Nothing => sends.push(send(Duration::from_millis(1))),
                    }
                    looks.clear();
                    look_at = Instant::now() + pause;
                    pause = (pause * 2).min(LOOK_RARELY);
                }
                () = sleep_until(deadline) => {
                    let pending = Fault::new(FaultCode::AnswerPending);
                    return Err(turn.map_or(pending.clone(), |turn| pending.of_turn(turn)).into());
                }
            }
        }
    }

    async fn find(&self, key: &str) -> Found {
        let Ok(_permit) = self.door().looks.try_acquire() else { return Found::Unknown };
        let body = serde_json::json!({ "idempotency_key": key }).to_string();
        match self.call(&FIND_TURN, &[], body.into(), None, LOOK_TIMEOUT).await {
            Ok(Reply { status: None, body, .. }) => {
                serde_json::from_slice(&body).map_or(Found::Unknown, Found::Turn)
            }
            Ok(Reply { status: Some(404), .. }) => Found::Nothing,
            _ => Found::Unknown,
        }
    }
}

/// Whether nobody was there to take the send, or the queue was not.
fn is_away(result: &Result<Reply, CallError>) -> bool {
    #[derive(Deserialize)]
    struct Problem {
        code: FaultCode,
    }
    match result {
        Err(CallError::NoResponders | CallError::Disconnected) => true,
        Ok(Reply { status: Some(503), body, .. }) => serde_json::from_slice::<Problem>(body)
            .is_ok_and(|problem| problem.code == FaultCode::Unavailable),
        _ => false,
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
