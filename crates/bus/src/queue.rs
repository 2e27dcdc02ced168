//! The front's way into the stream of turns. The stream's acknowledgements come back on one inbox and are matched to a
//! table: no task and no subscription per turn.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{HeaderMap, Message, SubscribeError};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use wire::{ConversationId, Encoding, TurnId, UserId, header, subject};

use crate::{Bus, Context, ReplyTo, provision::NO_LEADER, reply::write_standing};

/// The stream answers within a millisecond; after this long the turn, or the answer, was lost on the way.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// Before a stream that cannot take the turn just now is asked again.
const AGAIN: Duration = Duration::from_millis(250);
/// A node that is gone is replaced as leader of the stream within nine seconds; after this long there is no stream.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for what is to be sent again.
const SWEEP: Duration = Duration::from_millis(100);
/// Turns without an acknowledgement, at most; one more is told at once that the stream is silent.
const PENDING_MAX: usize = 10_000;
/// JetStream's error code for "a message of this id is just being stored": by its answer to the next try it is known.
const BEING_STORED: u64 = 10158;
/// JetStream's error code for "a bound of the stream is reached".
const FULL: u64 = 10077;
/// What its description says if that is the bound of the subject; otherwise it is one of the stream as a whole.
const OF_SUBJECT: &str = "per subject";

/// A turn on its way into the queue: all that its owner needs to run it and to answer.
#[derive(Debug, Clone)]
pub struct QueuedTurn {
    /// Its id, made by the front.
    pub turn: TurnId,
    /// Whose it is.
    pub user: UserId,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// Sends with the same key are the same turn.
    pub idempotency_key: Option<String>,
    /// Whether its sender waits for the outcome at another inbox already, and wants to know only that it is in the queue.
    pub ensure: bool,
    /// The inbox that waits for the outcome.
    pub reply_to: ReplyTo,
    /// The encoding of the body.
    pub encoding: Encoding,
    /// Its names.
    pub context: Context,
    /// The body, checked by the front.
    pub body: Bytes,
}

/// The stream has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// As a new message.
    New,
    /// It had it before: a send with this key came within the stream's window of duplicates.
    Duplicate,
}

/// Why the stream does not have it, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// As many turns of the conversation wait as may.
    #[error("too many turns are waiting in the conversation")]
    Full,
    /// As many turns have no outcome yet as may, or together they are too large.
    #[error("too many turns have no outcome yet")]
    AllFull,
    /// The stream refused it for another reason, such as its size.
    #[error("the stream refused the turn (JetStream error {0})")]
    Refused(u64),
    /// No answer, however often it was asked: the stream may have it or not.
    #[error("the stream did not answer")]
    Silent,
}

/// How a turn's enqueueing ended.
pub type Outcome = Result<Enqueued, QueueError>;

/// A turn that was sent to the stream, as often as it takes: by its message's id the stream knows it.
struct Pending {
    turn: QueuedTurn,
    subject: String,
    message_id: String,
    until: Instant,
    again_at: Instant,
}

/// The way in.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    bus: Bus,
    inbox: String,
    next: AtomicU64,
    pending: Mutex<HashMap<u64, Pending>>,
}

#[derive(Deserialize)]
struct PubAck {
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Pending {
    fn ended(self, outcome: Outcome) -> (QueuedTurn, Outcome) {
        // Under its own id it can only have met itself: an earlier try had come through.
        let itself = outcome == Ok(Enqueued::Duplicate) && self.message_id == self.turn.turn.to_string();
        (self.turn, if itself { Ok(Enqueued::New) } else { outcome })
    }
}

impl Queue {
    /// Starts listening for acknowledgements; `ended` is called once for each turn, and must not wait.
    pub async fn start(
        bus: &Bus,
        ended: impl Fn(&Queue, QueuedTurn, Outcome) + Send + 'static,
    ) -> Result<Self, SubscribeError> {
        let inbox = format!("{}.acks", bus.inbox());
        let mut acks = bus.client.subscribe(format!("{inbox}.*")).await?;
        let inner = Inner { bus: bus.clone(), inbox, next: AtomicU64::new(0), pending: Mutex::default() };
        let queue = Self { inner: Arc::new(inner) };
        let (listener, drain) = (queue.clone(), bus.drain.clone());
        bus.drain.spawn("queue acknowledgements", async move {
            let mut sweep = tokio::time::interval(SWEEP);
            loop {
                tokio::select! {
                    Some(message) = acks.next() => {
                        if let Some((turn, outcome)) = listener.settle(&message) { ended(&listener, turn, outcome) }
                    }
                    _ = sweep.tick() => {
                        for turn in listener.overdue() { ended(&listener, turn, Err(QueueError::Silent)) }
                        for number in listener.due() { listener.send(number).await }
                        if drain.is_draining() && listener.is_idle() { break }
                    }
                    else => break,
                }
            }
        });
        Ok(queue)
    }

    /// Puts a turn into the queue of its conversation. A send that is repeated with its key is told apart by the stream.
    pub async fn put(&self, turn: QueuedTurn) {
        let subject = subject::turn_queue(turn.user, turn.conversation);
        let id = match &turn.idempotency_key {
            Some(key) => format!("{}/{}/{key}", turn.user, turn.conversation),
            None => turn.turn.to_string(),
        };
        self.publish(subject, &id, turn).await;
    }

    /// Puts a repeated send behind the first one, to be answered with the same outcome, whatever the conversation's bound.
    pub async fn repeat(&self, partition: u16, turn: QueuedTurn) {
        let subject = subject::turn_repeat(partition, turn.user, turn.conversation, turn.turn);
        let id = turn.turn.to_string();
        self.publish(subject, &id, turn).await;
    }

    async fn publish(&self, subject: String, message_id: &str, turn: QueuedTurn) {
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        // With too many waiting the next sweep answers for it.
        let patience = if self.lock().len() < PENDING_MAX { PATIENCE } else { Duration::ZERO };
        let (until, message_id) = (now + patience, message_id.to_owned());
        self.lock().insert(number, Pending { turn, subject, message_id, until, again_at: now });
        if !patience.is_zero() {
            self.send(number).await;
        }
    }

    /// Sends it, for the first time or again.
    async fn send(&self, number: u64) {
        let (subject, headers, body) = {
            let mut pending = self.lock();
            let Some(pending) = pending.get_mut(&number) else { return };
            pending.again_at = Instant::now() + ACK_TIMEOUT;
            let headers = headers(&pending.turn, &pending.message_id);
            (pending.subject.clone(), headers, pending.turn.body.clone())
        };
        let (client, reply) = (&self.inner.bus.client, format!("{}.{number}", self.inner.inbox));
        if let Err(error) = client.publish_with_reply_and_headers(subject, reply, headers, body).await {
            // The sweep answers for it.
            tracing::warn!(%error, "a turn was not sent to the queue");
        }
    }

    fn settle(&self, message: &Message) -> Option<(QueuedTurn, Outcome)> {
        let number: u64 = message.subject.rsplit('.').next()?.parse().ok()?;
        let mut pending = self.lock();
        match read_ack(message) {
            Some(outcome) => Some(pending.remove(&number)?.ended(outcome)),
            None => {
                pending.get_mut(&number)?.again_at = Instant::now() + AGAIN;
                None
            }
        }
    }

    /// Those that the stream has had time enough for.
    fn overdue(&self) -> Vec<QueuedTurn> {
        let now = Instant::now();
        self.lock().extract_if(|_, pending| pending.until <= now).map(|(_, pending)| pending.turn).collect()
    }

    /// Those to send again.
    fn due(&self) -> Vec<u64> {
        let now = Instant::now();
        self.lock().iter().filter(|(_, pending)| pending.again_at <= now).map(|(number, _)| *number).collect()
    }

    fn is_idle(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Pending>> {
        self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn headers(turn: &QueuedTurn, message_id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
    headers.insert(header::TURN, turn.turn.to_string());
    headers.insert(header::REPLY, turn.reply_to.subject());
    headers.insert(header::CONTENT_TYPE, turn.encoding.media_type());
    headers.insert(header::ACCEPT, turn.reply_to.encoding().media_type());
    if let Some(key) = &turn.idempotency_key {
        headers.insert(header::IDEMPOTENCY_KEY, key.as_str());
    }
    if let Some(wants) = turn.reply_to.wants().value() {
        headers.insert(header::STREAM, wants);
    }
    write_standing(&mut headers, turn.reply_to.standing());
    turn.context.clone().into_headers(&mut headers);
    headers
}

/// None if the stream can say nothing just now: nobody leads it, or the same message is on its way into it.
fn read_ack(message: &Message) -> Option<Outcome> {
    if message.status.is_some_and(|status| status == async_nats::StatusCode::NO_RESPONDERS) {
        return None;
    }
    match serde_json::from_slice::<PubAck>(&message.payload) {
        Ok(PubAck { error: Some(ApiError { err_code: NO_LEADER | BEING_STORED, .. }), .. }) => None,
        Ok(PubAck { error: Some(ApiError { err_code: FULL, description }), .. }) => {
            Some(Err(if description.contains(OF_SUBJECT) { QueueError::Full } else { QueueError::AllFull }))
        }
        Ok(PubAck { error: Some(error), .. }) => Some(Err(QueueError::Refused(error.err_code))),
        Ok(PubAck { duplicate: true, .. }) => Some(Ok(Enqueued::Duplicate)),
        Ok(_) => Some(Ok(Enqueued::New)),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_meets_itself_is_new_and_one_that_meets_another_is_not() {
        let (user, now) = (UserId::new(), Instant::now());
        let turn = QueuedTurn {
            turn: TurnId::new(),
            user,
            conversation: ConversationId::new(),
            idempotency_key: None,
            ensure: false,
            reply_to: ReplyTo::checked(&format!("_INBOX.{user}.1"), Some(user), Encoding::default()).unwrap(),
            encoding: Encoding::default(),
            context: Context::default(),
            body: Bytes::new(),
        };
        for (message_id, expected) in
            [(turn.turn.to_string(), Enqueued::New), ("a key".into(), Enqueued::Duplicate)]
        {
            let (turn, subject) = (turn.clone(), String::new());
            let pending = Pending { turn, subject, message_id, until: now, again_at: now };
            assert_eq!(pending.ended(Ok(Enqueued::Duplicate)).1, Ok(expected));
        }
    }
}
