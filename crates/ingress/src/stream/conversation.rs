//! The events of a conversation: hints that there is something new to be read. They have no ids, and cannot be picked up: whoever
//! comes back reads the messages again.

use axum::body::Body;
use bus::{ConversationEvents, Noticed};
use bytes::Bytes;
use wire::{ConversationEvent, ConversationId, FaultCode, UserId, operations::GET_CONVERSATION};

use super::{
    follower::{COME_BACK, End, HEARTBEAT, LOOK, attend, every},
    outbox::{Outbox, Undelivered, outbox},
    response,
};
use crate::{answer::Answer, caller::Caller, slots::Slot};

/// The connection to NATS was lost for a moment, and with it what was told then.
const MISSED: Bytes = Bytes::from_static(b"event: missed\ndata: {\"event\":\"missed\"}\n\n");

/// All that such a stream needs.
struct Watcher {
    caller: Caller,
    events: ConversationEvents,
    outbox: Outbox,
    _slot: Slot<UserId>,
}

impl Caller {
    /// Streams the events of a conversation from now on. What cannot be streamed is answered as if the conversation were only
    /// asked for.
    pub async fn stream_conversation(self, conversation: ConversationId) -> Answer {
        self.check_scope(&GET_CONVERSATION.info)?;
        let slot = self.take_stream()?;
        let door = self.door();
        let listening = door.bus.listen_to_conversation(self.user(), conversation).await;
        let events = listening.map_err(|_| FaultCode::Unavailable)?;
        let patience = door.request_timeout;
        match self.call(&GET_CONVERSATION.info, &[&conversation], Bytes::new(), None, patience).await {
            Ok(reply) if reply.status.is_none() => {}
            other => return self.answered(other),
        }
        let (outbox, taken) = outbox(door.stream_stall);
        let drain = door.drain.clone();
        drain.spawn("conversation-stream", Watcher { caller: self, events, outbox, _slot: slot }.run());
        Ok(response(Body::from_stream(taken)))
    }
}

impl Watcher {
    async fn run(mut self) {
        let caller = self.caller.clone();
        let following = async { self.follow().await.unwrap_or_else(Into::into) };
        if attend(caller.door(), following).await.may_come_back() {
            self.outbox.offer(COME_BACK);
        }
    }

    async fn follow(&mut self) -> Result<End, Undelivered> {
        let mut heartbeat = every(self.caller.door().stream_heartbeat);
        let mut look = every(LOOK);
        loop {
            let frame = tokio::select! {
                () = self.outbox.abandoned() => return Ok(End::Left),
                noticed = self.events.next() => match noticed {
                    Some(Noticed::Event(ConversationEvent::Deleted)) => {
                        self.outbox.send(encode(&ConversationEvent::Deleted)).await?;
                        return Ok(End::Told);
                    }
                    Some(Noticed::Event(event)) => encode(&event),
                    Some(Noticed::Missed) => MISSED,
                    None => return Ok(End::Deaf),
                },
                _ = look.tick() => {
                    if !self.caller.is_still_let_in().await {
                        return Ok(End::TurnedOut);
                    }
                    continue;
                }
                _ = heartbeat.tick() => HEARTBEAT,
            };
            self.outbox.send(frame).await?;
        }
    }
}

/// As the reader gets it. JSON has no line ends of its own.
fn encode(event: &ConversationEvent) -> Bytes {
    // All of it can be written as JSON.
    let data = serde_json::to_string(event).unwrap_or_default();
    format!("event: {}\ndata: {data}\n\n", event.name()).into()
}
