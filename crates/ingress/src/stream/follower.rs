//! The task of a stream: hears what happens to the turn, looks into its record now and then, and hands on what its reader
//! lacks, until the turn, the reader or the time is over.

use std::{future, mem, sync::Arc, time::Duration};

use bus::{CallError, Noticed, Request, Snapshot};
use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use wire::{Problem, Turn, TurnEvent, TurnId, UserId, operations::GET_TURN};

use super::{
    ENDED, OPEN,
    ear::Ear,
    frames::{Frame, Frames},
    outbox::{Outbox, Undelivered},
};
use crate::{caller::Caller, door::Door, in_flight::InFlight, slots::Slot};

/// Events may be lost, so the record is looked into after so long without anything new to show.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// And so soon again, if it could not be had; then after twice that time, and so on.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The record comes within milliseconds, or at the next look.
const PATIENCE: Duration = Duration::from_secs(3);
/// A comment: it keeps proxies, and tells both ends that the other is there.
pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");
/// Come back in a second.
pub(super) const COME_BACK: Bytes = Bytes::from_static(b": come back for the rest\nretry: 1000\n\n");

/// All that a stream needs.
pub(crate) struct Follower {
    pub turn: TurnId,
    pub caller: Arc<Caller>,
    pub ear: Ear,
    pub frames: Frames,
    pub outbox: Outbox,
    pub form: Form,
}

/// How its reader is reached.
pub(crate) enum Form {
    /// It is alone on its connection.
    Alone { _slot: Slot<UserId> },
    /// It shares a socket with others, which looks after the reader.
    OnSocket,
}

impl Form {
    /// As the reader gets it. JSON has no line ends of its own.
    fn encode(&self, turn: TurnId, frame: &Frame) -> Bytes {
        // What was read from JSON can be written as JSON.
        let data = serde_json::to_string(&frame.event).unwrap_or_default();
        let (id, name) = (frame.at.number(), frame.event.name());
        match self {
            Self::Alone { .. } => format!("id: {turn}:{id}\nevent: {name}\ndata: {data}\n\n").into(),
            Self::OnSocket => format!(r#"{{"id":"{turn}:{id}","event":"{name}","data":{data}}}"#).into(),
        }
    }

    const fn is_alone(&self) -> bool {
        matches!(self, Self::Alone { .. })
    }
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All was told.
    Told,
    /// Its reader left.
    Left,
    /// Its reader did not keep up.
    Lagged,
    /// Its reader may not stay.
    TurnedOut,
    /// It was open for as long as it may be.
    GrownOld,
    /// The process ends.
    Draining,
    /// Nothing more can be heard.
    Deaf,
}

impl End {
    const fn name(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Left => "left",
            Self::Lagged => "lagged",
            Self::TurnedOut => "turned_out",
            Self::GrownOld => "grown_old",
            Self::Draining => "draining",
            Self::Deaf => "deaf",
        }
    }

    /// Whether the reader has not seen all, and may come back for it.
    pub const fn may_come_back(self) -> bool {
        matches!(self, Self::GrownOld | Self::Draining | Self::Deaf | Self::TurnedOut)
    }
}

impl From<Undelivered> for End {
    fn from(undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::Left => Self::Left,
            Undelivered::Lagged => Self::Lagged,
        }
    }
}

/// Runs a stream for as long as it may be open, and counts it.
pub(super) async fn attend(door: &Door, following: impl Future<Output = End>) -> End {
    let _open = InFlight::new(OPEN);
    let end = tokio::select! {
        // What is ready is told even if there is no time for more.
        biased;
        end = following => end,
        () = door.drain.draining() => End::Draining,
        () = sleep(door.stream_life) => End::GrownOld,
    };
    tracing::debug!(reason = end.name(), "a stream ended");
    metrics::counter!(ENDED, "reason" => end.name()).increment(1);
    end
}

impl Follower {
    /// Runs a stream that is alone to its end.
    pub async fn run(mut self) {
        let caller = self.caller.clone();
        if attend(caller.door(), self.follow()).await.may_come_back() {
            // Whoever has no room for it comes back all the same.
            self.outbox.offer(COME_BACK);
        }
    }

    /// Tells what happens, until the turn is over or its reader.
    pub async fn follow(&mut self) -> End {
        self.tell_and_listen().await.unwrap_or_else(Into::into)
    }

    async fn tell_and_listen(&mut self) -> Result<End, Undelivered> {
        let mut heartbeat = every(self.caller.door().stream_heartbeat);
        let mut look = every(LOOK);
        let mut again = LOOK_AGAIN;
        let mut snapshot = None;
        let mut goes_on = false;
        loop {
            while let Some(frame) = self.frames.next() {
                goes_on = true;
                self.outbox.send(self.form.encode(self.turn, &frame)).await?;
            }
            if self.frames.is_over() {
                return Ok(End::Told);
            }
            if snapshot.is_none() && self.frames.take_behind() {
                snapshot = self.caller.door().bus.ask_for_snapshot(self.turn).await.ok();
            }
            let due = tokio::select! {
                // What was told before comes first, and what comes all the time last.
                biased;
                () = self.outbox.abandoned() => return Ok(End::Left),
                told = next(&mut snapshot) => {
                    match told {
                        Some(event) => _ = self.frames.hear(event),
                        None => snapshot = None,
                    }
                    false
                }
                _ = look.tick() => {
                    if self.form.is_alone() && !self.caller.is_still_let_in().await {
                        return Ok(End::TurnedOut);
                    }
                    // As long as the text goes on, nothing is missing: a gap would show.
                    !mem::take(&mut goes_on)
                }
                _ = heartbeat.tick(), if self.form.is_alone() => {
                    self.outbox.send(HEARTBEAT).await?;
                    false
                }
                noticed = self.ear.next() => match noticed {
                    Some(Noticed::Event(event)) => self.frames.hear(event),
                    Some(Noticed::Missed) => {
                        self.frames.miss();
                        true
                    }
                    None => return Ok(End::Deaf),
                },
            };
            if due && self.look().await {
                again = LOOK_AGAIN;
            } else if due {
                look.reset_after(again);
                again = LOOK.min(2 * again);
            }
        }
    }

    /// Looks into the record; false if it could not be had.
    async fn look(&mut self) -> bool {
        let request = Request {
            context: self.caller.context().clone(),
            body: Bytes::new(),
            key: None,
            timeout: PATIENCE,
        };
        let ids: [&(dyn std::fmt::Display + Sync); 2] = [&self.caller.user(), &self.turn];
        match self.caller.door().bus.call(&GET_TURN.info, &ids, request).await {
            Ok(reply) => match (reply.status, reply.body) {
                (None, body) => self.learn(&body),
                (Some(404), body) => self.lose(&body),
                (Some(_), _) => false,
            },
            Err(CallError::NoResponders | CallError::TimedOut | CallError::Disconnected) => false,
        }
    }

    fn learn(&mut self, body: &[u8]) -> bool {
        let turn = serde_json::from_slice::<Turn>(body);
        turn.map(|turn| self.frames.learn(&turn)).is_ok()
    }

    /// The turn was deleted while it was watched.
    fn lose(&mut self, body: &[u8]) -> bool {
        let problem = serde_json::from_slice::<Problem>(body);
        problem.map(|problem| self.frames.lose(problem)).is_ok()
    }
}

/// The next event of the snapshot, if one was asked for.
async fn next(snapshot: &mut Option<Snapshot>) -> Option<TurnEvent> {
    match snapshot {
        Some(snapshot) => snapshot.next().await,
        None => future::pending().await,
    }
}

/// Ticks after each period, however long the work between two ticks takes.
pub(crate) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.reset();
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
