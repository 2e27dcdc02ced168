//! The blocking send, and what waits like it: the answer, or word of the turn that goes on without this request.

use std::time::Duration;

use axum::extract::FromRequestParts;
use bus::{CallError, Reply, SendKey};
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

/// What is being asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    First,
    /// The same once more, after a pause.
    Again(Duration),
    /// That it is in the queue, if it is not.
    Ensure,
}

/// Before the first look for a turn that says nothing, as most have ended by then.
const FIRST_LOOK: Duration = Duration::from_millis(300);
/// Between the word that it is in the queue, or runs, and the next look: from there on only the answer can be lost.
const SECOND_LOOK: Duration = Duration::from_secs(2);
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

/// When a turn that says nothing is looked for.
struct Watch {
    at: Instant,
    beside: Duration,
    pause: Duration,
    /// How often the send was said to be in the queue.
    queued: u32,
}

impl Watch {
    fn new(began: Instant) -> Self {
        Self { at: began + FIRST_LOOK, beside: LOOK_BESIDE, pause: SECOND_LOOK, queued: 0 }
    }

    /// A look is begun; the next is due though it, or what is asked for because of it, is not answered.
    fn look(&mut self, now: Instant) {
        self.at = now + self.beside;
        self.beside = (self.beside * 4).min(LOOK_RARELY);
    }

    /// It is there: nothing is to be done for a while.
    fn rest(&mut self, now: Instant) {
        self.at = now + self.pause;
        self.pause = (self.pause * 2).min(LOOK_RARELY);
    }

    /// No turn was found: it waits in the queue, or was lost, or was refused in an answer that was lost. What is asked for next
    /// finds out which; when it was in the queue twice it must be answered.
    const fn missed(&self) -> Asking {
        if self.queued < 2 { Asking::Ensure } else { Asking::Again(Duration::ZERO) }
    }
}

impl Caller {
    /// Asks for a turn and waits for its outcome, as long as `answer_timeout_s` allows.
    ///
    /// NATS promises nothing: a request, or its answer, is lost with the process that has it. So while nothing is heard the
    /// turn is looked for by its key. If it is not there, the send is ensured to be in the queue; if its outcome is there, it is
    /// asked for again. The same key makes it the same turn, however often it is asked for.
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
        let send = async |asking: Asking| {
            // A pause of nothing would still cost a tick of the clock.
            if let Asking::Again(pause) = asking
                && !pause.is_zero()
            {
                sleep(pause).await;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let key = SendKey { key: key.clone(), ensure: asking == Asking::Ensure };
            (asking, self.call(operation, &[id], body.clone(), Some(key), left).await)
        };
        let mut sends = FuturesUnordered::from_iter([send(Asking::First)]);
        let (mut watch, mut looks, mut turn) = (Watch::new(began), FuturesUnordered::new(), None);
        let mut reconnects = self.door().bus.reconnects();
        loop {
            tokio::select! {
                Some((asking, result)) = sends.next() => match result {
                    Err(CallError::TimedOut) => {}
                    // The first may be in the queue all the same. The next look is begun in its time.
                    result if asking == Asking::Ensure && is_away(&result) => {}
                    result if is_away(&result) && began.elapsed() < RIDE_OUT => sends.push(send(Asking::Again(AGAIN))),
                    Ok(Reply { queued: true, .. }) => {
                        watch.queued += 1;
                        watch.rest(Instant::now());
                    }
                    result if is_one_too_many(asking, &result) => watch.rest(Instant::now()),
                    result => return self.answered(result),
                },
                () = sleep_until(watch.at) => {
                    looks.push(self.find(&key));
                    watch.look(Instant::now());
                }
                Some(found) = looks.next() => {
                    match found {
                        // The next look is begun in its time.
                        Found::Unknown => continue,
                        Found::Nothing => sends.push(send(watch.missed())),
                        Found::Turn(known) => {
                            if known.status.is_open() {
                                turn = Some(known.id);
                            } else {
                                sends.push(send(Asking::Again(Duration::ZERO)));
                            }
                            watch.rest(Instant::now());
                        }
                    }
                    looks.clear();
                }
                // Whatever was said meanwhile was not heard.
                Ok(()) = reconnects.changed() => watch.at = Instant::now(),
                () = sleep_until(deadline) => {
                    if turn.is_none() && let Found::Turn(known) = self.find(&key).await {
                        turn = Some(known.id);
                    }
                    let pending = Fault::new(FaultCode::AnswerPending);
                    return Err(turn.map_or(pending.clone(), |turn| pending.of_turn(turn)).into());
                }
            }
        }
    }

    /// The turn of a key, if there is one by now, as far as can be found out at once.
    pub async fn turn_of(&self, key: &str) -> Option<TurnId> {
        match self.find(key).await {
            Found::Turn(known) => Some(known.id),
            Found::Nothing | Found::Unknown => None,
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

/// Whether what was asked for besides a send that is under way was refused for being more than is allowed, as it counts like any.
fn is_one_too_many(asking: Asking, result: &Result<Reply, CallError>) -> bool {
    match result {
        Ok(Reply { status: Some(429), .. }) => asking != Asking::First,
        Ok(Reply { status: Some(503), .. }) => asking == Asking::Ensure,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_silent_is_looked_for_soon_and_what_is_there_rarely() {
        let began = Instant::now();
        let mut watch = Watch::new(began);
        let mut at = Vec::new();
        for _ in 0..5 {
            at.push((watch.at - began).as_millis());
            watch.look(watch.at);
        }
        assert_eq!(at, [300, 400, 800, 2400, 7400]);
        let mut pauses = Vec::new();
        for _ in 0..3 {
            watch.rest(began);
            pauses.push((watch.at - began).as_millis());
        }
        assert_eq!(pauses, [2000, 4000, 5000]);
        assert!(watch.missed() == Asking::Ensure);
        watch.queued = 2;
        assert!(watch.missed() == Asking::Again(Duration::ZERO));
    }

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
