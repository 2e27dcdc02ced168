//! The root of the chat service's actors: one worker that owns all partitions.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bus::Partitions;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use wire::ConversationId;

use crate::{
    partition::{self, Partition},
    rescue,
    resources::Resources,
};

/// Before a partition that failed is started again.
const RESTART: Duration = Duration::from_secs(1);

/// The actor that owns partitions.
pub struct Worker;

/// What the worker hears.
pub enum Message {
    /// Start this partition.
    Start(u16),
    /// Start this partition, which failed.
    StartAgain(u16),
    /// A conversation has turns without an outcome.
    Wake(u16, ConversationId),
    /// Take nothing more, and stop once nothing runs.
    Drain,
}

/// What it is made of.
pub struct Arguments {
    /// Shared by all actors.
    pub resources: Arc<Resources>,
    /// The stream.
    pub partitions: Partitions,
}

/// What it knows.
pub struct State {
    resources: Arc<Resources>,
    partitions: Partitions,
    running: HashMap<u16, ActorRef<partition::Message>>,
    numbers: HashMap<ActorId, u16>,
    draining: bool,
}

impl Actor for Worker {
    type Msg = Message;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Message>, of: Arguments) -> Result<State, ActorProcessingErr> {
        for number in 0..of.partitions.count() {
            myself.cast(Message::Start(number))?;
        }
        let all = (0..of.partitions.count()).map(|number| i16::try_from(number).unwrap_or(i16::MAX));
        rescue::start(&of.resources, myself, all.collect());
        let (running, numbers) = (HashMap::new(), HashMap::new());
        Ok(State { resources: of.resources, partitions: of.partitions, running, numbers, draining: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Start(number) => state.start(&myself, number).await?,
            Message::StartAgain(number) => {
                state.start(&myself, number).await?;
                rescue::start(&state.resources, myself, vec![i16::try_from(number).unwrap_or(i16::MAX)]);
            }
            Message::Wake(number, conversation) => {
                if let Some(partition) = state.running.get(&number) {
                    // One that is just ending is started again, and then looks by itself.
                    let _ = partition.cast(partition::Message::Wake(conversation));
                }
            }
            Message::Drain => {
                state.draining = true;
                for partition in state.running.values() {
                    let _ = partition.cast(partition::Message::Drain);
                }
                state.stop_if_drained(&myself);
            }
        }
        Ok(())
    }

    /// A failed partition is started again, under a new epoch; one that was fenced belongs to somebody else.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(actor, ..) => drop(state.forget(actor.get_id())),
            SupervisionEvent::ActorFailed(actor, error) => {
                metrics::counter!("omnichat_actor_failures_total", "actor" => "partition").increment(1);
                tracing::error!(%error, "a partition failed; starting it again");
                if let Some(number) = state.forget(actor.get_id()) {
                    myself.send_after(RESTART, move || Message::StartAgain(number));
                }
            }
            _ => {}
        }
        state.stop_if_drained(&myself);
        Ok(())
    }
}

impl State {
    async fn start(&mut self, myself: &ActorRef<Message>, number: u16) -> Result<(), ActorProcessingErr> {
        if self.draining {
            return Ok(());
        }
        let (resources, partitions) = (self.resources.clone(), self.partitions.clone());
        let arguments = partition::Arguments { resources, partitions, number };
        let (actor, _) = Actor::spawn_linked(None, Partition, arguments, myself.get_cell()).await?;
        self.numbers.insert(actor.get_id(), number);
        self.running.insert(number, actor);
        Ok(())
    }

    fn forget(&mut self, actor: ActorId) -> Option<u16> {
        let number = self.numbers.remove(&actor)?;
        self.running.remove(&number);
        Some(number)
    }

    fn stop_if_drained(&self, myself: &ActorRef<Message>) {
        if self.draining && self.running.is_empty() {
            myself.stop(Some("drained".into()));
        }
    }
}
