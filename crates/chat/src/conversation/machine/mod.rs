//! The state machine of a conversation and its turns: an event changes the state and asks for effects. Pure: it makes no
//! call, holds no connection and reads no clock, so that every order of events can be tried. The actor around it turns
//! messages into events and carries out effects; `docs/turn.md` draws it.

mod accept;
mod run;
#[cfg(test)]
mod tests;
mod turn;

use std::{collections::VecDeque, time::Duration};

use llm::Report;
use time::OffsetDateTime;
use wire::{Answer, ConversationEvent, ConversationId, Fault, Settings, TurnEvent, TurnId, UserId};

use super::window::{LeftOut, Window};
use crate::{
    model::{Accepted, Completion, NewTurn, Opening, Outcome, Ownership},
    store::{Attempt, History, PastTurn, Sent},
    writer::WriteError,
};
pub use turn::{Arrival, HeldTurn, Next, Phase, Ticket, Waiter};

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// What the database knows of the conversation; None if there never was one.
    Loaded(Option<History>),
    /// A delivery.
    Arrived(Box<Arrival>),
    /// What comes before a new branch.
    BranchLoaded(Vec<PastTurn>),
    /// The write of a new turn ended.
    Accepted(Result<Accepted, WriteError>),
    /// What the write met in its place.
    Found(Sent),
    /// Whether there is room for one more turn that runs.
    Room(bool),
    /// A repeated call was recorded, or may not be made.
    AttemptRecorded(TurnId, Attempt),
    /// A call ended, after this many events of its turn were told.
    Ended(TurnId, Ended, u64),
    /// The write of an outcome ended.
    Recorded(TurnId, Result<(), WriteError>),
    /// The outcome that somebody else has stored; None if it cannot be read any more.
    Settled(TurnId, Option<Result<Answer, Fault>>),
    /// A turn has rested.
    Rested(TurnId),
    /// The user wants this turn no more.
    Cancelled(TurnId),
    /// The conversation was deleted.
    Deleted,
    /// Start nothing new, and leave once nothing runs.
    Drain,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub enum Ended {
    /// With an answer.
    Completed(Completion),
    /// Without one, and another call would do no better.
    Failed(Fault),
    /// Without one, for a reason that may have passed after this time.
    Passing(Fault, Duration),
    /// Before a provider was asked, for this reason.
    Refused(Fault),
    /// Before a provider was asked: all rest, for this reason and for this time.
    Waiting(Fault, Duration),
    /// Before a provider was asked: for want of the database, or as it was told to stop.
    NotMade,
    /// It was cut by a failure of ours.
    Died(String),
    /// It was told to stop, when the model had said this.
    Stopped(String),
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Load the conversation.
    Load,
    /// Load what a turn that follows this one is told of.
    LoadBranch(TurnId),
    /// Write this new turn.
    Offer(Box<NewTurn>),
    /// Look up what its write met.
    Find(Box<NewTurn>),
    /// Ask for room among the turns that run.
    TakeRoom(UserId),
    /// Give it back.
    LeaveRoom,
    /// Record a repeated call.
    RecordAttempt(TurnId, i16),
    /// Call the model.
    Call(Box<Call>),
    /// Stop the call.
    StopCall,
    /// Write this outcome.
    Write(Box<Outcome>),
    /// Read the outcome that somebody else has stored.
    Settle(TurnId, UserId),
    /// Come back to this turn after a time.
    Rest(TurnId, Duration),
    /// Tell step `.2` of a turn.
    Tell(UserId, TurnId, u64, Box<TurnEvent>),
    /// Answer a delivery, and take it off the queue.
    Answer(Ticket, Box<Result<Answer, Fault>>),
    /// Tell what happens in the conversation.
    TellConversation(UserId, Box<ConversationEvent>),
    /// A delivery is of this turn, before which so many wait or run: who sent it waits from now on.
    Attached(Ticket, TurnId, u32),
    /// A delivery has come again: the later one stands for it.
    Replace(Ticket, Ticket),
    /// Note that a turn was accepted, before which so many wait.
    NoteAccepted(TurnId, u32),
    /// Note what a call was that no outcome tells of, though it gave an answer.
    NoteCall(TurnId, i16, Box<Report>),
    /// Note how a turn ended.
    NoteEnded(Box<HeldTurn>, &'static str),
    /// Note that a delivery was of a turn that is in hand.
    NoteRedelivery,
    /// Note that an outcome was known already.
    NoteResent,
    /// Tell the partition that the conversation came through after it had failed.
    Recovered,
    /// Ask the partition whether we may leave.
    AskToLeave,
    /// A later owner has the partition: write nothing more, acknowledge nothing more.
    Abandon,
    /// Leave.
    Stop(&'static str),
    /// Fail: there is no way on from here.
    Fail(&'static str),
}

/// A call to be made.
#[derive(Debug)]
pub struct Call {
    /// For which turn.
    pub turn: TurnId,
    /// Whose it is.
    pub user: UserId,
    /// Counts from 1.
    pub attempt: i16,
    /// The model to call.
    pub model: String,
    /// How to call it.
    pub settings: Settings,
    /// The prompt that goes first.
    pub opening: Option<Opening>,
    /// What was said so far, the user's message last.
    pub messages: Vec<llm::Message>,
    /// By which bound what is older was left out.
    pub left_out: Option<LeftOut>,
    /// Events of this turn that were told already.
    pub told: u64,
    /// By whose delivery it runs.
    pub waiter: Option<Ticket>,
}

/// How much of the conversation is known.
#[derive(Debug)]
enum Stage {
    Loading,
    Missing,
    Ready(Known),
}

#[derive(Debug)]
struct Known {
    user: UserId,
    next_seq: i64,
    window: Window,
}

/// The delivery that is being accepted.
#[derive(Debug)]
struct Accepting {
    arrival: Arrival,
    /// Absent while its branch is being loaded.
    turn: Option<NewTurn>,
    offers: u8,
    cancelled: bool,
}

/// What a machine is made of.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Which conversation.
    pub id: ConversationId,
    /// By what right its turns are written.
    pub ownership: Ownership,
    /// The most messages that the model is told.
    pub messages_max: u32,
    /// The most bytes of them.
    pub bytes_max: u32,
    /// How often the actor of this conversation has failed since it last came through.
    pub failures: u8,
}

/// A conversation and its turns.
#[derive(Debug)]
pub struct Machine {
    terms: Terms,
    stage: Stage,
    deleted: bool,
    arrivals: VecDeque<Arrival>,
    accepting: Option<Accepting>,
    /// The turns in hand, in the order they run; only the first one is ever called for.
    turns: VecDeque<HeldTurn>,
    /// The turn that has room.
    room: Option<TurnId>,
    draining: bool,
    effects: Vec<Effect>,
}

impl Machine {
    /// A conversation of which nothing is known yet. The first effect is to load it.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            stage: Stage::Loading,
            deleted: false,
            arrivals: VecDeque::new(),
            accepting: None,
            turns: VecDeque::new(),
            room: None,
            draining: false,
            effects: vec![Effect::Load],
        }
    }

    /// What is to be done first.
    pub fn start(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Takes an event, and says what is to be done. An event that comes too late changes nothing.
    pub fn step(&mut self, event: Event, now: OffsetDateTime) -> Vec<Effect> {
        match event {
            Event::Loaded(history) => self.loaded(history, now),
            Event::Arrived(arrival) => {
                self.arrivals.push_back(*arrival);
                self.next_arrival(now);
            }
            Event::BranchLoaded(past) => self.branch_loaded(&past, now),
            Event::Accepted(result) => self.accepted(result, now),
            Event::Found(sent) => self.found(sent, now),
            Event::Room(there_is) => self.room(there_is, now),
            Event::AttemptRecorded(turn, attempt) => self.attempt_recorded(turn, attempt, now),
            Event::Ended(turn, ended, told) => self.ended(turn, ended, told, now),
            Event::Recorded(turn, result) => self.recorded(turn, result, now),
            Event::Settled(turn, outcome) => self.settled(turn, outcome, now),
            Event::Rested(turn) => self.rested(turn, now),
            Event::Cancelled(turn) => self.cancel(turn, now),
            Event::Deleted => self.delete(now),
            Event::Drain => self.draining = true,
        }
        if self.draining && !self.is_active() {
            self.effects.push(Effect::Stop("drained"));
        }
        std::mem::take(&mut self.effects)
    }

    /// The turn that the model is being called for.
    pub fn calling(&self) -> Option<&HeldTurn> {
        self.turns.iter().find(|turn| matches!(turn.phase, Phase::Calling | Phase::Stopping))
    }

    /// Whether there is anything in hand.
    pub fn is_busy(&self) -> bool {
        let loading = matches!(self.stage, Stage::Loading);
        loading || self.accepting.is_some() || !self.arrivals.is_empty() || !self.turns.is_empty()
    }

    /// Whether something goes on that must end before the conversation may leave.
    fn is_active(&self) -> bool {
        self.accepting.is_some() || self.turns.iter().any(HeldTurn::is_active)
    }

    /// Takes over what the database knows: the turns that an earlier owner left open are run first.
    fn loaded(&mut self, history: Option<History>, now: OffsetDateTime) {
        if !matches!(self.stage, Stage::Loading) {
            return;
        }
        self.stage = match history {
            None => Stage::Missing,
            Some(history) => {
                let mut window = Window::new(self.terms.messages_max, self.terms.bytes_max);
                window.graft(&history.turns);
                self.deleted |= history.deleted;
                let open = history.turns.into_iter().filter_map(|past| HeldTurn::found(past, now));
                self.turns.extend(open.enumerate().map(|(place, turn)| match place {
                    0 => turn,
                    // They run one after the other, so no call was made for those behind the first.
                    _ => HeldTurn { attempts: 0, made: 0, ..turn },
                }));
                Stage::Ready(Known { user: history.user, next_seq: history.next_seq, window })
            }
        };
        self.advance(now);
        self.next_arrival(now);
    }

    fn known(&mut self) -> Option<&mut Known> {
        match &mut self.stage {
            Stage::Ready(known) => Some(known),
            Stage::Loading | Stage::Missing => None,
        }
    }

    fn place_of(&self, turn: TurnId) -> Option<usize> {
        self.turns.iter().position(|held| held.id == turn)
    }

    fn ask(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}
