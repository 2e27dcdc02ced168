//! The front endpoint of a send: checks it, and puts it into the stream of turns. It answers only faults; the outcome comes
//! from the owner of the conversation's partition.
//!
//! Why a front: a request published straight to a stream is answered by the stream itself, and its reply subject is lost.

use std::{sync::Arc, time::Instant};

use bus::{Enqueued, Incoming, Queue, QueueError, QueuedTurn, ReplyTo};
use host::{
    limit::{Excess, RateLimit},
    share::Full,
};
use wire::{
    Fault, FaultCode, SendMessage, TurnId, UserId,
    limit::{RUNNING_TURNS, RUNNING_TURNS_PER_USER, TURNS},
    operations,
};

use crate::{config::Limits, error::Error, resources::Resources};

/// When a turn that runs may have ended, in seconds.
const SOON_S: u32 = 2;

/// Starts taking sends.
pub async fn start(
    resources: &Arc<Resources>,
    limits: &Limits,
    partitions: u16,
) -> Result<(), bus::SubscribeError> {
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
    let rate = Arc::new(RateLimit::new(TURNS.name, limits.turns_per_user_per_min));
    let take = move |mut incoming: Incoming| {
        let (queue, shared, rate) = (queue.clone(), shared.clone(), rate.clone());
        async move {
            match admit(&shared, rate.as_ref().as_ref(), &mut incoming) {
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

/// Checks all that can be checked without looking anything up. Only what could become a turn counts.
fn admit(
    resources: &Resources,
    rate: Option<&RateLimit<UserId>>,
    incoming: &mut Incoming,
) -> Result<QueuedTurn, Fault> {
    let request: SendMessage = incoming.decode()?;
    check_model(resources, request.model.as_deref())?;
    let mut turn = QueuedTurn {
        turn: TurnId::new(),
        user: incoming.caller()?.user(),
        conversation: incoming.path.id()?,
        idempotency_key: incoming.idempotency_key()?,
        reply_to: incoming.reply_to.clone(),
        encoding: incoming.encoding()?,
        context: incoming.context.clone(),
        body: incoming.body.clone(),
    };
    check_room(resources, turn.user)?;
    if let Some(rate) = rate {
        turn.reply_to = count(rate, turn.user, incoming)?;
    }
    Ok(turn)
}

/// Refuses what would have to wait for others of the same user, or of anybody.
fn check_room(resources: &Resources, user: UserId) -> Result<(), Fault> {
    resources.running.room(user).map_err(|full| match full {
        Full::Each => {
            host::limit::hit(RUNNING_TURNS_PER_USER.name);
            Fault::because(FaultCode::RateLimited, "Too many turns run at a time").retry_after(SOON_S)
        }
        Full::All => {
            host::limit::hit(RUNNING_TURNS.name);
            Fault::new(FaultCode::Overloaded).retry_after(SOON_S)
        }
    })
}

/// Counts a turn against what its user may send, whichever door it came through. Whatever is answered tells what is left.
fn count(rate: &RateLimit<UserId>, user: UserId, incoming: &mut Incoming) -> Result<ReplyTo, Fault> {
    let taken = rate.take(&user);
    let standing = match &taken {
        Ok(standing) | Err(Excess { standing, .. }) => standing.clone(),
    };
    incoming.reply_to = incoming.reply_to.clone().with_standing(standing.into());
    match taken {
        Ok(_) => Ok(incoming.reply_to.clone()),
        Err(Excess { retry_after_s, .. }) => {
            let fault = Fault::because(FaultCode::RateLimited, "Too many messages in a minute");
            Err(fault.retry_after(retry_after_s))
        }
    }
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
