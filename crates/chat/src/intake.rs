//! How a partition comes to be owned, and what then comes out of the stream.
//!
//! ```text
//! claim ─► (free, handed over, or taken by force) ─► epoch + 1 in Postgres ─► consumer reset ─► deliveries
//!                                                                                ▲               │ lost, gap, reconnect
//!                                                                                └─ still ours? ◄┘
//! ```

use std::{sync::Arc, time::Duration};

use bus::{Asked, Deliveries, Partitions};
use ractor::ActorRef;
use tokio::sync::Notify;

use crate::{model::Ownership, partition::Message, resources::Resources};

/// Before the stream or the database is asked again after an error.
const RETRY: Duration = Duration::from_millis(100);
/// Over the time that the owner before may take to let go.
const MARGIN: Duration = Duration::from_secs(1);

/// Takes the partition, and hands on what the stream delivers.
pub(crate) struct Intake {
    /// Shared by all actors.
    pub resources: Arc<Resources>,
    /// The stream.
    pub partitions: Partitions,
    /// Which partition.
    pub number: u16,
    /// Who is told.
    pub partition: ActorRef<Message>,
    /// Wakes when the stream is to be asked again for what is unacknowledged.
    pub again: Arc<Notify>,
}

/// Why an intake ends.
struct Ended;

impl Intake {
    /// Runs until the partition is gone.
    pub async fn run(self) {
        // The end of the partition's actor, or of its right: nothing is left to do.
        let Err(Ended) = self.take_and_hand_on().await;
    }

    async fn take_and_hand_on(&self) -> Result<std::convert::Infallible, Ended> {
        let asked = self.claim().await;
        self.listen_to_claims().await?;
        let ownership = self.own(asked).await;
        self.tell(Message::Taken(ownership))?;
        let mut asking = asked == Asked::Silent;
        loop {
            match self.partitions.take(self.number, asking).await {
                Ok(deliveries) => {
                    asking = false;
                    self.hand_on(deliveries).await?;
                }
                Err(error) => {
                    tracing::warn!(partition = self.number, %error, "a partition could not be read; trying again");
                }
            }
            tokio::time::sleep(RETRY).await;
            self.still_ours(ownership).await?;
        }
    }

    fn tell(&self, message: Message) -> Result<(), Ended> {
        self.partition.cast(message).map_err(|_| Ended)
    }

    /// Asks the owner, if there is one, to let go.
    async fn claim(&self) -> Asked {
        let patience = self.resources.config.hand_over() + MARGIN;
        match self.resources.bus.claim(self.number, &self.resources.worker, patience).await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(partition = self.number, %error, "the owner could not be asked");
                Asked::Silent
            }
        }
    }

    /// From now on others are answered.
    async fn listen_to_claims(&self) -> Result<(), Ended> {
        match self.resources.bus.claims(self.number, &self.resources.worker).await {
            Ok(claims) => self.tell(Message::Listening(Box::new(claims))),
            Err(error) => {
                tracing::warn!(partition = self.number, %error, "claims cannot be heard; the connection is closed");
                Err(Ended)
            }
        }
    }

    /// Makes the partition ours, in Postgres: the one place that decides.
    async fn own(&self, asked: Asked) -> Ownership {
        let partition = i16::try_from(self.number).unwrap_or(i16::MAX);
        loop {
            match self.resources.store.take_partition(partition, &self.resources.worker).await {
                Ok(ownership) => {
                    let how = asked.name();
                    metrics::counter!("omnichat_partitions_taken_total", "how" => how).increment(1);
                    // At a start everything is free: nothing to tell.
                    if asked == Asked::Free {
                        tracing::debug!(partition, epoch = ownership.epoch, how, "took the partition");
                    } else {
                        tracing::info!(partition, epoch = ownership.epoch, how, "took the partition");
                    }
                    return ownership;
                }
                Err(error) => {
                    tracing::warn!(partition, %error, "a partition could not be taken; trying again");
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Until the stream has to be asked again.
    async fn hand_on(&self, mut deliveries: Deliveries) -> Result<(), Ended> {
        loop {
            let delivery = tokio::select! {
                delivery = deliveries.next() => delivery,
                () = self.again.notified() => return Ok(()),
            };
            match delivery {
                Ok(delivery) => self.tell(Message::Delivered(Box::new(delivery)))?,
                Err(error) => {
                    tracing::warn!(%error, "taking the deliveries again");
                    return Ok(());
                }
            }
        }
    }

    /// A worker that was stopped for a while must not disturb the next owner's consumer.
    async fn still_ours(&self, ownership: Ownership) -> Result<(), Ended> {
        loop {
            match self.resources.store.lost_partitions(&[ownership]).await {
                Ok(lost) if lost.is_empty() => return Ok(()),
                Ok(_) => return self.tell(Message::Fenced).and(Err(Ended)),
                Err(error) => {
                    tracing::warn!(partition = self.number, %error, "the owner cannot be looked up; trying again");
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
