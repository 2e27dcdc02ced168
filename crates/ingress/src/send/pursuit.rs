//! Asking for a turn until something is known of it: its outcome, or, where that is enough, that it is accepted.
//!
//! NATS promises nothing: a request, or its answer, is lost with the process that has it. So while nothing is heard the turn is
//! looked for by its key. If it is not there, the send is ensured to be in the queue; if its outcome is there, it is asked for
//! again. The same key makes it the same turn, however often it is asked for.

use std::time::Duration;

use bus::{CallError, Reply, Said, SendKey, Wants};
use bytes::Bytes;
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream, FuturesUnordered, SelectAll},
};
use host::limit::Standing;
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use wire::{FaultCode, OperationInfo, TurnEvent, TurnId, TurnStatus, operations::FIND_TURN};

use super::looks::Watch;
use crate::caller::Caller;

/// A turn that is asked for.
pub(crate) struct Pursuit {
    pub caller: Caller,
    pub operation: OperationInfo,
    /// Of what it is asked.
    pub id: String,
    pub key: String,
    pub body: Bytes,
    /// The outcome is waited for; anything else is waited for until the turn is accepted.
    pub wants: Wants,
}

/// What came of it.
pub(crate) enum Ended {
    /// This is the answer.
    Answered(Result<Reply, CallError>),
    /// It is accepted, as this step says; the further ones come.
    Accepted { turn: TurnId, step: TurnEvent, standing: Option<Standing>, steps: Steps },
    /// It is stored; how it stands its record tells.
    Known(TurnId),
    /// In all the time that there is, no more was heard than, maybe, which turn it is.
    Pending(Option<TurnId>),
}

/// All that is said to the asking so far, and will be.
pub(crate) struct Steps(SelectAll<BoxStream<'static, (Asking, Result<Said, CallError>)>>);

/// What is being asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    First,
    /// The same once more, after a pause.
    Again(Duration),
    /// That it is in the queue, if it is not.
    Ensure,
}

/// The part of a [`wire::Turn`] that decides what to do.
#[derive(Deserialize)]
struct KnownTurn {
    id: TurnId,
    status: TurnStatus,
}

/// What is known of the turn of a key.
enum Found {
    Turn(KnownTurn),
    Nothing,
    /// Nobody answered.
    Unknown,
}

/// For the answer to a look.
const LOOK_TIMEOUT: Duration = Duration::from_millis(300);
/// As long as the services are away, a send is tried again: they are likely being replaced.
const RIDE_OUT: Duration = Duration::from_secs(3);
/// Between two such tries.
const AGAIN: Duration = Duration::from_millis(250);

impl Pursuit {
    /// Asks, as long as `answer_timeout_s` allows. `queued` hears if the queue has the turn before it is accepted.
    pub async fn run(self, queued: Option<watch::Sender<bool>>) -> Ended {
        let began = Instant::now();
        let deadline = began + self.caller.door().answer_timeout;
        let mut sends = SelectAll::from_iter([self.ask(Asking::First, deadline)]);
        let (mut watch, mut looks, mut turn) = (Watch::new(began), FuturesUnordered::new(), None);
        let mut reconnects = self.caller.door().bus.reconnects();
        loop {
            tokio::select! {
                Some((asking, said)) = sends.next() => match heard(said) {
                    Heard::Queued => drop(queued.as_ref().map(|queued| queued.send_replace(true))),
                    Heard::Step(turn, step, standing) => {
                        return Ended::Accepted { turn, step, standing, steps: Steps(sends) };
                    }
                    Heard::End(turn) => return Ended::Known(turn),
                    Heard::Answer(Err(CallError::TimedOut)) => {}
                    // The first may be in the queue all the same. The next look is begun in its time.
                    Heard::Answer(result) if asking == Asking::Ensure && is_away(&result) => {}
                    Heard::Answer(result) if is_away(&result) && began.elapsed() < RIDE_OUT => {
                        sends.push(self.ask(Asking::Again(AGAIN), deadline));
                    }
                    Heard::Answer(Ok(Reply { queued: true, .. })) => {
                        watch.queued += 1;
                        watch.rest(Instant::now());
                    }
                    Heard::Answer(result) if is_one_too_many(asking, &result) => watch.rest(Instant::now()),
                    Heard::Answer(result) => return self.answered(result),
                },
                () = sleep_until(watch.at) => {
                    looks.push(self.find());
                    watch.look(Instant::now());
                }
                Some(found) = looks.next() => {
                    match found {
                        // The next look is begun in its time.
                        Found::Unknown => continue,
                        Found::Nothing => sends.push(self.ask(watch.missed(), deadline)),
                        // That it is accepted may just be on its way, and the first steps with it: by the next look they are there.
                        Found::Turn(known) if self.wants == Wants::Steps && known.status.is_open() && turn.is_none() => {
                            turn = Some(known.id);
                        }
                        Found::Turn(known) if self.wants != Wants::Outcome => return Ended::Known(known.id),
                        Found::Turn(known) => {
                            if known.status.is_open() {
                                turn = Some(known.id);
                            } else {
                                sends.push(self.ask(Asking::Again(Duration::ZERO), deadline));
                            }
                            watch.rest(Instant::now());
                        }
                    }
                    looks.clear();
                }
                // Whatever was said meanwhile was not heard.
                Ok(()) = reconnects.changed() => watch.at = Instant::now(),
                () = sleep_until(deadline) => {
                    if turn.is_none() && let Found::Turn(known) = self.find().await {
                        turn = Some(known.id);
                    }
                    return Ended::Pending(turn);
                }
            }
        }
    }

    /// Asks for it, once.
    fn ask(
        &self,
        asking: Asking,
        deadline: Instant,
    ) -> BoxStream<'static, (Asking, Result<Said, CallError>)> {
        let key = SendKey { key: self.key.clone(), ensure: asking == Asking::Ensure };
        let (caller, operation, id) = (self.caller.clone(), self.operation, self.id.clone());
        let (body, wants) = (self.body.clone(), self.wants);
        let pause = async move {
            // A pause of nothing would still cost a tick of the clock.
            if let Asking::Again(pause) = asking
                && !pause.is_zero()
            {
                sleep(pause).await;
            }
        };
        if wants == Wants::Outcome {
            let asked = async move {
                pause.await;
                let left = deadline.saturating_duration_since(Instant::now());
                let reply = caller.call(&operation, &[&id], body, Some(key), left).await;
                (asking, reply.map(Said::Reply))
            };
            return stream::once(asked).boxed();
        }
        let asked = async move {
            pause.await;
            caller.call_in_steps(&operation, &[&id], body, key, wants).await
        };
        stream::once(asked).try_flatten().map(move |said| (asking, said)).boxed()
    }

    async fn find(&self) -> Found {
        self.caller.find(&self.key).await
    }

    /// An outcome that is told at once is that of a turn that was stored before.
    fn answered(&self, result: Result<Reply, CallError>) -> Ended {
        #[derive(Deserialize)]
        struct Named {
            turn_id: TurnId,
        }
        let named = result.as_ref().ok().filter(|_| self.wants != Wants::Outcome);
        let named = named.and_then(|reply| serde_json::from_slice::<Named>(&reply.body).ok());
        named.map_or(Ended::Answered(result), |named| Ended::Known(named.turn_id))
    }
}

impl Caller {
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
        match self.call(&FIND_TURN.info, &[], body.into(), None, LOOK_TIMEOUT).await {
            Ok(Reply { status: None, body, .. }) => {
                serde_json::from_slice(&body).map_or(Found::Unknown, Found::Turn)
            }
            Ok(Reply { status: Some(404), .. }) => Found::Nothing,
            _ => Found::Unknown,
        }
    }
}

impl Steps {
    /// What happens to the turn.
    pub fn events(self) -> impl Stream<Item = TurnEvent> + Send {
        self.0.filter_map(async |(_, said)| match said {
            Ok(Said::Step(step)) => Some(step.event),
            Ok(Said::Reply(_)) | Err(_) => None,
        })
    }
}

/// What was said, by what follows from it.
enum Heard {
    /// The queue has the turn; or nothing from which it could be told which turn it is.
    Queued,
    Step(TurnId, TurnEvent, Option<Standing>),
    /// The turn has ended.
    End(TurnId),
    Answer(Result<Reply, CallError>),
}

fn heard(said: Result<Said, CallError>) -> Heard {
    match said {
        Ok(Said::Step(step)) => match step.event.turn() {
            None => Heard::Queued,
            Some(turn) if step.event.is_last() => Heard::End(turn),
            Some(turn) => Heard::Step(turn, step.event, step.standing),
        },
        Ok(Said::Reply(reply)) => Heard::Answer(Ok(reply)),
        Err(error) => Heard::Answer(Err(error)),
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
