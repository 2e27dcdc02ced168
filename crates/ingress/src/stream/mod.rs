//! The events of a turn, told over HTTP while they happen (server-sent events).
//!
//! ```text
//! bus: events, the record ──► frames: what the reader lacks ──► outbox: what waits ──► the response's body
//! ```
//!
//! `ear`: where events come from; `position`: how far a reader is, as a number; `frames`: what it is shown, pure; `outbox`: how
//! much may wait for it; `follower`: the task that listens for it; `sent`: how the stream of a turn begins with its send;
//! `conversation`: the same for the events of a conversation, of which nothing is kept.

mod conversation;
mod ear;
mod follower;
mod frames;
mod outbox;
mod position;
mod sent;

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bus::TurnEvents;
use host::{limit::hit, telemetry::Metric};
use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use wire::{
    Fault, FaultCode, Turn, TurnId, UserId,
    limit::{Limit, STREAMS},
    operations::GET_TURN,
};

use crate::{answer::Answer, caller::Caller, slots::Slot};

pub(crate) use self::{
    ear::Ear,
    follower::{End, Follower, Form, every},
    frames::Frames,
    outbox::{Outbox, Undelivered, outbox},
    position::{Position, STARTING_AFTER},
};

const OPEN: &str = "omnichat_streams_in_flight";
const ENDED: &str = "omnichat_streams_ended_total";

/// The metrics of streams.
pub(crate) const METRICS: &[Metric] = &[
    Metric::gauge(OPEN, "Streams of events that are open."),
    Metric::counter(ENDED, "Streams of events that ended, by the reason."),
];

/// What proxies are told: nothing is to be kept back, not for a moment and not for later.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
];

impl Caller {
    /// Streams the events of a turn to a reader who has seen those up to `from`. What cannot be streamed is answered as if
    /// the turn were only asked for.
    pub async fn stream(self, turn: TurnId, from: Position) -> Answer {
        self.check_scope(&GET_TURN.info)?;
        let slot = self.take_stream()?;
        self.follow(turn, from, slot).await
    }

    async fn follow(self, turn: TurnId, from: Position, slot: Slot<UserId>) -> Answer {
        let (events, frames) = match self.look_up(turn, from).await {
            Ok(found) => found,
            Err(answer) => return *answer,
        };
        let (outbox, taken) = outbox(self.door().stream_stall);
        let drain = self.door().drain.clone();
        let (caller, ear, form) = (Arc::new(self), Ear::Own(events), Form::Alone { _slot: slot });
        let follower = Follower { turn, caller, ear, frames, outbox, form };
        drain.spawn("turn-stream", follower.run());
        Ok(response(Body::from_stream(taken)))
    }

    /// Listens to a turn, and finds out what a reader who is at `from` lacks.
    ///
    /// # Errors
    /// The answer to whoever asks for a turn that cannot be shown.
    async fn look_up(&self, turn: TurnId, from: Position) -> Result<(TurnEvents, Frames), Box<Answer>> {
        let refused = |code: FaultCode| Box::new(Err(code.into()));
        let door = self.door();
        // First the ear, then the question: what happens between the two is heard.
        let events = door.bus.listen(self.user(), turn).await;
        let events = events.map_err(|_| refused(FaultCode::Unavailable))?;
        let asked =
            self.call(&GET_TURN.info, &[&turn], bytes::Bytes::new(), None, door.request_timeout).await;
        let record: Turn = match asked {
            Ok(reply) if reply.status.is_none() => {
                serde_json::from_slice(&reply.body).map_err(|_| refused(FaultCode::Internal))?
            }
            other => return Err(Box::new(self.answered(other))),
        };
        let mut frames = Frames::new(turn, from);
        frames.check(&record).map_err(|_| refused(FaultCode::InvalidEventId))?;
        frames.learn(&record);
        Ok((events, frames))
    }

    fn take_stream(&self) -> Result<Slot<UserId>, Fault> {
        self.door().streams.take(Some(self.user())).map_err(|limit: &'static Limit| {
            hit(limit.name);
            if *limit == STREAMS {
                FaultCode::Overloaded.into()
            } else {
                Fault::because(
                    FaultCode::RateLimited,
                    "Too many streams are open: end one, or wait for its end",
                )
            }
        })
    }
}

fn response(body: Body) -> Response {
    (HEADERS, body).into_response()
}
