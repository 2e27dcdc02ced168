//! One conversation: accepts its turns one after the other, runs them one after the other, and tells the outcome.
//!
//! Everything that takes time happens elsewhere and comes back as a message: the loading and the rare reads in tasks, the
//! writes in the writer, the call to the model in a linked child. So the conversation always hears the next message.
//!
//! ```text
//! Deliver ─► (load) ─► accept ─► Accepted ─► queue ─► Generation ─► Generated ─► finish ─► Recorded ─► reply, ack
//!                        └─ Nothing ─► find ─► Found ─► stored outcome ─► reply, ack
//! ```

mod accept;
mod run;
mod turn;
mod window;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bus::Delivery;
use host::share::Share;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use wire::{Answer, ConversationId, Fault, TurnId, UserId, operations};

use crate::{
    generation::{CallFailure, Generated, Job, System},
    model::{Accepted, NewTurn, Outcome, Ownership},
    partition,
    resources::Resources,
    store::{Attempt, History, Sent, StoredTurn},
    writer::WriteError,
};
use turn::{HeldTurn, TurnQueue};
use window::Window;

/// Says "in progress" for every turn in hand, three times within the consumers' `ack_wait`, and looks whether to leave.
const TICK: Duration = Duration::from_secs(20);
/// Before something is tried again that failed for want of the database.
const RETRY: Duration = Duration::from_secs(1);
/// Besides the window, this many turns are loaded: more than can be open, since the queue of a conversation is bounded.
const OPEN_TURNS_MAX: i32 = 64;

/// The actor of one conversation.
pub struct Conversation;

/// What a conversation hears.
pub enum Message {
    /// From above: a turn from the queue.
    Deliver(Box<Delivery>),
    /// From above: start nothing new, and stop once nothing runs.
    Drain,
    /// What the database knows of the conversation.
    Loaded(sqlx::Result<Option<History>>),
    /// The write of a new turn ended.
    Accepted(Result<Accepted, WriteError>),
    /// What a delivery turned out to be about.
    Found(sqlx::Result<Sent>),
    /// A repeated call was recorded, or may not be made.
    AttemptRecorded(sqlx::Result<Attempt>),
    /// A call ended.
    Generated(Box<Generated>),
    /// The write of an outcome ended.
    Recorded(Result<(), WriteError>),
    /// The outcome that somebody else had stored.
    Settled(sqlx::Result<Option<Box<StoredTurn>>>),
    /// Time to try again.
    Retry(Again),
    /// Time to look around.
    Tick,
}

/// What to try again.
pub enum Again {
    /// Loading.
    Load,
    /// Finding the turn of the delivery in hand.
    Find,
    /// Recording an attempt.
    Attempt,
    /// Starting the first turn of the queue.
    Advance,
    /// Reading the prompt, and calling the model.
    Generate,
    /// Writing the outcome.
    Finish,
    /// Reading the outcome that somebody else stored.
    Settle,
}

/// What it is made of.
pub struct Arguments {
    /// Shared by all actors.
    pub resources: Arc<Resources>,
    /// Which conversation.
    pub id: ConversationId,
    /// By what right its turns are written.
    pub ownership: Ownership,
    /// Its partition.
    pub partition: ActorRef<partition::Message>,
}

/// What it knows.
pub struct State {
    resources: Arc<Resources>,
    myself: ActorRef<Message>,
    partition: ActorRef<partition::Message>,
    id: ConversationId,
    ownership: Ownership,
    stage: Stage,
    arrivals: VecDeque<Box<Delivery>>,
    accepting: Option<Accepting>,
    turns: TurnQueue,
    /// While the first turn of the queue runs.
    running: Option<Share<UserId>>,
    outcome: Option<Outcome>,
    generation: Option<ActorRef<Box<Job>>>,
    system: System,
    delivered: u64,
    idle_since: Instant,
    draining: bool,
}

/// How much of the conversation is known.
enum Stage {
    Loading,
    Missing,
    Ready(Known),
}

struct Known {
    user: UserId,
    deleted: bool,
    next_seq: i64,
    window: Window,
}

/// The delivery that is being accepted.
struct Accepting {
    delivery: Box<Delivery>,
    turn: NewTurn,
    offers: u8,
}

impl Actor for Conversation {
    type Msg = Message;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Message>, of: Arguments) -> Result<State, ActorProcessingErr> {
        let tick = TICK.min(Duration::from_secs(of.resources.config.idle_s.into()));
        myself.send_interval(tick, || Message::Tick);
        let state = State {
            resources: of.resources,
            myself,
            partition: of.partition,
            id: of.id,
            ownership: of.ownership,
            stage: Stage::Loading,
            arrivals: VecDeque::new(),
            accepting: None,
            turns: TurnQueue::new(),
            running: None,
            outcome: None,
            generation: None,
            system: System::None,
            delivered: 0,
            idle_since: Instant::now(),
            draining: false,
        };
        state.load();
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Deliver(delivery) => {
                state.delivered += 1;
                state.arrivals.push_back(delivery);
                state.next_arrival().await;
            }
            Message::Loaded(history) => state.loaded(history).await?,
            Message::Accepted(result) => state.accepted(result).await?,
            Message::Found(found) => state.found(found).await?,
            Message::AttemptRecorded(result) => state.attempt_recorded(result).await?,
            Message::Generated(generated) => state.generated(*generated),
            Message::Recorded(result) => state.recorded(result).await?,
            Message::Settled(stored) => state.settled(stored).await?,
            Message::Retry(again) => state.again(again).await?,
            Message::Drain => state.draining = true,
            Message::Tick => state.tick().await,
        }
        state.leave_if_drained();
        Ok(())
    }

    /// The only child is the generation. If it dies, the attempt is over, not the turn.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let reason = match event {
            SupervisionEvent::ActorFailed(_, error) => error.to_string(),
            SupervisionEvent::ActorTerminated(..) => "stopped".into(),
            _ => return Ok(()),
        };
        state.generation = None;
        if let Some(turn) = state.turns.front().filter(|_| state.running.is_some() && state.outcome.is_none())
        {
            tracing::error!(turn = %turn.id, reason, "a generation died");
            let result = Err(CallFailure::Died(reason));
            let generated = Generated { turn: turn.id, result, system: System::None, told: turn.told };
            myself.cast(Message::Generated(Box::new(generated)))?;
        }
        Ok(())
    }
}

impl State {
    fn load(&self) {
        let (resources, id, myself) = (self.resources.clone(), self.id, self.myself.clone());
        let window = i32::try_from(resources.config.history_messages_max / 2).unwrap_or_default();
        self.resources.drain.spawn("load conversation", async move {
            let history = resources.store.load_history(id, window + OPEN_TURNS_MAX).await;
            // An actor that has stopped meanwhile needs no answer, here and below.
            let _ = myself.cast(Message::Loaded(history));
        });
    }

    async fn loaded(&mut self, history: sqlx::Result<Option<History>>) -> Result<(), ActorProcessingErr> {
        match history {
            Err(error) => {
                tracing::warn!(conversation = %self.id, %error, "a conversation could not be loaded; trying again");
                self.retry(Again::Load);
                return Ok(());
            }
            Ok(None) => self.stage = Stage::Missing,
            Ok(Some(history)) => self.know(history),
        }
        self.advance().await?;
        self.next_arrival().await;
        Ok(())
    }

    /// Takes over what the database knows: the turns that an earlier owner left open are run first.
    fn know(&mut self, history: History) {
        let config = &self.resources.config;
        let window = Window::new(config.history_messages_max, config.history_bytes_max, &history.turns);
        for turn in history.turns.into_iter().filter_map(HeldTurn::found) {
            tracing::info!(turn = %turn.id, conversation = %self.id, "found an open turn; going on with it");
            metrics::counter!("omnichat_rescued_turns_total").increment(1);
            self.turns.push_back(turn);
        }
        self.stage = Stage::Ready(Known {
            user: history.user,
            deleted: history.deleted,
            next_seq: history.next_seq,
            window,
        });
    }

    fn retry(&self, again: Again) {
        self.myself.send_after(RETRY, move || Message::Retry(again));
    }

    async fn again(&mut self, again: Again) -> Result<(), ActorProcessingErr> {
        match again {
            Again::Load => self.load(),
            Again::Find => self.find(),
            Again::Attempt => self.record_attempt(),
            Again::Advance => self.advance().await?,
            Again::Generate => self.generate().await?,
            Again::Finish => self.write_outcome(),
            Again::Settle => self.settle(),
        }
        Ok(())
    }

    async fn tick(&mut self) {
        let waiting = self.arrivals.iter().chain(self.accepting.iter().map(|accepting| &accepting.delivery));
        for delivery in waiting {
            delivery.ack.in_progress().await;
        }
        for waiter in self.turns.iter().flat_map(|turn| &turn.waiters) {
            waiter.ack.in_progress().await;
        }
        let loading = matches!(self.stage, Stage::Loading);
        let busy = loading || !self.turns.is_empty() || !self.arrivals.is_empty() || self.accepting.is_some();
        let idle = Duration::from_secs(self.resources.config.idle_s.into());
        if !busy && self.idle_since.elapsed() >= idle {
            self.ask_to_leave();
        }
    }

    /// The partition stops us, unless it has sent something meanwhile.
    fn ask_to_leave(&self) {
        let _ = self
            .partition
            .cast(partition::Message::Idle { conversation: self.id, delivered: self.delivered });
    }

    fn leave_if_drained(&self) {
        if self.draining && self.running.is_none() && self.accepting.is_none() {
            self.myself.stop(Some("drained".into()));
        }
    }

    /// The partition belongs to somebody else now: nothing more may be written, and nothing acknowledged.
    fn abandon(&self) {
        tracing::warn!(conversation = %self.id, "leaving the conversation to the partition's later owner");
        let _ = self.partition.cast(partition::Message::Fenced);
        self.myself.stop(Some("fenced".into()));
    }

    /// Answers a delivery that is not, or no longer, a turn in hand, and takes it off the queue.
    async fn answer(&self, delivery: &Delivery, result: &Result<Answer, Fault>) {
        bus::observe(&operations::SEND_MESSAGE.info, Instant::now(), result.as_ref().err());
        let bus = &self.resources.bus;
        match result {
            Ok(answer) => bus.reply(&delivery.reply_to, answer).await,
            Err(fault) => bus.reply_fault(&delivery.reply_to, fault, &delivery.context).await,
        }
        delivery.ack.done().await;
    }

    fn is_front(&self, turn: TurnId) -> bool {
        self.turns.front().is_some_and(|front| front.id == turn)
    }
}
