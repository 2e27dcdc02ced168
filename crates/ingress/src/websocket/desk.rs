//! What one socket has under way: requests, turns that it asked for, turns that it follows. All of it is futures of one task,
//! and ends with it; a turn that was accepted goes on.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bus::Noticed;
use bytes::Bytes;
use futures::{
    StreamExt,
    future::{Abortable, BoxFuture},
    stream::FuturesUnordered,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::oneshot, time::sleep};
use wire::{
    ConversationId, Fault, FaultCode, Turn, TurnEvent, TurnId, UserId,
    limit::{SOCKET_CONVERSATIONS, SOCKET_REQUESTS, SOCKET_TURNS},
    limits::{SOCKET_CONVERSATIONS_MAX, SOCKET_REQUESTS_MAX, SOCKET_TURNS_MAX},
    operations::{CANCEL_TURN, GET_CONVERSATION, GET_TURN, REGENERATE_TURN, SEND_MESSAGE},
};

use super::{
    close::End,
    refused,
    reply::{self, Outcome},
    request::{Asked, Source, Watched},
    turns::{Place, Turns},
};
use crate::{
    answer::Answer,
    caller::Caller,
    send::IdempotencyKey,
    stream::{self, Follower, Form, Frames, Outbox, Position, Undelivered},
};

/// A turn that was asked for is mostly heard of. Where it is not, as it was there before, it is looked for by its key: after
/// this time, then after twice that, …
const LOOK: Duration = Duration::from_millis(300);
/// … up to this.
const LOOK_RARELY: Duration = Duration::from_secs(5);

pub(super) struct Desk {
    caller: Arc<Caller>,
    outbox: Outbox,
    turns: Turns,
    conversations: HashSet<ConversationId>,
    made: Vec<Made>,
    /// How many were made so far.
    numbers: u64,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    /// How much of the work is requests.
    requests: usize,
}

/// A turn that was asked for and has no outcome yet.
struct Made {
    number: u64,
    reference: Option<String>,
    key: String,
    turn: Option<TurnId>,
    /// Dropped when it need not be looked for any more.
    unknown: Option<oneshot::Sender<()>>,
}

/// Some work is done.
pub(super) enum Done {
    /// A request was answered.
    Answered(Result<(), Undelivered>),
    /// A conversation may be watched from now on, if it is there.
    Watching { conversation: ConversationId, reference: Option<String>, outcome: Outcome },
    /// What was asked for has its outcome.
    Made { number: u64, outcome: Outcome },
    /// What was asked for was found.
    Found { number: u64, turn: TurnId },
    /// What was heard of was looked at.
    Seen { turn: TurnId, place: Place, record: Option<Box<Turn>> },
    /// A turn is followed no more.
    Followed { turn: TurnId, number: u64, end: stream::End },
    /// It was given up.
    Nothing,
}

impl Desk {
    pub fn new(caller: Caller, outbox: Outbox) -> Self {
        Self {
            caller: Arc::new(caller),
            outbox,
            turns: Turns::default(),
            conversations: HashSet::new(),
            made: Vec::new(),
            numbers: 0,
            work: FuturesUnordered::new(),
            requests: 0,
        }
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn user(&self) -> UserId {
        self.caller.user()
    }

    /// What is asked from now on is asked with another credential of the same user.
    pub fn go_on_as(&mut self, caller: Caller) {
        self.caller = Arc::new(caller);
    }

    /// Waits until some work is done; for ever, if there is none.
    pub async fn done(&mut self) -> Done {
        match self.work.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// Takes up what is asked for.
    pub async fn take(&mut self, reference: Option<String>, asked: Asked) -> Result<(), End> {
        let taken = match asked {
            Asked::Make { of, key, body } => self.make(reference.clone(), of, key, body),
            Asked::Watch { what: Watched::Turn(turn), from } => self.watch(reference.clone(), turn, from),
            Asked::Watch { what: Watched::Conversation(conversation), .. } => {
                self.attend(reference.clone(), conversation)
            }
            Asked::Cancel { turn } => self.cancel(reference.clone(), turn),
            Asked::Unwatch { what } => {
                match what {
                    Watched::Turn(turn) => self.turns.stop(turn),
                    Watched::Conversation(conversation) => drop(self.conversations.remove(&conversation)),
                }
                return self.tell(reply::reply(reference.as_deref(), &json!({}))).await;
            }
            // Who it is has been dealt with before.
            Asked::Ping | Asked::Auth { .. } => {
                return self.tell(reply::reply(reference.as_deref(), &json!({}))).await;
            }
        };
        match taken {
            Ok(()) => Ok(()),
            Err(fault) => self.refuse(reference.as_deref(), &fault).await,
        }
    }

    /// Says that something is refused.
    pub async fn refuse(&mut self, reference: Option<&str>, fault: &Fault) -> Result<(), End> {
        self.tell(Outcome::fault(fault, &self.caller.context().request_id).frame(reference)).await
    }

    pub async fn tell(&mut self, frame: Bytes) -> Result<(), End> {
        Ok(self.outbox.send(frame).await?)
    }

    fn make(&mut self, reference: Option<String>, of: Source, key: String, body: Bytes) -> Result<(), Fault> {
        self.check_room()?;
        self.numbers += 1;
        let (number, caller) = (self.numbers, self.caller.clone());
        let (unknown, known) = oneshot::channel();
        let (looking, looked_for) = (self.caller.clone(), key.clone());
        let made = Made { number, reference, key: key.clone(), turn: None, unknown: Some(unknown) };
        self.made.push(made);
        self.work.push(Box::pin(async move {
            let key = IdempotencyKey(key);
            let answer = match &of {
                Source::Message(conversation) => {
                    caller.send_and_wait(&SEND_MESSAGE, conversation, key, body).await
                }
                Source::Turn(turn) => caller.send_and_wait(&REGENERATE_TURN, turn, key, body).await,
            };
            Done::Made { number, outcome: outcome(&caller, answer).await }
        }));
        self.work.push(Box::pin(async move {
            match look(&looking, &looked_for, known).await {
                Some(turn) => Done::Found { number, turn },
                None => Done::Nothing,
            }
        }));
        Ok(())
    }

    fn watch(&mut self, reference: Option<String>, turn: TurnId, from: Position) -> Result<(), Fault> {
        if !self.turns.has(turn) {
            self.check_room()?;
        }
        let Place { number, ear, registration } = self.turns.begin(turn);
        let (caller, outbox) = (self.caller.clone(), self.outbox.clone());
        let following = async move {
            let (record, outcome) = record(&caller, turn).await;
            let frames = record.map(|record| frames(turn, from, &record));
            let outcome = match &frames {
                Some(Err(fault)) => Outcome::fault(fault, &caller.context().request_id),
                _ => outcome,
            };
            if let Err(undelivered) = outbox.send(outcome.frame(reference.as_deref())).await {
                return undelivered.into();
            }
            let Some(Ok(frames)) = frames else { return stream::End::Deaf };
            Follower { turn, caller, ear, frames, outbox, form: Form::OnSocket }.follow().await
        };
        self.follow(turn, number, Abortable::new(following, registration));
        Ok(())
    }

    fn attend(&mut self, reference: Option<String>, conversation: ConversationId) -> Result<(), Fault> {
        if self.conversations.len() >= SOCKET_CONVERSATIONS_MAX {
            return Err(refused(&SOCKET_CONVERSATIONS, "Too many conversations are watched: unwatch one"));
        }
        let caller = self.caller.clone();
        self.request(async move {
            let answer = caller.ask(&GET_CONVERSATION, &[&conversation], Bytes::new()).await;
            Done::Watching { conversation, reference, outcome: outcome(&caller, answer).await }
        })
    }

    fn cancel(&mut self, reference: Option<String>, turn: TurnId) -> Result<(), Fault> {
        let (caller, outbox) = (self.caller.clone(), self.outbox.clone());
        self.request(async move {
            let answer = caller.ask(&CANCEL_TURN, &[&turn], Bytes::new()).await;
            let outcome = outcome(&caller, answer).await;
            Done::Answered(outbox.send(outcome.frame(reference.as_deref())).await)
        })
    }

    /// Begins a request, unless too many are under way.
    fn request(&mut self, work: impl Future<Output = Done> + Send + 'static) -> Result<(), Fault> {
        if self.requests >= SOCKET_REQUESTS_MAX {
            return Err(refused(&SOCKET_REQUESTS, "Too many requests are under way on this socket"));
        }
        self.requests += 1;
        self.work.push(Box::pin(work));
        Ok(())
    }

    /// Refuses one more turn where there are as many as may be.
    fn check_room(&self) -> Result<(), Fault> {
        let unheard_of = self.made.iter().filter(|made| made.turn.is_none()).count();
        if self.turns.len() + unheard_of < SOCKET_TURNS_MAX {
            return Ok(());
        }
        Err(refused(&SOCKET_TURNS, "Too many turns are followed over this socket: wait for the end of one"))
    }

    fn follow(
        &self,
        turn: TurnId,
        number: u64,
        following: Abortable<impl Future<Output = stream::End> + Send + 'static>,
    ) {
        self.work.push(Box::pin(async move {
            following.await.map_or(Done::Nothing, |end| Done::Followed { turn, number, end })
        }));
    }

    /// Something may have been missed, of any turn.
    pub fn reconnected(&self) {
        self.turns.hand_to_all(&Noticed::Missed);
    }

    /// Something was heard of a turn.
    pub fn notice(&mut self, turn: TurnId, event: TurnEvent) {
        let begins = matches!(event, TurnEvent::Accepted { .. } | TurnEvent::Started { .. });
        if begins && !self.turns.has(turn) && self.may_be_wanted(turn) {
            // What it is has to be asked; what happens meanwhile is kept.
            let (place, caller) = (self.turns.begin(turn), self.caller.clone());
            self.work.push(Box::pin(async move {
                let (record, _) = record(&caller, turn).await;
                Done::Seen { turn, place, record: record.map(Box::new) }
            }));
        }
        self.turns.hand(turn, Noticed::Event(event));
    }

    fn may_be_wanted(&self, turn: TurnId) -> bool {
        let waited_for = !self.conversations.is_empty() || self.made.iter().any(|made| made.turn.is_none());
        waited_for && !self.turns.is_over(turn) && self.turns.len() < 2 * SOCKET_TURNS_MAX
    }

    /// Goes on after some work was done.
    pub async fn go_on(&mut self, done: Done) -> Result<(), End> {
        match done {
            Done::Nothing => {}
            Done::Answered(told) => {
                self.requests -= 1;
                told?;
            }
            Done::Watching { conversation, reference, outcome } => {
                self.requests -= 1;
                if outcome.succeeded {
                    self.conversations.insert(conversation);
                }
                self.tell(outcome.frame(reference.as_deref())).await?;
            }
            Done::Made { number, outcome } => self.settle(number, outcome).await?,
            Done::Found { number, turn } => self.know(turn, |made| made.number == number).await?,
            Done::Seen { turn, place, record } => self.see(turn, place, record).await?,
            Done::Followed { turn, number, end } => {
                self.turns.end(turn, number, end == stream::End::Told);
                match end {
                    stream::End::Lagged => return Err(End::Lagged),
                    stream::End::Left => return Err(End::Left),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// What was asked for has its outcome. Whoever follows its turn tells it, and where nobody does somebody begins to.
    async fn settle(&mut self, number: u64, outcome: Outcome) -> Result<(), End> {
        #[derive(Deserialize)]
        struct Named {
            turn_id: Option<TurnId>,
            /// Of a turn itself.
            id: Option<TurnId>,
        }
        let named = serde_json::from_slice::<Named>(&outcome.body).ok();
        let turn = named.and_then(|named| named.turn_id.or(named.id));
        if let Some(turn) = turn {
            self.know(turn, |made| made.number == number).await?;
        }
        let Some(place) = self.made.iter().position(|made| made.number == number) else { return Ok(()) };
        let made = self.made.swap_remove(place);
        match made.turn {
            Some(_) => Ok(()),
            None => self.tell(outcome.frame(made.reference.as_deref())).await,
        }
    }

    /// The turn of what was asked for is known: the client is told, and what happens to it.
    async fn know(&mut self, turn: TurnId, is_it: impl Fn(&Made) -> bool) -> Result<(), End> {
        let mut replies = Vec::new();
        for made in self.made.iter_mut().filter(|made| made.turn.is_none() && is_it(made)) {
            (made.turn, made.unknown) = (Some(turn), None);
            replies.push(reply::reply(made.reference.as_deref(), &json!({ "turn_id": turn })));
        }
        if replies.is_empty() {
            return Ok(());
        }
        for frame in replies {
            self.tell(frame).await?;
        }
        if self.turns.has(turn) {
            self.turns.want(turn);
            return Ok(());
        }
        let Place { number, ear, registration } = self.turns.begin(turn);
        let (caller, outbox) = (self.caller.clone(), self.outbox.clone());
        // It looks into the record by itself before long, and at once when the turn is over.
        let following = async move {
            let (record, _) = record(&caller, turn).await;
            let start = Position::START;
            let frames = record.and_then(|record| frames(turn, start, &record).ok());
            let frames = frames.unwrap_or_else(|| Frames::new(turn, start));
            Follower { turn, caller, ear, frames, outbox, form: Form::OnSocket }.follow().await
        };
        self.follow(turn, number, Abortable::new(following, registration));
        Ok(())
    }

    /// It is known what was heard of: whether it was asked for here, or is of a conversation that is watched.
    async fn see(&mut self, turn: TurnId, place: Place, record: Option<Box<Turn>>) -> Result<(), End> {
        let number = place.number;
        let Some(record) = record else {
            self.turns.end(turn, number, false);
            return Ok(());
        };
        self.know(turn, |made| Some(&made.key) == record.idempotency_key.as_ref()).await?;
        // Whoever has asked to watch it meanwhile is told by another.
        let Some(wanted) = self.turns.is_current(turn, number) else { return Ok(()) };
        let frames = frames(turn, Position::START, &record);
        match frames {
            Ok(frames) if wanted || self.conversations.contains(&record.conversation_id) => {
                let (caller, outbox) = (self.caller.clone(), self.outbox.clone());
                let Place { ear, registration, .. } = place;
                let follower = Follower { turn, caller, ear, frames, outbox, form: Form::OnSocket };
                let following = async move {
                    let mut follower = follower;
                    follower.follow().await
                };
                self.follow(turn, number, Abortable::new(following, registration));
            }
            _ => self.turns.end(turn, number, false),
        }
        Ok(())
    }
}

async fn outcome(caller: &Caller, answer: Answer) -> Outcome {
    Outcome::of(answer, &caller.context().request_id).await
}

/// The record of a turn, and the answer that had it.
async fn record(caller: &Caller, turn: TurnId) -> (Option<Turn>, Outcome) {
    let outcome = outcome(caller, caller.ask(&GET_TURN, &[&turn], Bytes::new()).await).await;
    let record = outcome.succeeded.then(|| serde_json::from_slice(&outcome.body).ok()).flatten();
    (record, outcome)
}

/// What a reader who is at `from` is to be shown, as far as the record tells.
fn frames(turn: TurnId, from: Position, record: &Turn) -> Result<Frames, Fault> {
    let mut frames = Frames::new(turn, from);
    frames.check(record).map_err(|_| FaultCode::InvalidEventId)?;
    frames.learn(record);
    Ok(frames)
}

/// Looks for the turn of a key, until it is known or need not be.
async fn look(caller: &Caller, key: &str, mut known: oneshot::Receiver<()>) -> Option<TurnId> {
    let mut pause = LOOK;
    loop {
        tokio::select! {
            _ = &mut known => return None,
            () = sleep(pause) => {}
        }
        if let Some(turn) = caller.turn_of(key).await {
            return Some(turn);
        }
        pause = (2 * pause).min(LOOK_RARELY);
    }
}
