//! A turn, delivered to the owner of its partition.

use async_nats::{Client, HeaderMap, Message, Subject};
use bytes::Bytes;
use wire::{ConversationId, Encoding, TurnId, UserId, header};

use crate::{
    Context, ReplyTo,
    reply::{Wants, read_standing},
};

/// A turn from the queue.
#[derive(Debug)]
pub struct Delivery {
    /// The id that the front gave it.
    pub turn: TurnId,
    /// Whose it is.
    pub user: UserId,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// Sends with the same key are the same turn.
    pub idempotency_key: Option<String>,
    /// Where its outcome goes.
    pub reply_to: ReplyTo,
    /// The encoding of the body.
    pub encoding: Encoding,
    /// Its names.
    pub context: Context,
    /// The body, as the front checked it.
    pub body: Bytes,
    /// To acknowledge it by.
    pub ack: AckHandle,
}

/// Takes a turn off the queue, or keeps it there.
#[derive(Debug, Clone)]
pub struct AckHandle {
    client: Client,
    subject: Subject,
}

impl AckHandle {
    /// The outcome is stored: the stream may forget the turn. A lost acknowledgement only brings the turn once more.
    pub async fn done(&self) {
        self.send("+ACK").await;
    }

    /// The turn is still being worked on.
    pub async fn in_progress(&self) {
        self.send("+WPI").await;
    }

    async fn send(&self, kind: &'static str) {
        if let Err(error) =
            self.client.publish(self.subject.clone(), Bytes::from_static(kind.as_bytes())).await
        {
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }
}

impl Delivery {
    /// Reads a message of the stream. None for what no front of ours has put there.
    pub(crate) fn read(client: &Client, message: &Message) -> Option<Self> {
        let headers = message.headers.as_ref()?;
        let mut tokens = message.subject.split('.').skip(4);
        let user: UserId = tokens.next()?.parse().ok()?;
        let conversation = tokens.next()?.parse().ok()?;
        let answer_in = text(headers, header::ACCEPT).and_then(Encoding::named).unwrap_or_default();
        Some(Self {
            turn: text(headers, header::TURN)?.parse().ok()?,
            user,
            conversation,
            idempotency_key: text(headers, header::IDEMPOTENCY_KEY).map(str::to_owned),
            reply_to: ReplyTo::checked(text(headers, header::REPLY)?, Some(user), answer_in)?
                .wanting(Wants::parse(text(headers, header::STREAM)).unwrap_or_default())
                .with_standing(read_standing(headers)),
            encoding: text(headers, header::CONTENT_TYPE).and_then(Encoding::named).unwrap_or_default(),
            context: Context::from_headers(Some(headers)),
            ack: AckHandle { client: client.clone(), subject: message.reply.clone()? },
            body: message.payload.clone(),
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(name).map(|value| value.as_str())
}
