//! The root of the chat service's actors: owns its share of the partitions, as long as it is alive and the others know it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use bus::{Cluster, Partitions};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;
use wire::ConversationId;

use crate::{
    assignment,
    partition::{self, Partition},
    rescue,
    resources::Resources,
};

/// Before a partition that failed is started again.
const RESTART: Duration = Duration::from_secs(1);
/// How often the shares are looked at when nobody comes or goes: a partition may have ended.
const LOOK: Duration = Duration::from_secs(1);
/// By then a worker has heard all others.
const ACQUAINTANCE: Duration = Duration::from_secs(1);
/// Partitions that are taken within this time are searched for open turns together.
const GATHER: Duration = Duration::from_millis(50);

/// The actor that owns partitions.
pub struct Worker;

/// What the worker hears.
pub enum Message {
    /// Time to look who should own what.
    Look,
    /// A partition that failed may be started again.
    Rested(u16),
    /// From a partition: it is ours.
    Taken(u16),
    /// Search the partitions that were taken for open turns.
    Search,
    /// A conversation has turns without an outcome.
    Wake(u16, ConversationId),
    /// A partition has a later owner.
    Lost(u16),
    /// Take nothing more, hand over what there is, and stop.
    Drain,
}

/// What it is made of.
pub struct Arguments {
    /// Shared by all actors.
    pub resources: Arc<Resources>,
    /// The stream.
    pub partitions: Partitions,
    /// The other workers.
    pub cluster: Cluster,
}

/// What it knows.
pub struct State {
    resources: Arc<Resources>,
    partitions: Partitions,
    cluster: Cluster,
    members: watch::Receiver<Vec<String>>,
    running: HashMap<u16, ActorRef<partition::Message>>,
    numbers: HashMap<ActorId, u16>,
    /// Those that failed a moment ago.
    resting: BTreeSet<u16>,
    /// Those that were taken, and not searched for open turns yet.
    taken: Vec<i16>,
    draining: bool,
    since: Instant,
}

impl Actor for Worker {
    type Msg = Message;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Message>, of: Arguments) -> Result<State, ActorProcessingErr> {
        let mut members = of.cluster.members();
        let (watched, drain) = (myself.clone(), of.resources.drain.clone());
        of.resources.drain.spawn("cluster watch", async move {
            loop {
                tokio::select! {
                    changed = members.changed() => if changed.is_err() || watched.cast(Message::Look).is_err() { break },
                    // From then on the look of every second will do.
                    () = drain.draining() => break,
                }
            }
        });
        myself.send_interval(LOOK, || Message::Look);
        myself.cast(Message::Look)?;
        rescue::watch(&of.resources, myself);
        // Until then it may take itself for the only one, and the limits of the providers for its own.
        of.resources.gateway.divide(0);
        let members = of.cluster.members();
        let (running, numbers) = (HashMap::new(), HashMap::new());
        Ok(State {
            resources: of.resources,
            partitions: of.partitions,
            cluster: of.cluster,
            members,
            running,
            numbers,
            resting: BTreeSet::new(),
            taken: Vec::new(),
            draining: false,
            since: Instant::now(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Look => state.look(&myself).await?,
            Message::Rested(number) => {
                state.resting.remove(&number);
                state.look(&myself).await?;
            }
            Message::Taken(number) => {
                if state.taken.is_empty() {
                    myself.send_after(GATHER, || Message::Search);
                }
                state.taken.push(i16::try_from(number).unwrap_or(i16::MAX));
            }
            Message::Search => {
                rescue::search(&state.resources, myself, std::mem::take(&mut state.taken));
            }
            Message::Wake(number, conversation) => {
                state.tell(number, partition::Message::Wake(conversation));
            }
            Message::Lost(number) => state.tell(number, partition::Message::Fenced),
            Message::Drain => {
                state.draining = true;
                // The others claim what is ours as soon as they hear it.
                state.cluster.leave().await;
                state.look(&myself).await?;
                state.stop_if_drained(&myself);
            }
        }
        Ok(())
    }

    /// A partition that failed is started again after a while, under a new epoch; one that has ended belongs to somebody
    /// else, or the next look finds that it is ours.
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
                    state.resting.insert(number);
                    myself.send_after(RESTART, move || Message::Rested(number));
                }
            }
            _ => {}
        }
        state.stop_if_drained(&myself);
        Ok(())
    }
}

impl State {
    /// Starts what should be ours and does not run, and gives up what should not be.
    async fn look(&mut self, myself: &ActorRef<Message>) -> Result<(), ActorProcessingErr> {
        let members = self.members.borrow_and_update().clone();
        let share = match self.draining {
            true => Vec::new(),
            false => assignment::share_of(&self.resources.worker, &members, self.partitions.count()),
        };
        metrics::gauge!("omnichat_workers_alive").set(members.len() as f64);
        if self.since.elapsed() >= ACQUAINTANCE {
            self.resources.gateway.divide(u32::try_from(members.len()).unwrap_or(u32::MAX));
        }
        self.resources.holdings.want(share.len());
        // With nobody to hand over to, what runs may take as long as the process has.
        let within = (members.len() > 1).then(|| self.resources.config.hand_over());
        for (number, partition) in &self.running {
            if !share.contains(number) {
                let _ = partition.cast(partition::Message::Release { within });
            }
        }
        for number in share {
            if !self.running.contains_key(&number) && !self.resting.contains(&number) {
                self.start(myself, number).await?;
            }
        }
        Ok(())
    }

    async fn start(&mut self, myself: &ActorRef<Message>, number: u16) -> Result<(), ActorProcessingErr> {
        let (resources, partitions, worker) =
            (self.resources.clone(), self.partitions.clone(), myself.clone());
        let arguments = partition::Arguments { resources, partitions, number, worker };
        let (actor, _) = Actor::spawn_linked(None, Partition, arguments, myself.get_cell()).await?;
        self.numbers.insert(actor.get_id(), number);
        self.running.insert(number, actor);
        Ok(())
    }

    /// One that is just ending is started again if it should be, and then looks by itself.
    fn tell(&self, number: u16, message: partition::Message) {
        if let Some(partition) = self.running.get(&number) {
            let _ = partition.cast(message);
        }
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
