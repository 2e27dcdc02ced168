//! Passing a partition from one live worker to another: the one that is to have it asks, and the one that has it answers
//! twice: that it has heard, and that it is done. If nobody has it the server itself says so.

use std::time::Duration;

use async_nats::{Message, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::{Instant, interval, timeout_at};
use wire::subject;

use crate::{Bus, SubscribeError};

/// A live owner answers within this.
const HEARD: Duration = Duration::from_millis(300);
/// Until then it is asked again: the connection of an owner that hangs is being ended, and then nobody has the partition.
const AGAIN: Duration = Duration::from_millis(75);

const DRAINING: &str = "draining";
const RELEASED: &str = "released";

/// How a worker came to be free to take a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nobody has it.
    Free,
    /// Who had it has let go.
    Released,
    /// Who has it does not answer, or takes too long: it is taken all the same.
    Silent,
}

impl Asked {
    /// For logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Released => "handed_over",
            Self::Silent => "forced",
        }
    }
}

/// A worker that wants a partition, and waits.
pub struct Claim {
    bus: Bus,
    inbox: Subject,
    /// The name of the worker.
    pub worker: String,
}

/// The claims to one partition.
pub struct Claims {
    bus: Bus,
    worker: String,
    subscription: Subscriber,
}

impl Bus {
    /// Asks whoever has a partition to hand it over to `worker`, and waits for it at most `patience`.
    pub async fn claim(
        &self,
        partition: u16,
        worker: &str,
        patience: Duration,
    ) -> Result<Asked, SubscribeError> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await?;
        let asked = Instant::now();
        let (mut heard, mut until) = (false, asked + HEARD);
        let mut again = interval(AGAIN);
        loop {
            tokio::select! {
                _ = again.tick(), if !heard => {
                    let question = worker.to_owned().into();
                    let asked = self.client.publish_with_reply(subject::owner(partition), inbox.clone(), question);
                    if asked.await.is_err() {
                        return Ok(Asked::Silent);
                    }
                }
                answer = timeout_at(until, answers.next()) => match answer {
                    Ok(Some(Message { status: Some(_), .. })) => return Ok(Asked::Free),
                    Ok(Some(answer)) if answer.payload == RELEASED => return Ok(Asked::Released),
                    Ok(Some(_)) => (heard, until) = (true, asked + patience),
                    Ok(None) | Err(_) => return Ok(Asked::Silent),
                }
            }
        }
    }

    /// Listens to the claims of others to a partition that `worker`, this one, has, or is about to have.
    pub async fn claims(&self, partition: u16, worker: &str) -> Result<Claims, SubscribeError> {
        let subscription = self.client.subscribe(subject::owner(partition)).await?;
        Ok(Claims { bus: self.clone(), worker: worker.to_owned(), subscription })
    }
}

impl Claims {
    /// The next claim, which was told that it is heard. None when the connection is closed.
    pub async fn next(&mut self) -> Option<Claim> {
        loop {
            let message = self.subscription.next().await?;
            let worker = String::from_utf8_lossy(&message.payload).into_owned();
            // What this worker had before it was frozen says nothing of the owner of today: its own claim is for that one.
            if let Some(inbox) = message.reply.filter(|_| worker != self.worker) {
                let claim = Claim { bus: self.bus.clone(), inbox, worker };
                claim.say(DRAINING).await;
                return Some(claim);
            }
        }
    }
}

impl Claim {
    /// Tells the worker that the partition is free.
    pub async fn released(self) {
        self.say(RELEASED).await;
    }

    async fn say(&self, what: &'static str) {
        if let Err(error) =
            self.bus.client.publish(self.inbox.clone(), Bytes::from_static(what.as_bytes())).await
        {
            tracing::debug!(%error, what, "a claim was not answered");
        }
    }
}
