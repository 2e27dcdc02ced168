//! The front endpoint of a send: checks it, and puts it into the stream of turns. It answers only faults; the outcome comes
//! from the owner of the conversation's partition.
//!
//! Why a front: a request published straight to a stream is answered by the stream itself, and its reply subject is lost.

use std::{sync::Arc, time::Instant};

use bus::{Enqueued, Incoming, Queue, QueueError, QueuedTurn};
use wire::{Fault, FaultCode, SendMessage, TurnId, operations};

use crate::{error::Error, resources::Resources};

/// Starts taking sends.
pub async fn start(resources: &Arc<Resources>, partitions: u16) -> Result<(), bus::SubscribeError> {
    let shared = resources.clone();
    let queue = Queue::start(&resources.bus, move |queue, turn, outcome| {
        let (queue, shared) = (queue.clone(), shared.clone());
        match outcome {
            Ok(Enqueued::New) => {}
            // The first send with this key is in the queue, or was: this one asks its owner for the same outcome.
            Ok(Enqueued::Duplicate) => {
                let partition = wire::subject::partition_of(turn.conversation, partitions);
                shared
                    .clone()
                    .drain
                    .spawn("repeated send", async move { queue.repeat(partition, turn).await });
            }
            Err(error) => {
                let fault = fault_of(error);
                shared.clone().drain.spawn("refused send", async move {
                    bus::observe(&operations::SEND_MESSAGE.info, Instant::now(), Some(&fault));
                    shared.bus.reply_fault(&turn.reply_to, &fault, &turn.context).await;
                });
            }
        }
    })
    .await?;
    let shared = resources.clone();
    let take = move |incoming: Incoming| {
        let (queue, shared) = (queue.clone(), shared.clone());
        async move {
            match admit(&shared, &incoming) {
                Ok(turn) => queue.put(turn).await,
                Err(fault) => {
                    bus::observe(&operations::SEND_MESSAGE.info, Instant::now(), Some(&fault));
                    shared.bus.reply_fault(&incoming.reply_to, &fault, &incoming.context).await;
                }
            }
        }
    };
    resources.bus.subscribe_operation(&operations::SEND_MESSAGE.info, take).await
}

/// Checks all that can be checked without looking anything up.
fn admit(resources: &Resources, incoming: &Incoming) -> Result<QueuedTurn, Fault> {
    let request: SendMessage = incoming.decode()?;
    check_model(resources, request.model.as_deref())?;
    Ok(QueuedTurn {
        turn: TurnId::new(),
        user: incoming.caller()?.user(),
        conversation: incoming.path.id()?,
        idempotency_key: incoming.idempotency_key()?,
        reply_to: incoming.reply_to.clone(),
        encoding: incoming.encoding()?,
        context: incoming.context.clone(),
        body: incoming.body.clone(),
    })
}

/// Refuses a model that is not configured, by the nearest names.
pub(crate) fn check_model(resources: &Resources, model: Option<&str>) -> Result<(), Fault> {
    match model {
        Some(model) if !resources.gateway.knows(model) => {
            let known: Vec<_> = resources.gateway.models().take(5).collect();
            let message = format!("There is no model {model:?}; there is {}", known.join(", "));
            Err(Fault::because(FaultCode::UnknownModel, message))
        }
        _ => Ok(()),
    }
}

fn fault_of(error: QueueError) -> Fault {
    match error {
        QueueError::Full => Fault::new(FaultCode::ConversationBusy).retry_after(2),
        QueueError::Refused(_) => FaultCode::Overloaded.into(),
        QueueError::Silent => FaultCode::Unavailable.into(),
    }
}

/// Refused, for the service's methods.
impl From<FaultCode> for Error {
    fn from(code: FaultCode) -> Self {
        Self::Refused(code.into())
    }
}
