//! One partition: takes its deliveries from the stream and hands each to its conversation, which it starts when needed.
//!
//! The partition is the only one who sends deliveries to a conversation, so a conversation that has nothing left to do asks
//! here before it leaves: it is stopped only if nothing was sent to it meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bus::{Claim, Claims, Delivery, Partitions};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::timeout,
};
use wire::ConversationId;

use crate::{
    conversation::{self, Conversation},
    holdings::Hold,
    intake::Intake,
    model::Ownership,
    residents::{Recency, Resident},
    resources::Resources,
    worker,
};

/// Before what a conversation had in hand that failed, and may fail again, is taken up again.
const RECOVERY: Duration = Duration::from_secs(1);
/// For the intake to let go of the stream; it does nothing that takes time.
const LET_GO: Duration = Duration::from_millis(500);

/// For one that comes, when there are too many conversations in memory.
const ASKED_TO_LEAVE: usize = 2;

/// For claims that were under way when the partition was let go of.
const LAST_CLAIMS: Duration = Duration::from_millis(50);

/// The actor of one partition.
pub struct Partition;

/// What a partition hears.
pub enum Message {
    /// From the intake: other workers can say that they are to have the partition.
    Listening(Box<Claims>),
    /// From the intake: the partition is ours by this right.
    Taken(Ownership),
    /// From the intake: a turn.
    Delivered(Box<Delivery>),
    /// From above: this conversation has open turns; start it, and it will go on with them.
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
    /// A later owner is known to Postgres.
    Fenced,
    /// Take up again what a failed conversation had in hand.
    Recover(ConversationId),
    /// This other worker is to have the partition.
    Claimed(String),
    /// From above: take nothing more, let finish what runs, then stop. What still runs after `within` is left to the next
    /// owner, who runs it again.
    Release {
        /// None: as long as it takes.
        within: Option<Duration>,
    },
    /// The time for what runs is over.
    Overdue,
}

/// What it is made of.
pub struct Arguments {
    /// Shared by all actors.
    pub resources: Arc<Resources>,
    /// The stream.
    pub partitions: Partitions,
    /// Which partition.
    pub number: u16,
    /// Who started it.
    pub worker: ActorRef<worker::Message>,
}

/// What it knows.
pub struct State {
    resources: Arc<Resources>,
    partitions: Partitions,
    number: u16,
    worker: ActorRef<worker::Message>,
    /// Ends the intake when it is dropped.
    intake: Option<oneshot::Sender<()>>,
    intake_ended: Option<JoinHandle<()>>,
    /// When it is dropped, who claims the partition is told that it is free.
    listening: Option<oneshot::Sender<()>>,
    again: Arc<Notify>,
    ownership: Option<Ownership>,
    hold: Option<Hold>,
    conversations: HashMap<ConversationId, Child>,
    recency: Recency,
    names: HashMap<ActorId, ConversationId>,
    /// How often the actor of a conversation failed since it last came through.
    failures: HashMap<ConversationId, u8>,
    releasing: bool,
    fenced: bool,
}

struct Child {
    actor: ActorRef<conversation::Message>,
    delivered: u64,
    last_use: u64,
    _resident: Resident,
}

impl Actor for Partition {
    type Msg = Message;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Message>, of: Arguments) -> Result<State, ActorProcessingErr> {
        // Dropped with the state, however this actor ends: then the intake ends too.
        let (intake, ended) = oneshot::channel();
        let again = Arc::new(Notify::new());
        let task = Intake {
            resources: of.resources.clone(),
            partitions: of.partitions.clone(),
            number: of.number,
            partition: myself,
            again: again.clone(),
        };
        let intake_ended = of.resources.drain.spawn("partition intake", async move {
            tokio::select! {
                _ = ended => {}
                () = task.run() => {}
            }
        });
        Ok(State {
            resources: of.resources,
            partitions: of.partitions,
            number: of.number,
            worker: of.worker,
            intake: Some(intake),
            intake_ended: Some(intake_ended),
            listening: None,
            again,
            ownership: None,
            hold: None,
            conversations: HashMap::new(),
            recency: Recency::default(),
            names: HashMap::new(),
            failures: HashMap::new(),
            releasing: false,
            fenced: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Listening(claims) => state.listen(&myself, *claims),
            Message::Taken(ownership) => state.taken(ownership)?,
            Message::Delivered(delivery) => state.deliver(&myself, delivery).await?,
            Message::Wake(conversation) => {
                state.conversation(&myself, conversation).await?;
            }
            Message::Idle { conversation, delivered } => state.let_go(conversation, delivered),
            Message::Recovered(conversation) => drop(state.failures.remove(&conversation)),
            Message::Fenced => state.let_all_go(&myself),
            Message::Recover(conversation) => {
                // What the stream still has comes again; what it has lost, Postgres knows.
                state.again.notify_one();
                state.conversation(&myself, conversation).await?;
            }
            Message::Claimed(worker) => state.claimed(&myself, &worker),
            Message::Release { within } => state.release(&myself, within),
            Message::Overdue => state.overdue(&myself),
        }
        Ok(())
    }

    /// A conversation has ended. If it failed, what it had in hand is taken up again.
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
                let conversation = state.forget(actor.get_id());
                let named = conversation.map(|id| id.to_string());
                tracing::error!(%error, conversation = named, "a conversation failed; its turns will be taken up again");
                if let Some(conversation) = conversation {
                    let failures = state.failures.entry(conversation).or_default();
                    *failures = failures.saturating_add(1);
                    myself.send_after(RECOVERY, move || Message::Recover(conversation));
                }
            }
            _ => {}
        }
        state.stop_if_released(&myself);
        Ok(())
    }

    /// Lets go of everything, and only then tells those who wait for it.
    async fn post_stop(&self, _: ActorRef<Message>, state: &mut State) -> Result<(), ActorProcessingErr> {
        for child in state.conversations.values() {
            child.actor.kill();
        }
        state.intake = None;
        if let Some(ended) = state.intake_ended.take() {
            let _ = timeout(LET_GO, ended).await;
        }
        if state.ownership.is_some() && !state.fenced {
            state.partitions.release(state.number).await;
        }
        state.hold = None;
        state.listening = None;
        Ok(())
    }
}

impl State {
    fn listen(&mut self, myself: &ActorRef<Message>, claims: Claims) {
        let (listening, ended) = oneshot::channel();
        self.listening = Some(listening);
        self.resources.drain.spawn("partition claims", hear(claims, myself.clone(), ended));
    }

    fn taken(&mut self, ownership: Ownership) -> Result<(), ActorProcessingErr> {
        self.ownership = Some(ownership);
        self.hold = Some(self.resources.holdings.hold(self.number, ownership.epoch));
        self.worker.cast(worker::Message::Taken(self.number))?;
        Ok(())
    }

    async fn deliver(
        &mut self,
        myself: &ActorRef<Message>,
        delivery: Box<Delivery>,
    ) -> Result<(), ActorProcessingErr> {
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
        let Some(ownership) = self.ownership.filter(|_| !self.releasing) else { return Ok(None) };
        if let Some(child) = self.conversations.get_mut(&id) {
            child.last_use = self.recency.touch(id, Some(child.last_use));
        } else {
            let resources = self.resources.clone();
            let failures = self.failures.get(&id).copied().unwrap_or_default();
            let partition = myself.clone();
            let arguments = conversation::Arguments { resources, id, ownership, partition, failures };
            let (actor, _) = Actor::spawn_linked(None, Conversation, arguments, myself.get_cell()).await?;
            self.names.insert(actor.get_id(), id);
            let (last_use, resident) = (self.recency.touch(id, None), self.resources.residents.enter());
            self.conversations.insert(id, Child { actor, delivered: 0, last_use, _resident: resident });
            self.count();
            self.make_room(id);
        }
        Ok(self.conversations.get_mut(&id))
    }

    /// Asks those that were used longest ago to leave, if the newcomer is one too many.
    fn make_room(&mut self, newcomer: ConversationId) {
        for _ in 0..self.resources.residents.excess().min(ASKED_TO_LEAVE) {
            let Some(oldest) = self.recency.oldest().filter(|oldest| *oldest != newcomer) else { return };
            let Some(child) = self.conversations.get_mut(&oldest) else { return };
            child.last_use = self.recency.touch(oldest, Some(child.last_use));
            let _ = child.actor.cast(conversation::Message::MakeRoom);
        }
    }

    fn let_go(&mut self, id: ConversationId, delivered: u64) {
        if self.conversations.get(&id).is_some_and(|child| child.delivered == delivered)
            && let Some(child) = self.conversations.remove(&id)
        {
            self.recency.forget(child.last_use);
            self.names.remove(&child.actor.get_id());
            self.failures.remove(&id);
            child.actor.stop(Some("idle".into()));
            self.count();
        }
    }

    fn forget(&mut self, actor: ActorId) -> Option<ConversationId> {
        let id = self.names.remove(&actor)?;
        if let Some(child) = self.conversations.remove(&id) {
            self.recency.forget(child.last_use);
        }
        self.count();
        Some(id)
    }

    fn count(&self) {
        if let Some(hold) = &self.hold {
            hold.conversations.store(self.conversations.len(), Ordering::Relaxed);
        }
    }

    fn claimed(&mut self, myself: &ActorRef<Message>, worker: &str) {
        tracing::info!(partition = self.number, to = worker, "handing the partition over");
        self.release(myself, Some(self.resources.config.hand_over()));
    }

    fn release(&mut self, myself: &ActorRef<Message>, within: Option<Duration>) {
        if let Some(within) = within {
            myself.send_after(within, || Message::Overdue);
        }
        if !self.releasing {
            self.releasing = true;
            self.intake = None;
            for child in self.conversations.values() {
                let _ = child.actor.cast(conversation::Message::Drain);
            }
        }
        self.stop_if_released(myself);
    }

    fn overdue(&self, myself: &ActorRef<Message>) {
        let conversations = self.conversations.len();
        tracing::info!(partition = self.number, conversations, "leaving what still runs to the next owner");
        myself.stop(Some("overdue".into()));
    }

    /// The partition has a later owner: nothing here may write any more.
    fn let_all_go(&mut self, myself: &ActorRef<Message>) {
        if let Some(Ownership { partition, epoch }) = self.ownership.filter(|_| !self.fenced) {
            tracing::warn!(partition, epoch, "the partition has a later owner");
        }
        self.fenced = true;
        myself.stop(Some("fenced".into()));
    }

    fn stop_if_released(&self, myself: &ActorRef<Message>) {
        if self.releasing && self.conversations.is_empty() {
            myself.stop(Some("released".into()));
        }
    }
}

/// Passes claims on, and answers them when the partition is let go of; also those that come at the last moment, as who waits
/// for an answer in vain waits for long.
async fn hear(mut claims: Claims, partition: ActorRef<Message>, mut released: oneshot::Receiver<()>) {
    let mut waiting: Vec<Claim> = Vec::new();
    loop {
        tokio::select! {
            _ = &mut released => break,
            Some(claim) = claims.next() => {
                // Fails if the actor has ended: then the claim is answered in a moment.
                let _ = partition.cast(Message::Claimed(claim.worker.clone()));
                waiting.push(claim);
            }
            else => break,
        }
    }
    for claim in waiting {
        claim.released().await;
    }
    while let Ok(Some(claim)) = timeout(LAST_CLAIMS, claims.next()).await {
        claim.released().await;
    }
}
