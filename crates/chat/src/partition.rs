//! One partition: takes its deliveries from the stream and hands each to its conversation, which it starts when needed.
//!
//! The partition is the only one who sends deliveries to a conversation, so a conversation that has nothing left to do asks
//! here before it leaves: it is stopped only if nothing was sent to it meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bus::{Deliveries, Delivery, Partitions};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{Notify, oneshot};
use wire::ConversationId;

use crate::{
    conversation::{self, Conversation},
    model::Ownership,
    resources::Resources,
};

/// Before the stream is asked again after an error.
const RETRY: Duration = Duration::from_millis(250);
/// Before the stream is asked again for what a conversation had in hand that failed, and may fail again.
const RECOVERY: Duration = Duration::from_secs(1);

/// The actor of one partition.
pub struct Partition;

/// What a partition hears.
pub enum Message {
    /// From the intake: the partition is ours by this right.
    Taken(Ownership),
    /// From the intake: a turn.
    Delivered(Box<Delivery>),
    /// From above: this conversation has open turns; start it as soon as the partition is ours, and it will go on with them.
    Wake(ConversationId),
    /// From a conversation: nothing to do, after `delivered` deliveries.
    Idle {
        /// Which one.
        conversation: ConversationId,
        /// How many deliveries it has seen.
        delivered: u64,
    },
    /// From a conversation: it has come through, after its actor had failed.
    Recovered(ConversationId),
    /// From a conversation: a later owner has written.
    Fenced,
    /// Have the stream bring again what a failed conversation had in hand.
    Again,
    /// From above: take nothing more, let finish what runs, then stop.
    Drain,
}

/// What it is made of.
pub struct Arguments {
    /// Shared by all actors.
    pub resources: Arc<Resources>,
    /// The stream.
    pub partitions: Partitions,
    /// Which partition.
    pub number: u16,
}

/// What it knows.
pub struct State {
    resources: Arc<Resources>,
    intake: Option<oneshot::Sender<()>>,
    again: Arc<Notify>,
    ownership: Option<Ownership>,
    woken: Vec<ConversationId>,
    conversations: HashMap<ConversationId, Child>,
    names: HashMap<ActorId, ConversationId>,
    /// How often the actor of a conversation failed since it last came through.
    failures: HashMap<ConversationId, u8>,
    draining: bool,
}

struct Child {
    actor: ActorRef<conversation::Message>,
    delivered: u64,
}

impl Actor for Partition {
    type Msg = Message;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Message>, of: Arguments) -> Result<State, ActorProcessingErr> {
        // Dropped with the state, however this actor ends: then the intake ends too.
        let (intake, ended) = oneshot::channel();
        let again = Arc::new(Notify::new());
        let (resources, task) = (of.resources.clone(), Intake { again: again.clone() });
        of.resources.drain.spawn("partition intake", async move {
            tokio::select! {
                _ = ended => {}
                () = task.run(&resources, &of.partitions, of.number, &myself) => {}
            }
        });
        Ok(State {
            resources: of.resources,
            intake: Some(intake),
            again,
            ownership: None,
            woken: Vec::new(),
            conversations: HashMap::new(),
            names: HashMap::new(),
            failures: HashMap::new(),
            draining: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Taken(ownership) => state.taken(&myself, ownership).await?,
            Message::Delivered(delivery) => state.deliver(&myself, delivery).await?,
            Message::Wake(conversation) if state.ownership.is_none() => state.woken.push(conversation),
            Message::Wake(conversation) => {
                state.conversation(&myself, conversation).await?;
            }
            Message::Idle { conversation, delivered } => state.let_go(conversation, delivered),
            Message::Recovered(conversation) => drop(state.failures.remove(&conversation)),
            Message::Fenced => state.let_all_go(&myself, "fenced"),
            Message::Again => state.again.notify_one(),
            Message::Drain => state.drain(&myself),
        }
        Ok(())
    }

    /// A conversation has ended. If it failed, what it had in hand is unacknowledged: have the stream bring it again.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(actor, ..) => drop(state.forget(actor.get_id())),
            SupervisionEvent::ActorFailed(actor, error) => {
                metrics::counter!("omnichat_actor_failures_total", "actor" => "conversation").increment(1);
                tracing::error!(%error, "a conversation failed; its turns will be delivered again");
                if let Some(conversation) = state.forget(actor.get_id()) {
                    let failures = state.failures.entry(conversation).or_default();
                    *failures = failures.saturating_add(1);
                    // What the stream does not have any more is in Postgres.
                    myself.send_after(RECOVERY, move || Message::Wake(conversation));
                }
                myself.send_after(RECOVERY, || Message::Again);
            }
            _ => {}
        }
        state.stop_if_drained(&myself);
        Ok(())
    }
}

impl State {
    async fn taken(
        &mut self,
        myself: &ActorRef<Message>,
        ownership: Ownership,
    ) -> Result<(), ActorProcessingErr> {
        self.ownership = Some(ownership);
        self.resources.owned.fetch_add(1, Ordering::Relaxed);
        for conversation in std::mem::take(&mut self.woken) {
            self.conversation(myself, conversation).await?;
        }
        Ok(())
    }

    async fn deliver(
        &mut self,
        myself: &ActorRef<Message>,
        delivery: Box<Delivery>,
    ) -> Result<(), ActorProcessingErr> {
        if self.draining {
            return Ok(());
        }
        let Some(child) = self.conversation(myself, delivery.conversation).await? else { return Ok(()) };
        child.delivered += 1;
        // Fails if the conversation has just failed: then its supervision event has the turn delivered again.
        let _ = child.actor.cast(conversation::Message::Deliver(delivery));
        Ok(())
    }

    async fn conversation(
        &mut self,
        myself: &ActorRef<Message>,
        id: ConversationId,
    ) -> Result<Option<&mut Child>, ActorProcessingErr> {
        let Some(ownership) = self.ownership.filter(|_| !self.draining) else { return Ok(None) };
        if !self.conversations.contains_key(&id) {
            let resources = self.resources.clone();
            let failures = self.failures.get(&id).copied().unwrap_or_default();
            let partition = myself.clone();
            let arguments = conversation::Arguments { resources, id, ownership, partition, failures };
            let (actor, _) = Actor::spawn_linked(None, Conversation, arguments, myself.get_cell()).await?;
            self.names.insert(actor.get_id(), id);
            self.conversations.insert(id, Child { actor, delivered: 0 });
        }
        Ok(self.conversations.get_mut(&id))
    }

    fn let_go(&mut self, id: ConversationId, delivered: u64) {
        if self.conversations.get(&id).is_some_and(|child| child.delivered == delivered)
            && let Some(child) = self.conversations.remove(&id)
        {
            self.names.remove(&child.actor.get_id());
            self.failures.remove(&id);
            child.actor.stop(Some("idle".into()));
        }
    }

    fn forget(&mut self, actor: ActorId) -> Option<ConversationId> {
        let id = self.names.remove(&actor)?;
        self.conversations.remove(&id);
        Some(id)
    }

    fn drain(&mut self, myself: &ActorRef<Message>) {
        self.draining = true;
        self.intake = None;
        for child in self.conversations.values() {
            let _ = child.actor.cast(conversation::Message::Drain);
        }
        self.stop_if_drained(myself);
    }

    /// The partition has a later owner: nothing here may write any more.
    fn let_all_go(&mut self, myself: &ActorRef<Message>, reason: &str) {
        if let Some(Ownership { partition, epoch }) = self.ownership {
            tracing::warn!(partition, epoch, "the partition has a later owner");
        }
        myself.stop(Some(reason.into()));
    }

    fn stop_if_drained(&self, myself: &ActorRef<Message>) {
        if self.draining && self.conversations.is_empty() {
            myself.stop(Some("drained".into()));
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.ownership.is_some() {
            self.resources.owned.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Takes the partition, and hands on what the stream delivers.
struct Intake {
    again: Arc<Notify>,
}

impl Intake {
    async fn run(
        &self,
        resources: &Resources,
        partitions: &Partitions,
        number: u16,
        partition: &ActorRef<Message>,
    ) {
        let ownership = self.own(resources, number).await;
        if partition.cast(Message::Taken(ownership)).is_err() {
            return;
        }
        loop {
            match partitions.take(number).await {
                Ok(deliveries) => {
                    if self.hand_on(deliveries, partition).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(partition = number, %error, "a partition could not be read; trying again")
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Makes the partition ours, in Postgres: the one place that decides.
    async fn own(&self, resources: &Resources, number: u16) -> Ownership {
        let partition = i16::try_from(number).unwrap_or(i16::MAX);
        loop {
            match resources.store.take_partition(partition, &resources.worker).await {
                Ok(ownership) => {
                    metrics::counter!("omnichat_partitions_taken_total").increment(1);
                    tracing::debug!(partition, epoch = ownership.epoch, "took the partition");
                    return ownership;
                }
                Err(error) => {
                    tracing::warn!(partition, %error, "a partition could not be taken; trying again")
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Until the stream has to be asked again. Err when the partition is gone.
    async fn hand_on(&self, mut deliveries: Deliveries, partition: &ActorRef<Message>) -> Result<(), ()> {
        loop {
            let delivery = tokio::select! {
                delivery = deliveries.next() => delivery,
                () = self.again.notified() => return Ok(()),
            };
            match delivery {
                Ok(delivery) => partition.cast(Message::Delivered(Box::new(delivery))).map_err(drop)?,
                Err(error) => {
                    tracing::warn!(%error, "taking the deliveries again");
                    return Ok(());
                }
            }
        }
    }
}
