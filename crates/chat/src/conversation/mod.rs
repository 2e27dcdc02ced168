//! One conversation: accepts its turns one after the other, runs them one after the other, and tells the outcome.
//!
//! What is to be done is decided by a pure state machine ([`machine`]); this actor turns messages into its events and carries
//! out its effects. Everything that takes time happens elsewhere and comes back as a message: the loading and the rare reads
//! in tasks, the writes in the writer, the call to the model in a linked child. So the conversation always hears the next
//! message.
//!
//! ```text
//! Deliver ─► (load) ─► accept ─► Accepted ─► queue ─► Generation ─► Generated ─► finish ─► Recorded ─► reply, ack
//!                        └─ Nothing ─► find ─► Found ─► stored outcome ─► reply, ack
//! ```

mod effects;
pub mod machine;
mod window;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bus::{AckHandle, Context, Delivery};
use host::share::Share;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::{sync::oneshot, task::JoinHandle};
use wire::{ConversationId, TurnId, TurnKind, UserId};

use crate::{
    audience::{Audience, Inbox},
    generation::{Generated, Job, System},
    in_hand::Registration,
    model::Ownership,
    partition,
    resources::Resources,
};
use machine::{Arrival, Effect, Ended, Event, Machine, Terms, Ticket};

/// Says "in progress" for every turn in hand, three times within the consumers' `ack_wait`, to who listens as well, and looks
/// whether to leave.
const TICK: Duration = Duration::from_secs(20);
/// Before something is tried again that failed for want of the database.
const RETRY: Duration = Duration::from_secs(1);

/// The actor of one conversation.
pub struct Conversation;

/// What a conversation hears.
pub enum Message {
    /// From above: a turn from the queue.
    Deliver(Box<Delivery>),
    /// From above: others need the memory; leave as soon as nothing is in hand.
    MakeRoom,
    /// From above: start nothing new, and stop once nothing runs.
    Drain,
    /// A turn is wanted no more; or nothing, as the conversation was deleted.
    Stop(Option<TurnId>),
    /// Something that was asked for has ended.
    Happened(Box<Event>),
    /// A call ended.
    Generated(Box<Generated>),
    /// Time to try again what failed for want of the database.
    Again(Box<Effect>),
    /// Time to look around.
    Tick,
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
    /// How often the actor of this conversation has failed since it last came through.
    pub failures: u8,
}

/// What it has in hand.
pub struct State {
    resources: Arc<Resources>,
    myself: ActorRef<Message>,
    partition: ActorRef<partition::Message>,
    id: ConversationId,
    ownership: Ownership,
    machine: Machine,
    registration: Registration,
    /// What the machine knows by its ticket.
    waiting: HashMap<Ticket, Waiting>,
    /// While a turn runs.
    room: Option<Share<UserId>>,
    generation: Option<ActorRef<Box<Job>>>,
    /// Of the call that is being made.
    audience: Audience,
    stop_call: Option<oneshot::Sender<()>>,
    system: System,
    delivered: u64,
    /// Others need the memory, and nothing was delivered since they asked.
    room_wanted: bool,
    idle_since: Instant,
    _beat: Beat,
}

/// Its timer. By itself that would notice only at its next tick that the conversation is gone.
struct Beat(JoinHandle<()>);

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Somebody who waits for an outcome, and the queue's message by which they wait.
struct Waiting {
    inbox: Inbox,
    /// Once that is known.
    turn: Option<TurnId>,
    context: Context,
    ack: AckHandle,
    user: UserId,
    kind: TurnKind,
    since: Instant,
}

impl Actor for Conversation {
    type Msg = Message;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, myself: ActorRef<Message>, of: Arguments) -> Result<State, ActorProcessingErr> {
        let config = &of.resources.config;
        let tick = TICK.min(Duration::from_secs(config.idle_s.into()));
        let beat = Beat(myself.send_interval(tick, || Message::Tick));
        let mut machine = Machine::new(Terms {
            id: of.id,
            ownership: of.ownership,
            messages_max: config.history_messages_max,
            bytes_max: config.history_bytes_max,
            failures: of.failures,
        });
        let first = machine.start();
        let mut state = State {
            registration: of.resources.in_hand.register(of.id, myself.clone()),
            resources: of.resources,
            myself,
            partition: of.partition,
            id: of.id,
            ownership: of.ownership,
            machine,
            waiting: HashMap::new(),
            room: None,
            generation: None,
            audience: Audience::default(),
            stop_call: None,
            system: System::None,
            delivered: 0,
            room_wanted: false,
            idle_since: Instant::now(),
            _beat: beat,
        };
        state.carry_out(first).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let event = match message {
            Message::Deliver(delivery) => state.take(*delivery),
            Message::MakeRoom => {
                state.room_wanted = true;
                state.make_room();
                return Ok(());
            }
            Message::Drain => Event::Drain,
            Message::Stop(Some(turn)) => Event::Cancelled(turn),
            Message::Stop(None) => Event::Deleted,
            Message::Happened(event) => {
                state.note_open_turns(&event);
                *event
            }
            Message::Generated(generated) => state.generated(*generated),
            Message::Again(effect) => return state.carry_out(vec![*effect]).await,
            Message::Tick => {
                state.tick().await;
                return Ok(());
            }
        };
        state.happened(event).await
    }

    /// The only child is the generation. If it dies, the attempt is over, not the turn.
    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let reason = match event {
            SupervisionEvent::ActorFailed(_, error) => error.to_string(),
            SupervisionEvent::ActorTerminated(..) => "stopped".into(),
            _ => return Ok(()),
        };
        state.generation = None;
        let Some((turn, told)) = state.machine.calling().map(|turn| (turn.id, turn.told)) else {
            return Ok(());
        };
        tracing::error!(%turn, reason, "a generation died");
        state.happened(Event::Ended(turn, Ended::Died(reason), told)).await
    }
}

impl State {
    /// Runs the machine on an event, and on what its effects bring at once.
    async fn happened(&mut self, event: Event) -> Result<(), ActorProcessingErr> {
        let effects = self.machine.step(event, wire::now());
        self.carry_out(effects).await?;
        self.make_room();
        Ok(())
    }

    async fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), ActorProcessingErr> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            if let Some(event) = self.carry_out_one(effect).await? {
                effects.extend(self.machine.step(event, wire::now()));
            }
        }
        self.registration.calls_for(self.machine.calling().map(|turn| (turn.id, &self.audience)));
        Ok(())
    }

    /// A delivery; the machine gets a ticket for it.
    fn take(&mut self, delivery: Delivery) -> Event {
        self.delivered += 1;
        self.room_wanted = false;
        let ticket = Ticket(self.delivered);
        let arrival = Arrival::new(ticket, &delivery);
        let waiting = Waiting {
            inbox: Inbox::new(delivery.reply_to),
            turn: None,
            context: delivery.context,
            ack: delivery.ack,
            user: delivery.user,
            kind: arrival.request.as_ref().map_or(TurnKind::Send, crate::model::TurnRequest::kind),
            since: Instant::now(),
        };
        self.waiting.insert(ticket, waiting);
        Event::Arrived(Box::new(arrival))
    }

    fn note_open_turns(&self, event: &Event) {
        let Event::Loaded(Some(history)) = event else { return };
        for turn in history.turns.iter().filter(|turn| turn.open.is_some()) {
            tracing::info!(turn = %turn.id, conversation = %self.id, "found an open turn; going on with it");
            metrics::counter!("omnichat_rescued_turns_total").increment(1);
        }
    }

    fn generated(&mut self, generated: Generated) -> Event {
        if matches!(generated.ended, Ended::Completed(_)) {
            self.system = generated.system;
        }
        // Its text is not kept with the conversation.
        self.audience = Audience::default();
        Event::Ended(generated.turn, generated.ended, generated.told)
    }

    async fn tick(&mut self) {
        for waiting in self.waiting.values() {
            waiting.ack.in_progress().await;
            if let Inbox::Steps(listener) = &waiting.inbox {
                listener.reassure(&self.resources.bus).await;
            }
        }
        let idle = Duration::from_secs(self.resources.config.idle_s.into());
        if !self.machine.is_busy() && self.idle_since.elapsed() >= idle {
            self.ask_to_leave();
        }
    }

    fn make_room(&self) {
        if self.room_wanted && !self.machine.is_busy() {
            self.ask_to_leave();
        }
    }

    /// The partition stops us, unless it has sent something meanwhile.
    fn ask_to_leave(&self) {
        let _ = self
            .partition
            .cast(partition::Message::Idle { conversation: self.id, delivered: self.delivered });
    }
}
