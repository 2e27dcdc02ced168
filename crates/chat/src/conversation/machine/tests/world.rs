//! A conversation's surroundings as they are promised: a stream that delivers what is not acknowledged, a database of facts,
//! and a provider that counts. Whatever a machine asks for is held against the promises at once.

use std::collections::{BTreeMap, HashMap, HashSet};

use wire::{Answer, ConversationId, Fault, FaultCode, MessageId, TurnId, TurnKind, UserId, limits};

use super::{
    super::{Arrival, Call, Effect, Ended, Event, Machine, Terms, Ticket},
    sample::{accepted, ended, now, outcome_of, view},
};
use crate::{
    model::{Accepted, Ending, NewTurn, Outcome, Ownership, TurnRequest},
    store::{Attempt, History, OpenTurn, PastTurn, Sent, StoredTurn},
    writer::WriteError,
};

/// A message of the stream.
struct Queued {
    turn: TurnId,
    key: Option<String>,
    request: TurnRequest,
    acknowledged: bool,
}

pub struct World {
    id: ConversationId,
    user: UserId,
    machine: Machine,
    failures: u8,
    stream: Vec<Queued>,
    /// What the machine has been given, by its ticket: a place in the stream.
    delivered: HashMap<Ticket, usize>,
    tickets: u64,
    /// What the machine asked for, and has not heard of.
    pending: Vec<Effect>,
    stopped: bool,
    turns: BTreeMap<i64, NewTurn>,
    attempts: HashMap<TurnId, i16>,
    /// Nobody knows of some attempt whether it came to its call.
    doubtful: bool,
    outcomes: HashMap<TurnId, Outcome>,
    cancels: HashSet<TurnId>,
    deleted: bool,
    calls: HashMap<TurnId, Vec<i16>>,
}

impl World {
    pub fn new() -> Self {
        let (id, ownership) = (ConversationId::new(), Ownership { partition: 0, epoch: 1 });
        let terms = Terms { id, ownership, messages_max: 6, bytes_max: 10_000, failures: 0 };
        let mut world = Self {
            id,
            user: UserId::new(),
            machine: Machine::new(terms),
            failures: 0,
            stream: Vec::new(),
            delivered: HashMap::new(),
            tickets: 0,
            pending: Vec::new(),
            stopped: false,
            turns: BTreeMap::new(),
            attempts: HashMap::new(),
            doubtful: false,
            outcomes: HashMap::new(),
            cancels: HashSet::new(),
            deleted: false,
            calls: HashMap::new(),
        };
        world.begin();
        world.doubtful = false;
        world
    }

    fn begin(&mut self) {
        let ownership = Ownership { partition: 0, epoch: 1 };
        let (id, failures) = (self.id, self.failures);
        self.machine = Machine::new(Terms { id, ownership, messages_max: 6, bytes_max: 10_000, failures });
        self.stopped = false;
        self.doubtful = true;
        let effects = self.machine.start();
        self.take(effects);
    }

    /// The user asks for something; `kind` and `what` choose it.
    pub fn send(&mut self, kind: u8, what: usize) {
        let number = self.stream.len();
        let some = |turns: &BTreeMap<i64, NewTurn>| {
            let place = what % turns.len().max(1);
            turns.values().nth(place).map(|turn| turn.id)
        };
        let mut request =
            TurnRequest { content: Some(format!("question {number}")), ..TurnRequest::default() };
        let mut key = Some(format!("key {number}"));
        match (kind % 8, some(&self.turns)) {
            (0, Some(turn)) => {
                request = TurnRequest { regenerates: Some(turn), ..TurnRequest::default() };
            }
            (1, Some(turn)) => {
                request.parent_id = Some(Some(MessageId::answer_to(turn)));
                request.follows = Some(turn);
            }
            (2, _) => request.parent_id = Some(None),
            // A repeat.
            (3, _) if number > 0 => {
                let before = &self.stream[what % number];
                (request, key) = (before.request.clone(), before.key.clone());
            }
            (4, _) => key = None,
            _ => {}
        }
        self.stream.push(Queued { turn: TurnId::new(), key, request, acknowledged: false });
    }

    /// The stream delivers the next message that the machine has not seen.
    pub fn deliver(&mut self) -> bool {
        let seen: HashSet<usize> = self.delivered.values().copied().collect();
        let next =
            (0..self.stream.len()).find(|place| !self.stream[*place].acknowledged && !seen.contains(place));
        let Some(place) = next.filter(|_| !self.stopped) else { return false };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.delivered.insert(ticket, place);
        let queued = &self.stream[place];
        let arrival = Arrival {
            ticket,
            inbox: format!("inbox {place}").into(),
            turn: queued.turn,
            user: self.user,
            idempotency_key: queued.key.clone(),
            request: Ok(queued.request.clone()),
            user_message: MessageId::new(),
        };
        self.happens(Event::Arrived(Box::new(arrival)));
        true
    }

    /// The user cancels a turn; the word may be lost on its way to the owner, who may be slow besides.
    pub fn cancel(&mut self, what: usize, lost: bool, slow: bool) {
        let Some(turn) = self.turns.values().nth(what % self.turns.len().max(1)).cloned() else { return };
        if self.outcomes.contains_key(&turn.id) || self.deleted {
            return;
        }
        self.cancels.insert(turn.id);
        if !lost {
            self.happens(Event::Cancelled(turn.id));
        }
        if slow {
            let ending = Ending::Cancelled(None);
            self.outcomes.entry(turn.id).or_insert_with(|| outcome_of(&turn, ending));
        }
    }

    pub fn delete(&mut self) {
        self.deleted = true;
        self.happens(Event::Deleted);
    }

    /// The owner ends: in the middle of what it does, and some of what it had asked for is done all the same. The next one
    /// is given all that is unacknowledged, in order.
    pub fn crash(&mut self, done: usize, alone: bool) {
        for (place, effect) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            if done >> (place % 8) & 1 == 1 {
                drop(self.carry_out(effect, 0));
            }
        }
        self.delivered.clear();
        self.failures = if alone { self.failures.saturating_add(1) } else { 0 };
        self.begin();
    }

    pub fn drain(&mut self) {
        self.happens(Event::Drain);
    }

    /// Something that was asked for ends, well or not.
    pub fn end_one(&mut self, which: usize, luck: u8) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let effect = self.pending.remove(which % self.pending.len());
        if let Some(event) = self.carry_out(effect, luck) {
            self.happens(event);
        }
        true
    }

    /// Until nothing is left to be done, with every luck.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.stopped {
                self.crash(0xff, false);
            }
            // A call that nobody wants is found, also when the word of it was lost.
            if let Some(turn) = self.machine.calling().map(|turn| turn.id)
                && self.cancels.contains(&turn)
            {
                self.happens(Event::Cancelled(turn));
            }
            if !self.end_one(0, 0) && !self.deliver() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn happens(&mut self, event: Event) {
        if !self.stopped {
            let effects = self.machine.step(event, now());
            self.take(effects);
        }
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(ticket, result) => self.answered(ticket, &result),
                Effect::Replace(ticket, _) => drop(self.delivered.insert(ticket, usize::MAX)),
                Effect::TakeRoom(_) => self.happens(Event::Room(true)),
                Effect::StopCall => self.stop_call(),
                Effect::Stop(_) => self.stopped = true,
                Effect::Recovered => self.failures = 0,
                Effect::Fail(reason) => panic!("{reason}"),
                Effect::Abandon => panic!("nobody else has the partition"),
                Effect::Call(call) => {
                    self.called(&call);
                    self.pending.push(Effect::Call(call));
                }
                Effect::Load
                | Effect::LoadBranch(_)
                | Effect::Offer(_)
                | Effect::Find(_)
                | Effect::RecordAttempt(..)
                | Effect::Write(_)
                | Effect::Settle(..)
                | Effect::Rest(..) => self.pending.push(effect),
                _ => {}
            }
        }
    }

    /// The provider is called.
    fn called(&mut self, call: &Call) {
        let calls = self.calls.entry(call.turn).or_default();
        assert!(calls.iter().all(|number| *number < call.attempt), "each call is a new attempt");
        calls.push(call.attempt);
        assert!(calls.len() <= limits::ATTEMPTS_MAX as usize, "a turn is called for three times at most");
        let recorded = self.attempts.get(&call.turn).copied().unwrap_or(1);
        assert!(call.attempt <= recorded, "an attempt is recorded before the call");
        assert!(!self.deleted, "nobody is called for a conversation that is deleted");
        let turn = self.turns.values().find(|turn| turn.id == call.turn).expect("it was accepted");
        for before in self.turns.values().filter(|before| before.seq < turn.seq) {
            assert!(self.outcomes.contains_key(&before.id), "turns run in order");
        }
        let told: Vec<_> = call.messages.iter().map(|message| message.content.to_string()).collect();
        assert_eq!(told, self.path(turn), "the model is told the path from the root");
    }

    /// What a turn is told, as the database has it: no more than six messages.
    fn path(&self, turn: &NewTurn) -> Vec<String> {
        let mut told = vec![turn.content.to_string()];
        let mut next = turn.parent;
        while let Some(turn) = next.and_then(|id| self.turns.values().find(|turn| turn.id == id)) {
            let answer = self.answer(turn.id);
            if told.len() + 1 + usize::from(answer.is_some()) > 6 {
                break;
            }
            told.extend(answer);
            told.push(turn.content.to_string());
            next = turn.parent;
        }
        told.reverse();
        told
    }

    fn answer(&self, turn: TurnId) -> Option<String> {
        match &self.outcomes.get(&turn)?.ending {
            Ending::Completed(completion) => Some(completion.text.to_string()),
            _ => None,
        }
    }

    /// Somebody is told something, and the stream forgets the message.
    fn answered(&mut self, ticket: Ticket, result: &Result<Answer, Fault>) {
        let place = self.delivered.remove(&ticket).expect("each delivery is answered once");
        let queued = &mut self.stream[place];
        queued.acknowledged = true;
        self.delivered.insert(ticket, place);
        let about = match result {
            Ok(answer) => Some(answer.turn_id),
            Err(fault) if fault.code == FaultCode::AnswerPending => None,
            Err(fault) => fault.turn_id,
        };
        if let Some(turn) = about {
            let outcome = self.outcomes.get(&turn).expect("nothing is told before it is stored");
            assert_eq!(outcome.reply(), *result, "what is told is what is stored");
        }
        let pending = matches!(result, Err(fault) if fault.code == FaultCode::AnswerPending);
        let accepted = self.turns.values().any(|turn| turn.id == self.stream[place].turn);
        let ended = self.outcomes.contains_key(&self.stream[place].turn);
        assert!(!accepted || ended || pending, "a turn leaves the queue when its outcome is stored");
    }

    fn stop_call(&mut self) {
        let place = self.pending.iter().position(|effect| matches!(effect, Effect::Call(_)));
        // It may have ended meanwhile.
        let Some(Effect::Call(call)) = place.map(|place| self.pending.remove(place)) else { return };
        self.happens(Event::Ended(call.turn, Ended::Stopped("so far".into()), 2));
    }

    fn carry_out(&mut self, effect: Effect, luck: u8) -> Option<Event> {
        Some(match effect {
            Effect::Load => Event::Loaded(self.history()),
            Effect::LoadBranch(turn) => Event::BranchLoaded(self.load_path(turn)),
            Effect::Offer(_) if luck % 16 == 15 => Event::Accepted(Err(WriteError::Overloaded)),
            Effect::Offer(turn) => {
                let accepted = self.accept(*turn);
                // The writer writes again what it had no answer for, and then meets its own work.
                Event::Accepted(if luck % 4 == 3 { Err(WriteError::Nothing) } else { accepted })
            }
            Effect::Find(turn) => Event::Found(self.look_up(&turn)),
            Effect::RecordAttempt(turn, number) => {
                let known = self.attempts.get(&turn).is_some_and(|recorded| *recorded >= number);
                if !known {
                    self.attempts.insert(turn, number);
                }
                let attempt = if known || luck % 8 == 7 { Attempt::Known } else { Attempt::Recorded };
                self.doubtful |= attempt == Attempt::Known;
                Event::AttemptRecorded(turn, attempt)
            }
            Effect::Call(call) => {
                let ended = ended(&call, luck);
                if matches!(ended, Ended::NotMade | Ended::Refused(_) | Ended::Waiting(..)) {
                    self.calls.entry(call.turn).or_default().pop();
                }
                Event::Ended(call.turn, ended, 2)
            }
            Effect::Write(_) if luck % 16 == 15 => {
                let Effect::Write(outcome) = effect else { unreachable!() };
                Event::Recorded(outcome.turn, Err(WriteError::Overloaded))
            }
            Effect::Write(outcome) => {
                let turn = outcome.turn;
                let first = !self.outcomes.contains_key(&turn);
                let made = self.calls.get(&turn).and_then(|calls| calls.last()).copied().unwrap_or_default();
                // Only what is stored tells.
                assert!(!first || outcome.attempts >= made, "every call is told of");
                assert!(!first || self.doubtful || outcome.attempts == made, "and no call that was not made");
                self.outcomes.entry(turn).or_insert(*outcome);
                let known = first && luck % 4 != 3;
                Event::Recorded(turn, if known { Ok(()) } else { Err(WriteError::Nothing) })
            }
            Effect::Settle(turn, _) => {
                let outcome = self.outcomes.get(&turn).filter(|_| !self.deleted);
                Event::Settled(turn, outcome.map(Outcome::reply))
            }
            Effect::Rest(turn, _) => Event::Rested(turn),
            _ => return None,
        })
    }

    fn accept(&mut self, turn: NewTurn) -> Result<Accepted, WriteError> {
        let taken = self.turns.values().any(|known| {
            known.id == turn.id
                || (turn.idempotency_key.is_some() && known.idempotency_key == turn.idempotency_key)
        });
        if taken || self.deleted || self.turns.contains_key(&turn.seq) {
            return Err(WriteError::Nothing);
        }
        self.turns.insert(turn.seq, turn);
        Ok(accepted())
    }

    fn look_up(&self, sent: &NewTurn) -> Sent {
        if self.deleted {
            let own = self.turns.values().find(|turn| turn.id == sent.id);
            return own.map_or(Sent::NoConversation, |turn| Sent::WrittenAndGone { seq: turn.seq });
        }
        let found = self.turns.values().find(|known| {
            known.id == sent.id
                || (sent.idempotency_key.is_some() && known.idempotency_key == sent.idempotency_key)
        });
        match found {
            Some(turn) => Sent::Turn(Box::new(self.stored(turn))),
            None => Sent::Nothing { next_seq: self.next_seq() },
        }
    }

    fn next_seq(&self) -> i64 {
        self.turns.keys().next_back().map_or(0, |seq| seq + 1)
    }

    fn stored(&self, turn: &NewTurn) -> StoredTurn {
        let outcome = self.outcomes.get(&turn.id).map(Outcome::reply);
        StoredTurn {
            id: turn.id,
            conversation: self.id,
            body_hash: turn.body_hash,
            outcome,
            accepted: accepted(),
            view: view(turn),
        }
    }

    fn history(&self) -> Option<History> {
        let leaf = self
            .turns
            .values()
            .rev()
            .find(|turn| turn.kind != TurnKind::Regenerate || self.answer(turn.id).is_some());
        let open = self.turns.values().rev().filter(|turn| !self.outcomes.contains_key(&turn.id));
        let mut turns: Vec<PastTurn> = Vec::new();
        for end in leaf.into_iter().chain(open) {
            let path = self.load_path(end.id);
            turns.extend(
                path.into_iter()
                    .filter(|turn| turns.iter().all(|known| known.id != turn.id))
                    .collect::<Vec<_>>(),
            );
        }
        turns.sort_by_key(|turn| turn.seq);
        Some(History { user: self.user, deleted: self.deleted, next_seq: self.next_seq(), turns })
    }

    fn load_path(&self, end: TurnId) -> Vec<PastTurn> {
        let (mut next, mut path) = (Some(end), Vec::new());
        while let Some(turn) = next.and_then(|id| self.turns.values().find(|turn| turn.id == id)) {
            path.push(self.past(turn));
            next = turn.parent;
        }
        path.reverse();
        path
    }

    fn past(&self, turn: &NewTurn) -> PastTurn {
        let open = OpenTurn {
            idempotency_key: turn.idempotency_key.clone(),
            body_hash: turn.body_hash,
            model: "m".into(),
            settings: turn.settings.clone(),
            opening: None,
            attempts: self.attempts.get(&turn.id).copied().unwrap_or(1),
            cancelled: self.cancels.contains(&turn.id),
        };
        PastTurn {
            id: turn.id,
            seq: turn.seq,
            kind: turn.kind,
            parent: turn.parent,
            user_message: turn.user_message,
            question: turn.content.clone(),
            answer: self.answer(turn.id).map(Into::into),
            open: (!self.outcomes.contains_key(&turn.id)).then_some(open),
        }
    }

    /// What must hold once everything has come to rest.
    pub fn is_at_rest(&self) {
        assert!(!self.machine.is_busy(), "nothing is in hand: {:?}", self.machine);
        assert!(self.stream.iter().all(|queued| queued.acknowledged), "the queue is empty");
        for (seq, turn) in (0..).zip(self.turns.values()) {
            assert_eq!(turn.seq, seq, "places have no gaps");
            assert!(self.outcomes.contains_key(&turn.id), "every accepted turn has its outcome");
        }
        let keys: Vec<_> = self.turns.values().filter_map(|turn| turn.idempotency_key.clone()).collect();
        assert_eq!(keys.len(), keys.iter().collect::<HashSet<_>>().len(), "a key is one turn");
    }
}
