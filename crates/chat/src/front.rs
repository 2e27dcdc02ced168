//! The front endpoint of a send, and of asking for another answer: checks it, and puts it into the stream of turns. It answers
//! only faults; the outcome comes from the owner of the conversation's partition.
//!
//! Why a front: a request published straight to a stream is answered by the stream itself, and its reply subject is lost.

use std::{sync::Arc, time::Instant};

use bus::{Enqueued, Incoming, Queue, QueueError, QueuedTurn, ReplyTo, Wants};
use host::{
    limit::{Excess, RateLimit},
    share::Full,
};
use identity::Principal;
use wire::{
    ConversationId, Fault, FaultCode, FieldError, MessageId, OperationInfo, RegenerateTurn, SendMessage,
    TurnEvent, TurnId, UserId,
    limit::{OPEN_TURNS, RUNNING_TURNS, RUNNING_TURNS_PER_USER, TURNS},
    operations,
};

use crate::{config::Limits, error::Error, model::TurnRequest, resources::Resources};

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
            Ok(Enqueued::New) if turn.reply_to.wants() == Wants::Outcome => {}
            Ok(Enqueued::New) => {
                let queued = TurnEvent::Queued;
                shared
                    .clone()
                    .drain
                    .spawn("queued", async move { shared.bus.reply_step(&turn.reply_to, 0, &queued).await });
            }
            Ok(Enqueued::Duplicate) if turn.ensure => {
                shared
                    .clone()
                    .drain
                    .spawn("queued", async move { shared.bus.reply_queued(&turn.reply_to).await });
            }
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
    let front = Front {
        resources: resources.clone(),
        queue,
        rate: Arc::new(RateLimit::new(TURNS.name, limits.turns_per_user_per_min)),
    };
    for operation in [&operations::SEND_MESSAGE.info, &operations::REGENERATE_TURN.info] {
        let front = front.clone();
        let take = move |incoming: Incoming| {
            let front = front.clone();
            async move { front.take(operation, incoming).await }
        };
        resources.bus.subscribe_operation(operation, take).await?;
    }
    Ok(())
}

/// What every turn passes.
#[derive(Clone)]
struct Front {
    resources: Arc<Resources>,
    queue: Queue,
    rate: Arc<Option<RateLimit<UserId>>>,
}

/// What must be looked up before a turn can go into the queue.
enum Wish {
    /// Nothing.
    Plain(ConversationId),
    /// Where a message that begins a branch belongs.
    Branch(ConversationId, MessageId, SendMessage),
    /// The conversation of a turn that is to be answered again.
    Again(TurnId, RegenerateTurn),
}

impl Front {
    async fn take(&self, operation: &'static OperationInfo, mut incoming: Incoming) {
        match self.admit(operation, &mut incoming) {
            Ok((turn, Wish::Plain(_))) => self.queue.put(turn).await,
            // The next one does not wait for Postgres.
            Ok((turn, wish)) => {
                let front = self.clone();
                self.resources.drain.spawn("look up branch", async move {
                    match front.look_up(turn, wish).await {
                        Ok(turn) => front.queue.put(turn).await,
                        Err(fault) => front.refuse(operation, &incoming, fault).await,
                    }
                });
            }
            Err(fault) => self.refuse(operation, &incoming, fault).await,
        }
    }

    async fn refuse(&self, operation: &'static OperationInfo, incoming: &Incoming, fault: Fault) {
        bus::observe(operation, Instant::now(), Some(&fault));
        self.resources.bus.reply_fault(&incoming.reply_to, &fault, &incoming.context).await;
    }

    /// Checks all that can be checked without looking anything up. Only what could become a turn counts.
    fn admit(
        &self,
        operation: &'static OperationInfo,
        incoming: &mut Incoming,
    ) -> Result<(QueuedTurn, Wish), Fault> {
        let wants = incoming.wants()?;
        let wish = if operation.name == operations::SEND_MESSAGE.info.name {
            let send: SendMessage = incoming.decode()?;
            check_model(&self.resources, send.model.as_deref())?;
            check_manner(send.stream, wants)?;
            let conversation = incoming.path.id()?;
            match send.parent_id.flatten() {
                Some(parent) => Wish::Branch(conversation, parent, send),
                None => Wish::Plain(conversation),
            }
        } else {
            let again: RegenerateTurn = incoming.decode()?;
            check_model(&self.resources, again.model.as_deref())?;
            check_manner(again.stream, wants)?;
            Wish::Again(incoming.path.id()?, again)
        };
        let conversation = match &wish {
            Wish::Plain(conversation) | Wish::Branch(conversation, ..) => *conversation,
            // Looked up later.
            Wish::Again(of, _) => of.uuid().into(),
        };
        let mut turn = QueuedTurn {
            turn: TurnId::new(),
            user: incoming.caller()?.user(),
            conversation,
            idempotency_key: incoming.idempotency_key()?,
            ensure: incoming.ensure,
            reply_to: incoming.reply_to.clone(),
            encoding: incoming.encoding()?,
            context: incoming.context.clone(),
            body: incoming.body.clone(),
        };
        check_room(&self.resources, turn.user)?;
        if let Some(rate) = self.rate.as_ref() {
            turn.reply_to = count(rate, turn.user, incoming)?;
        }
        Ok((turn, wish))
    }

    /// Finds out where a branch begins, and writes it into the turn's body. Turns and messages are facts, so it holds.
    async fn look_up(&self, mut turn: QueuedTurn, wish: Wish) -> Result<QueuedTurn, Fault> {
        let store = &self.resources.requests;
        let caller = Principal::authorised_by_broker(turn.user);
        let request = match wish {
            Wish::Plain(_) => return Ok(turn),
            Wish::Branch(conversation, parent, send) => {
                let follows =
                    store.turn_of_message(caller, conversation, parent).await.map_err(Error::from)?;
                if follows.is_none()
                    && store.find_conversation(caller, conversation).await.map_err(Error::from)?.is_none()
                {
                    return Err(FaultCode::ConversationNotFound.into());
                }
                let follows = Some(follows.ok_or(FaultCode::MessageNotFound)?);
                TurnRequest { follows, ..send.into() }
            }
            Wish::Again(of, RegenerateTurn { model, settings, .. }) => {
                let conversation = store.conversation_of(caller, of).await.map_err(Error::from)?;
                turn.conversation = conversation.ok_or(FaultCode::TurnNotFound)?;
                TurnRequest { model, settings, regenerates: Some(of), ..TurnRequest::default() }
            }
        };
        turn.body = turn.encoding.encode(&request).map_err(|_| FaultCode::Internal)?.into();
        Ok(turn)
    }
}

/// Refuses to answer once where steps are expected.
fn check_manner(stream: Option<bool>, wants: Wants) -> Result<(), Fault> {
    if stream == Some(true) && wants == Wants::Outcome {
        let message = "is for HTTP: over NATS ask for steps by the header Oc-Stream";
        let error =
            FieldError { field: "stream".into(), code: "invalid_value".into(), message: message.into() };
        return Err(Fault::invalid(vec![error]));
    }
    Ok(())
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
        QueueError::AllFull => {
            host::limit::hit(OPEN_TURNS.name);
            Fault::new(FaultCode::Overloaded).retry_after(SOON_S)
        }
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
