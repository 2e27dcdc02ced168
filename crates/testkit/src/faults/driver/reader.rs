//! What senders do while their turn runs: read its events, leaving and coming back at any ingress, or cancel it.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{Asked, Driver, PAUSE};
use crate::{
    EventStream, StreamEvent,
    faults::{
        dice::Dice,
        doors::{self, Request},
        history::{Ask, Kind, Micros, Via, canaries, now},
        plan::{Meanwhile, Message},
    },
};

/// Before the second look for the turn of a message that is under way; then twice as long each time, up to a bound.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_MAX: Duration = Duration::from_secs(5);
/// For the answer to such a look.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);
/// A reader who is told nothing for so long comes back over another connection: this one may be dead.
const SILENCE: Duration = Duration::from_secs(10);
/// A reader leaves after so many events at most, if it means to leave.
const STAY_MAX: u64 = 6;

/// What a reader was told of a turn, over all its connections.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Which conversation, by its number.
    pub talk: usize,
    /// Which turn.
    pub turn: Uuid,
    /// When it began to read.
    pub began: Micros,
    /// When it stopped.
    pub until: Micros,
    /// What it was told, in order.
    pub told: Vec<Told>,
    /// Its connections.
    pub connections: usize,
    /// Connections that it left by itself, or that broke, before the end.
    pub interrupted: usize,
}

/// An event of a turn, as a reader got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Micros,
    /// Over which connection, from 1.
    pub connection: usize,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Of which attempt it is; 0 if it does not say.
    pub attempt: i16,
    /// Where its text belongs, of deltas.
    pub offset: usize,
    /// The text of a delta, or the whole answer.
    pub text: String,
}

/// How a connection ended.
enum End {
    /// With the turn's last event.
    Told,
    /// There is nothing to read, and never will be.
    Gone,
    /// Before that; and whether it broke.
    Early(bool),
}

impl Reading {
    /// The last event of the turn, if the reader was told.
    pub fn end(&self) -> Option<&Told> {
        self.told.last().filter(|told| told.is_end())
    }

    /// The longest time between two events, in microseconds; none where there were not two.
    pub fn silence(&self) -> Option<Micros> {
        self.told.windows(2).map(|two| two[1].at - two[0].at).max()
    }
}

impl Told {
    fn new(event: StreamEvent, connection: usize) -> Self {
        let StreamEvent { id, name, data } = event;
        let text = if name == "delta" { &data["text"] } else { &data["response"] };
        Self {
            at: now(),
            connection,
            id,
            attempt: data["attempt"].as_i64().and_then(|it| it.try_into().ok()).unwrap_or_default(),
            offset: data["offset"].as_u64().and_then(|it| it.try_into().ok()).unwrap_or_default(),
            text: text.as_str().unwrap_or_default().to_owned(),
            name,
        }
    }

    /// Whether nothing can come after it.
    pub fn is_end(&self) -> bool {
        matches!(&*self.name, "completed" | "failed" | "cancelled")
    }
}

impl Driver {
    /// Does what the sender of this message means to do while its turn runs. The message is the one at `place`.
    pub(super) async fn meanwhile(&self, message: &Message, talk: usize, place: usize) {
        if message.meanwhile == Meanwhile::Wait {
            return;
        }
        let Some(turn) = self.turn_of(message, place).await else { return };
        match message.meanwhile {
            Meanwhile::Wait => {}
            Meanwhile::Watch { leaves } => self.watch(message, talk, turn, leaves.into()).await,
            Meanwhile::Cancel { after_ms } => {
                sleep(Duration::from_millis(after_ms)).await;
                self.cancel(message, talk, turn).await;
            }
        }
    }

    /// The turn of a message, once there is one.
    async fn turn_of(&self, message: &Message, place: usize) -> Option<Uuid> {
        let (person, key) = (&self.people[message.user], message.key()?);
        let (deadline, mut pause) = (Instant::now() + self.insistence, LOOK);
        while Instant::now() < deadline {
            // Whoever knows the outcome has a turn, or never will.
            let known = self.lock().sent[place].known.is_some();
            let asked = doors::over_nats(&person.nats, &person.id, Request::Find { key: &key });
            let found = timeout(LOOK_PATIENCE, asked).await.ok().flatten();
            match found.filter(|found| found.status == 200) {
                Some(found) => return found.json()["id"].as_str()?.parse().ok(),
                None if known => return None,
                None => sleep(pause).await,
            }
            pause = LOOK_MAX.min(2 * pause);
        }
        None
    }

    async fn cancel(&self, message: &Message, talk: usize, turn: Uuid) {
        let deadline = Instant::now() + self.insistence;
        let mut ways = [message.then_via, message.via].into_iter().cycle();
        while let Some(via) = ways.next().filter(|_| Instant::now() < deadline) {
            let request = Request::Cancel { turn };
            let asked = Asked { user: message.user, talk, via, ask: Ask::Cancel, send: None, request };
            if self.ask(asked).await.0.kind != Kind::Info {
                break;
            }
            sleep(PAUSE).await;
        }
    }

    async fn watch(&self, message: &Message, talk: usize, turn: Uuid, leaves: usize) {
        let mut dice = Dice::new(self.seed, 0x5ead_0000 + message.number);
        let began = now();
        let mut reading =
            Reading { talk, turn, began, until: began, told: Vec::new(), connections: 0, interrupted: 0 };
        let deadline = Instant::now() + self.insistence;
        while Instant::now() < deadline {
            let ingress = dice.index(self.on.ingresses().len());
            let stay = (reading.interrupted < leaves).then(|| dice.between(1, STAY_MAX));
            match self.connect(message.user, ingress, stay, &mut reading).await {
                End::Told | End::Gone => break,
                End::Early(_) => reading.interrupted += 1,
            }
            sleep(PAUSE / 10).await;
        }
        reading.until = now();
        self.lock().readings.push(reading);
    }

    /// Reads over one connection, for so many events at most.
    async fn connect(&self, user: usize, ingress: usize, stay: Option<u64>, reading: &mut Reading) -> End {
        let request = Request::Events { turn: reading.turn };
        let via = Via::Http(ingress);
        let asked = Asked { user, talk: reading.talk, via, ask: Ask::Watch, send: None, request };
        let mut event = self.invoke(&asked);
        reading.connections += 1;
        let before = reading.told.len();
        let end = self.read(asked, stay, reading).await;
        let told = &reading.told[before..];
        (event.kind, event.code) = match &end {
            Err(status) => (Kind::Fail, format!("refused with {status}")),
            Ok(End::Told | End::Gone) => {
                (Kind::Ok, told.last().map_or(String::new(), |told| told.name.clone()))
            }
            Ok(End::Early(false)) => (Kind::Ok, "left".to_owned()),
            Ok(End::Early(true)) => (Kind::Info, "broken".to_owned()),
        };
        event.at = now();
        event.canaries = canaries(told.iter().map(|told| told.text.as_str()).collect::<String>().as_bytes());
        self.history.add(event);
        match end {
            Ok(end) => end,
            Err(404) => End::Gone,
            Err(_) => End::Early(true),
        }
    }

    /// As [`Driver::connect`]; the error is the status of an answer that is no stream.
    async fn read(&self, asked: Asked<'_>, stay: Option<u64>, reading: &mut Reading) -> Result<End, u16> {
        let Via::Http(ingress) = asked.via else { return Ok(End::Gone) };
        let door = self.on.ingresses()[ingress].door.address();
        let url = format!("http://{door}/turns/{}/events", reading.turn);
        let mut request = self.http.get(url).bearer_auth(&self.people[asked.user].token);
        if let Some(last) = reading.told.last() {
            request = request.header("Last-Event-ID", &last.id);
        }
        let mut stream = match timeout(SILENCE, request.send()).await {
            Ok(Ok(response)) if response.status() == 200 => EventStream::new(response),
            Ok(Ok(response)) => return Err(response.status().as_u16()),
            _ => return Ok(End::Early(true)),
        };
        let mut left = stay.unwrap_or(u64::MAX);
        while left > 0 {
            match timeout(SILENCE, stream.try_next()).await {
                Ok(Ok(Some(event))) => {
                    let told = Told::new(event, reading.connections);
                    let is_end = told.is_end();
                    reading.told.push(told);
                    if is_end {
                        return Ok(End::Told);
                    }
                    left -= 1;
                }
                Ok(Ok(None)) => return Ok(End::Early(false)),
                Ok(Err(_)) | Err(_) => return Ok(End::Early(true)),
            }
        }
        Ok(End::Early(false))
    }
}
