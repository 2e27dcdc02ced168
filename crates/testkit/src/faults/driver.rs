//! Many users at once, each step at its time, however slow the answers are.

mod reader;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

pub use self::reader::{Reading, Told};
use super::{
    doors::{self, Got, Request, Verdict, door_number},
    history::{Ask, Event, History, Kind, Micros, Via, canaries, now, text_hash},
    installation::Installation,
    plan::{Message, Plan, Size, Step, Twist},
};
use crate::{Client, RawNats, Stranger, User, user::text};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(300);
/// Good for nothing: not signed by anybody.
const FORGED: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIwIiwiZXhwIjo5OTk5OTk5OTk5fQ.";

/// A conversation of a run.
#[derive(Debug, Clone)]
pub struct Talk {
    /// Whose.
    pub user: usize,
    /// Its id.
    pub id: Uuid,
}

/// A message that was sent, and what its sender knows in the end.
#[derive(Debug, Clone)]
pub struct Sent {
    /// What was planned.
    pub message: Message,
    /// In which conversation, by its number.
    pub talk: usize,
    /// When it was due.
    pub due: Micros,
    /// When its sender knew, and what.
    pub known: Option<(Micros, String)>,
}

/// Somebody with an account.
#[derive(Debug)]
pub struct Person {
    /// Their id.
    pub id: String,
    /// Their token.
    pub token: String,
    project: String,
    nats: Stranger,
}

/// The clients of a run.
pub struct Driver {
    on: Arc<Installation>,
    history: Arc<History>,
    http: reqwest::Client,
    people: Vec<Person>,
    seed: u64,
    /// A client tries for so long to learn what became of its message.
    insistence: Duration,
    state: Mutex<State>,
    over: AtomicBool,
}

#[derive(Default)]
struct State {
    talks: Vec<Talk>,
    current: HashMap<(usize, usize), usize>,
    sent: Vec<Sent>,
    readings: Vec<Reading>,
}

impl Driver {
    /// Registers everybody, and begins their conversations. Clients insist for so long.
    pub async fn start(
        on: Arc<Installation>,
        history: Arc<History>,
        size: &Size,
        insistence: Duration,
    ) -> Arc<Self> {
        let client = Client::at(on.ingresses()[0].door.address());
        let (mut people, mut state) = (Vec::new(), State::default());
        for user in 0..size.users {
            let person = User::register(&client).await;
            let project = person.project().await;
            for slot in 0..size.talks {
                let body = json!({ "project_id": project });
                let id = text(&person.post("/conversations", body).await.ok()["id"]).parse().unwrap();
                state.current.insert((user, slot), state.talks.len());
                state.talks.push(Talk { user, id });
            }
            let inbox = format!("_INBOX.{}", person.id);
            let nats = Stranger::with_token(&on.nats_url(), &person.token, &inbox).await;
            let nats = nats.expect("NATS lets users in");
            people.push(Person { id: person.id.clone(), token: person.token.clone(), project, nats });
        }
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let (seed, state, over) = (size.seed, Mutex::new(state), AtomicBool::new(false));
        Arc::new(Self { on, history, http, people, seed, insistence, state, over })
    }

    /// Carries out a plan, and returns when every step has come to its end.
    pub async fn follow(self: &Arc<Self>, plan: Plan) {
        let began = Instant::now();
        let mut steps = JoinSet::new();
        for (due, step) in plan.steps {
            sleep_until(began + due).await;
            let driver = self.clone();
            steps.spawn(async move { driver.step(step).await });
            while steps.try_join_next().is_some_and(|ended| ended.is_ok()) {}
        }
        while let Some(ended) = steps.join_next().await {
            ended.expect("a client does not panic");
        }
    }

    /// Every conversation so far.
    pub fn talks(&self) -> Vec<Talk> {
        self.lock().talks.clone()
    }

    /// Every message so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.lock().sent.clone()
    }

    /// What readers of events were told so far.
    pub fn readings(&self) -> Vec<Reading> {
        self.lock().readings.clone()
    }

    /// What they saw.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Everybody.
    pub fn people(&self) -> &[Person] {
        &self.people
    }

    /// Nobody insists any longer.
    pub fn give_up(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Asks as this user, and writes down what came of it.
    pub async fn ask(&self, asked: Asked<'_>) -> (Verdict, Option<Got>) {
        self.ask_with(asked, None).await
    }

    /// Writes down that this is about to be asked.
    fn invoke(&self, asked: &Asked<'_>) -> Event {
        let event = Event {
            at: now(),
            kind: Kind::Invoke,
            ask: asked.ask,
            via: asked.via,
            request: self.history.number(),
            user: asked.user,
            talk: asked.talk,
            send: asked.send,
            key: match asked.request {
                Request::Send { key, .. } => key.map(str::to_owned),
                _ => None,
            },
            text: match asked.request {
                Request::Send { text, .. } => text_hash(text),
                _ => 0,
            },
            turn: match asked.request {
                Request::Events { turn } | Request::Cancel { turn } => Some(turn),
                _ => None,
            },
            read: Vec::new(),
            code: String::new(),
            answer: 0,
            bytes: 0,
            canaries: Vec::new(),
        };
        self.history.add(event.clone());
        event
    }

    async fn ask_with(&self, asked: Asked<'_>, credential: Option<&str>) -> (Verdict, Option<Got>) {
        let person = &self.people[asked.user];
        let mut event = self.invoke(&asked);
        let got = match asked.via {
            Via::Http(ingress) => {
                let token = credential.unwrap_or(&person.token);
                doors::over_http(&self.http, &self.on, ingress, token, asked.request).await
            }
            Via::Nats => doors::over_nats(&person.nats, &person.id, asked.request).await,
        };
        let verdict = Verdict::of(got.as_ref());
        event.at = now();
        event.kind = verdict.kind;
        event.turn = verdict.turn.or(event.turn);
        event.code.clone_from(&verdict.code);
        event.answer = verdict.answer.as_deref().map_or(0, text_hash);
        if let Some(got) = &got {
            event.bytes = got.body.len();
            event.canaries = canaries(&got.bytes());
            event.read = answered_turns(&got.json());
            if asked.ask == Ask::Cancel && verdict.kind == Kind::Ok {
                event.code = got.json()["status"].as_str().unwrap_or_default().to_owned();
            }
        }
        self.history.add(event);
        (verdict, got)
    }

    async fn step(self: Arc<Self>, step: Step) {
        match step {
            Step::Send(message) => self.send(*message).await,
            Step::Read { user, slot, via } => {
                let (talk, id) = self.talk(user, slot);
                self.ask(Asked {
                    user,
                    talk,
                    via,
                    ask: Ask::Read,
                    send: None,
                    request: Request::Messages { talk: id },
                })
                .await;
            }
            Step::Delete { user, slot, via } => self.delete(user, slot, via).await,
            Step::Probe { user, owner, slot, via, operation } => {
                let (talk, id) = self.talk(owner, slot);
                for (nowhere, id) in [(false, id), (true, Uuid::now_v7())] {
                    let request = match operation {
                        0 => Request::Talk { talk: id },
                        1 => Request::Messages { talk: id },
                        _ => Request::Send { talk: id, text: "Whose is this?", key: None },
                    };
                    let ask = Ask::Probe { nowhere, door: door_number(via, operation) };
                    self.ask(Asked { user, talk, via, ask, send: None, request }).await;
                }
            }
            Step::Forge { user, slot, via } => self.forge(user, slot, via).await,
        }
    }

    async fn send(&self, message: Message) {
        let (talk, id) = self.talk(message.user, message.slot);
        let place = {
            let mut state = self.lock();
            state.sent.push(Sent { message: message.clone(), talk, due: now(), known: None });
            state.sent.len() - 1
        };
        let sent = async {
            let known = if message.twist == Twist::Twice {
                let (first, second) = tokio::join!(
                    self.insist(&message, talk, id, message.via),
                    self.insist(&message, talk, id, message.then_via)
                );
                first.or(second)
            } else {
                self.insist(&message, talk, id, message.via).await
            };
            self.lock().sent[place].known = known.map(|code| (now(), code));
            self.repeat(&message, talk, id).await;
        };
        tokio::join!(sent, self.meanwhile(&message, talk, place));
    }

    /// Uses the message's key once more, if that is its twist.
    async fn repeat(&self, message: &Message, talk: usize, id: Uuid) {
        let key = message.key();
        let (text, again) = match message.twist {
            Twist::Again => (message.text.clone(), true),
            Twist::OtherText => (format!("{} And this?", message.text), true),
            _ => (String::new(), false),
        };
        if again {
            let request = Request::Send { talk: id, text: &text, key: key.as_deref() };
            let asked = Asked {
                user: message.user,
                talk,
                via: message.then_via,
                ask: Ask::Send,
                send: Some(message.number),
                request,
            };
            self.ask(asked).await;
        }
    }

    /// Sends until the outcome is known, with the same key, by turns on two ways. Without a key, once.
    async fn insist(&self, message: &Message, talk: usize, id: Uuid, first: Via) -> Option<String> {
        let deadline = Instant::now() + self.insistence;
        let key = message.key();
        let mut ways = [first, message.then_via].into_iter().cycle();
        loop {
            let via = ways.next().unwrap_or(first);
            let request = Request::Send { talk: id, text: &message.text, key: key.as_deref() };
            let asked =
                Asked { user: message.user, talk, via, ask: Ask::Send, send: Some(message.number), request };
            let (verdict, _) = self.ask(asked).await;
            let busy =
                verdict.kind == Kind::Fail && matches!(&*verdict.code, "conversation_busy" | "rate_limited");
            match verdict.kind {
                Kind::Ok => return Some(verdict.code),
                Kind::Fail if !busy => return Some(verdict.code),
                _ if key.is_none() || Instant::now() > deadline || self.over.load(Ordering::Relaxed) => {
                    return None;
                }
                _ => sleep(if busy { PAUSE * 3 } else { PAUSE }).await,
            }
        }
    }

    async fn delete(&self, user: usize, slot: usize, via: Via) {
        let (talk, id) = self.talk(user, slot);
        let Some(fresh) = self.begin(user, via).await else { return };
        {
            let mut state = self.lock();
            state.talks.push(Talk { user, id: fresh });
            let newest = state.talks.len() - 1;
            state.current.insert((user, slot), newest);
        }
        let ask = |ask, request| self.ask(Asked { user, talk, via, ask, send: None, request });
        let deadline = Instant::now() + self.insistence;
        while Instant::now() < deadline {
            let (verdict, _) = ask(Ask::Delete, Request::Delete { talk: id }).await;
            if verdict.kind != Kind::Info {
                break;
            }
            sleep(PAUSE).await;
        }
        ask(Ask::Read, Request::Messages { talk: id }).await;
        ask(Ask::Read, Request::Talk { talk: id }).await;
    }

    /// A new conversation.
    async fn begin(&self, user: usize, via: Via) -> Option<Uuid> {
        let person = &self.people[user];
        let ingress = if let Via::Http(ingress) = via { ingress } else { 0 };
        let door = self.on.ingresses()[ingress % self.on.ingresses().len()].door.address();
        for _ in 0..20 {
            let building = self.http.post(format!("http://{door}/conversations")).bearer_auth(&person.token);
            let building = building.header("Content-Type", "application/json").timeout(doors::PATIENCE);
            let answer = building.body(json!({ "project_id": person.project }).to_string()).send().await;
            if let Ok(answer) = answer
                && answer.status().is_success()
                && let Ok(body) = answer.bytes().await
                && let Ok(body) = serde_json::from_slice::<Value>(&body)
            {
                return body["id"].as_str()?.parse().ok();
            }
            sleep(PAUSE).await;
        }
        None
    }

    async fn forge(&self, user: usize, slot: usize, via: Via) {
        let (talk, id) = self.talk(user, slot);
        if via == Via::Nats {
            // Nobody may come in at all, so there is nobody to ask. To the client library any word of the server is a welcome, such
            // as a ping while it has yet to find out who it is: to be in is to have a ping of one's own answered.
            let url = self.on.nats_url();
            let entered = RawNats::connect(url.split(',').next().unwrap_or_default(), FORGED);
            let entered =
                tokio::time::timeout(doors::PATIENCE, entered).await.is_ok_and(|entered| entered.is_ok());
            assert!(!entered, "NATS has let somebody in with a forged token");
            return;
        }
        let request = Request::Messages { talk: id };
        self.ask_with(Asked { user, talk, via, ask: Ask::Forged, send: None, request }, Some(FORGED)).await;
    }

    fn talk(&self, user: usize, slot: usize) -> (usize, Uuid) {
        let state = self.lock();
        let number = state.current[&(user, slot)];
        (number, state.talks[number].id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request, and who makes it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who.
    pub user: usize,
    /// About which conversation.
    pub talk: usize,
    /// How.
    pub via: Via,
    /// What for.
    pub ask: Ask,
    /// The message's number, of sends.
    pub send: Option<u64>,
    /// What exactly.
    pub request: Request<'a>,
}

/// The turns whose answers are in a list of messages.
fn answered_turns(messages: &Value) -> Vec<Uuid> {
    let messages = messages.as_array().into_iter().flatten();
    let answers = messages.filter(|message| message["role"] == "assistant");
    answers.filter_map(|message| message["turn_id"].as_str()?.parse().ok()).collect()
}
