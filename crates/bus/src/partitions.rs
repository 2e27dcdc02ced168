//! The owner's way out of the stream: one pinned consumer per partition.
//!
//! Taking a partition over resets its consumer, so that all unacknowledged turns come again, in order, before any newer
//! one. Without the reset they would come only after the acknowledgement timeout, behind newer turns of the same
//! conversation. The server pins the consumer to one client and numbers its deliveries; a gap in the numbers means that a
//! delivery was lost, or went to somebody else, so the consumer is reset again.

use std::time::Duration;

use async_nats::jetstream::{
    self,
    consumer::{PullConsumer, pull},
    context::ContextBuilder,
    stream::Stream,
};
use futures::StreamExt;
use tokio::sync::watch;

use crate::{
    Bus, Delivery,
    provision::{ProvisionError, consumer_name, partitions, patiently},
};

pub(crate) const STREAM: &str = "TURNS";
const GROUP: &str = "owner";
/// Half the consumers' `priority_timeout`, so that the pin is kept.
const PULL_EXPIRES: Duration = Duration::from_millis(2500);
const PULL_HEARTBEAT: Duration = Duration::from_secs(1);
const PULL_MESSAGES: usize = 100;
/// For an answer about a consumer. One whose node is gone has none until another node leads it, and is asked again.
const ANSWER: Duration = Duration::from_secs(1);

/// The partitions of the stream of turns.
#[derive(Clone)]
pub struct Partitions {
    bus: Bus,
    stream: Stream<()>,
    count: u16,
}

/// What the stream holds of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Turns that were delivered and have no outcome yet.
    pub in_hand: usize,
    /// Turns that were not delivered yet.
    pub waiting: u64,
}

/// Why a partition gives no deliveries.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The stream is not there, or not as it should be.
    #[error("stream TURNS: {0}")]
    Stream(#[from] ProvisionError),
    /// The stream was not provisioned.
    #[error("there is no stream TURNS: run `omnichat provision`")]
    Missing,
    /// The server gave an error, or stopped sending; take the partition again.
    #[error("the consumer of partition {partition} is gone: {reason}")]
    Lost {
        /// Which.
        partition: u16,
        /// What the client library says.
        reason: String,
    },
}

impl Partitions {
    /// Looks at the stream, which must have been provisioned.
    pub async fn open(bus: &Bus) -> Result<Self, PartitionError> {
        let request = format!("STREAM.INFO.{STREAM}");
        let config = patiently(|| bus.find(&request)).await?.ok_or(PartitionError::Missing)?;
        let count = partitions(&config).ok_or(PartitionError::Missing)?;
        let context = ContextBuilder::new().timeout(ANSWER).build(bus.client.clone());
        let stream = context.get_stream_no_info(STREAM).await.map_err(|_| PartitionError::Missing)?;
        Ok(Self { bus: bus.clone(), stream, count })
    }

    /// How many there are, as the stream was provisioned.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Whether the stream is there; for readiness.
    pub async fn check(&self) -> Result<String, String> {
        match self.bus.find(&format!("STREAM.INFO.{STREAM}")).await {
            Ok(Some(_)) => Ok(format!("{} partitions", self.count)),
            Ok(None) => Err("stream TURNS is missing: run `omnichat provision`".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes the deliveries of a partition, from the first unacknowledged turn on. Whoever calls this owns the partition by
    /// Postgres's word.
    ///
    /// If the owner before may still be `asking` for deliveries, the consumer is made anew: a worker that hangs has a
    /// request waiting at the server, which would be served before ours, and keep the pin for seconds.
    pub async fn take(&self, partition: u16, asking: bool) -> Result<Deliveries, PartitionError> {
        let lost =
            |error: &dyn std::fmt::Display| PartitionError::Lost { partition, reason: error.to_string() };
        let name = consumer_name(partition);
        if asking {
            // Fails when there is none: then it is made below.
            let _ = self.stream.delete_consumer(&name).await;
        }
        let consumer = self.consumer(&name).await.map_err(|error| lost(&error))?;
        // Fails when nobody held the pin.
        let _ = self.stream.unpin_consumer(&name, GROUP).await;
        self.stream.reset_consumer(&name, None).await.map_err(|error| lost(&error))?;
        let messages = consumer
            .stream()
            .group(GROUP)
            .max_messages_per_batch(PULL_MESSAGES)
            .expires(PULL_EXPIRES)
            .heartbeat(PULL_HEARTBEAT)
            .messages()
            .await
            .map_err(|error| lost(&error))?;
        let mut reconnects = self.bus.reconnects.clone();
        reconnects.mark_unchanged();
        Ok(Deliveries { partitions: self.clone(), partition, messages, reconnects, last: 0, skipping: false })
    }

    /// Lets the server serve the next owner at once. The deliveries must have been dropped before.
    pub async fn release(&self, partition: u16) {
        // Fails when nobody holds the pin.
        let _ = self.stream.unpin_consumer(&consumer_name(partition), GROUP).await;
    }

    /// How many turns of a partition have been delivered and have no outcome yet, and how many were not delivered. None
    /// when there is no such consumer.
    pub async fn backlog(&self, partition: u16) -> Option<Backlog> {
        let consumer = self.stream.get_consumer::<pull::Config>(&consumer_name(partition)).await.ok()?;
        let info = consumer.cached_info();
        Some(Backlog { in_hand: info.num_ack_pending, waiting: info.num_pending })
    }

    async fn consumer(&self, name: &str) -> Result<PullConsumer, PartitionError> {
        let lost =
            |error: &dyn std::fmt::Display| PartitionError::Lost { partition: 0, reason: error.to_string() };
        match self.stream.get_consumer::<pull::Config>(name).await {
            Ok(consumer) => Ok(consumer),
            // A consumer whose node is gone is there, and another node will lead it.
            Err(error) => match self.bus.find(&format!("CONSUMER.INFO.{STREAM}.{name}")).await {
                Ok(None) => {
                    tracing::info!(consumer = name, "making the consumer anew");
                    self.bus.restore_consumer(STREAM, name).await?;
                    self.stream.get_consumer(name).await.map_err(|error| lost(&error))
                }
                _ => Err(lost(&error)),
            },
        }
    }
}

/// The deliveries of one partition, in order.
pub struct Deliveries {
    partitions: Partitions,
    partition: u16,
    messages: pull::Stream,
    reconnects: watch::Receiver<u64>,
    /// The consumer's number of the last delivery; 0 after a reset.
    last: u64,
    /// Between a reset and the first delivery after it.
    skipping: bool,
}

impl Deliveries {
    /// The next turn. It must be called again soon (within 2.5 s): the pin is kept only while this is being polled.
    pub async fn next(&mut self) -> Result<Delivery, PartitionError> {
        let partition = self.partition;
        let lost = |reason: String| PartitionError::Lost { partition, reason };
        loop {
            let message = tokio::select! {
                message = self.messages.next() => message,
                // What was sent into the old connection would come again only after the acknowledgement timeout.
                _ = self.reconnects.changed() => return Err(lost("the connection was made anew".into())),
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(lost(error.to_string())),
                None => return Err(lost("the stream of deliveries ended".into())),
            };
            let sequence = message.info().map_err(|error| lost(error.to_string()))?.consumer_sequence;
            if !self.admits(sequence).await? {
                continue;
            }
            match Delivery::read(&self.partitions.bus.client, &message.message) {
                Some(delivery) => return Ok(delivery),
                None => {
                    tracing::warn!(partition, "dropped a message of the stream that is no turn of ours");
                    metrics::counter!("omnichat_foreign_messages_total").increment(1);
                    let _ = message.ack_with(jetstream::AckKind::Term).await;
                }
            }
        }
    }

    /// Whether a delivery is the one after the last. The consumer numbers its deliveries, also those that were lost on the
    /// way, or that another client had while the pin was elsewhere: after a gap it is reset, and begins again at 1.
    async fn admits(&mut self, sequence: u64) -> Result<bool, PartitionError> {
        if self.skipping && sequence != 1 {
            return Ok(false);
        }
        if sequence == self.last + 1 {
            self.last = sequence;
            self.skipping = false;
            return Ok(true);
        }
        let (partition, last) = (self.partition, self.last);
        tracing::info!(partition, last, sequence, "deliveries were lost on the way; having them come again");
        self.partitions
            .stream
            .reset_consumer(&consumer_name(partition), None)
            .await
            .map_err(|error| PartitionError::Lost { partition, reason: error.to_string() })?;
        self.last = 0;
        self.skipping = true;
        Ok(false)
    }
}
