//! A send that is answered by the stream of its turn. The events come as they are told to the sender, so that the first of them
//! waits for nothing; what was missed of them is found as in any stream.

use std::{
    future::{self, Future},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use bus::Reply;
use bytes::Bytes;
use tokio::{sync::watch, time::sleep};
use wire::{Problem, TurnEvent, TurnId, UserId};

use super::{
    ear::Ear,
    follower::{COME_BACK, Follower, Form, HEARTBEAT, every},
    frames::Frames,
    outbox::{Outbox, outbox},
    position::Position,
    response,
};
use crate::{
    answer::Answer,
    caller::Caller,
    send::{Ended, Pursuit, Steps, pending},
    slots::Slot,
    throttle,
};

/// A turn that the queue has is accepted within milliseconds, or refused; and a refusal has its status only as long as nothing
/// was streamed.
const HOLD_BACK: Duration = Duration::from_secs(1);
/// It has no id: until the turn is accepted there is nothing to pick up.
const QUEUED: Bytes = Bytes::from_static(b"event: queued\ndata: {\"event\":\"queued\"}\n\n");

/// A send whose stream has begun before the turn is accepted.
struct Early {
    caller: Caller,
    outbox: Outbox,
    slot: Slot<UserId>,
}

impl Caller {
    /// Sends, and streams the events of the turn from its start. What is refused before anything was streamed is answered as if
    /// the outcome were waited for.
    pub async fn send_streamed(self, pursuit: Pursuit) -> Answer {
        let slot = self.take_stream()?;
        let (tell, queued) = watch::channel(false);
        let mut waits = queued.clone();
        let held_back = async move {
            let is_queued = waits.wait_for(|queued| *queued).await.is_ok();
            if is_queued { sleep(HOLD_BACK).await } else { future::pending().await }
        };
        let mut ending = Box::pin(pursuit.run(Some(tell)));
        let ended = tokio::select! {
            ended = &mut ending => ended,
            () = held_back => {
                let (outbox, taken) = outbox(self.door().stream_stall);
                outbox.offer(QUEUED);
                let drain = self.door().drain.clone();
                drain.spawn("turn-stream", Early { caller: self, outbox, slot }.go_on(ending));
                return Ok(response(Body::from_stream(taken)));
            }
        };
        match ended {
            Ended::Answered(result) => self.answered(result),
            Ended::Known(turn) => self.follow(turn, Position::START, slot).await,
            Ended::Pending(turn) => Err(pending(turn).into()),
            Ended::Accepted { turn, step, steps, standing } => {
                let (outbox, taken) = outbox(self.door().stream_stall);
                if *queued.borrow() {
                    outbox.offer(QUEUED);
                }
                let drain = self.door().drain.clone();
                drain.spawn("turn-stream", self.follow_steps(turn, step, steps, outbox, slot).run());
                let mut response = response(Body::from_stream(taken));
                if let Some(standing) = standing {
                    throttle::mark(response.headers_mut(), &standing);
                }
                Ok(response)
            }
        }
    }

    fn follow_steps(
        self,
        turn: TurnId,
        step: TurnEvent,
        steps: Steps,
        outbox: Outbox,
        slot: Slot<UserId>,
    ) -> Follower {
        let events = self.door().bus.listen_to_steps(steps.events());
        let mut frames = Frames::new(turn, Position::START);
        frames.hear(step);
        let (caller, ear, form) = (Arc::new(self), Ear::Own(events), Form::Alone { _slot: slot });
        Follower { turn, caller, ear, frames, outbox, form }
    }
}

impl Early {
    /// Waits for what comes of the send, and tells it.
    async fn go_on(self, ending: Pin<Box<impl Future<Output = Ended>>>) {
        let Some(ended) = self.wait(ending).await else { return };
        let Self { caller, outbox, slot } = self;
        match ended {
            Ended::Accepted { turn, step, steps, .. } => {
                caller.follow_steps(turn, step, steps, outbox, slot).run().await;
            }
            Ended::Known(turn) => match caller.look_up(turn, Position::START).await {
                Ok((events, frames)) => {
                    let (caller, ear, form) =
                        (Arc::new(caller), Ear::Own(events), Form::Alone { _slot: slot });
                    Follower { turn, caller, ear, frames, outbox, form }.run().await;
                }
                Err(_) => outbox.offer(COME_BACK),
            },
            Ended::Answered(Ok(Reply { status: Some(_), body, .. })) => {
                outbox.offer(refused(&body).unwrap_or(COME_BACK));
            }
            Ended::Answered(_) | Ended::Pending(_) => outbox.offer(COME_BACK),
        }
    }

    /// None if the reader leaves, or may not stay.
    async fn wait(&self, mut ending: Pin<Box<impl Future<Output = Ended>>>) -> Option<Ended> {
        let door = self.caller.door();
        let mut heartbeat = every(door.stream_heartbeat);
        loop {
            tokio::select! {
                ended = &mut ending => return Some(ended),
                () = self.outbox.abandoned() => return None,
                () = door.drain.draining() => {
                    self.outbox.offer(COME_BACK);
                    return None;
                }
                _ = heartbeat.tick() => self.outbox.send(HEARTBEAT).await.ok()?,
            }
        }
    }
}

/// A refusal, as the last event. It has no id, as there is no turn.
fn refused(body: &[u8]) -> Option<Bytes> {
    let problem = serde_json::from_slice::<Problem>(body).ok()?;
    let data = serde_json::to_string(&TurnEvent::Failed(Box::new(problem))).ok()?;
    Some(format!("event: failed\ndata: {data}\n\n").into())
}
