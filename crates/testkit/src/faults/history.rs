//! What clients did and what they were told, one event after the other: the only account of a run that does not come from
//! the system under test.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde_json::{Value, json};
use uuid::Uuid;

/// Microseconds since 1970, by the one clock of this machine.
pub type Micros = i64;

/// Now.
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A number for a text.
pub fn text_hash(text: &str) -> u64 {
    llm::simulator::digest(&[llm::Message::user(text)])
}

/// What is known about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is about to be made.
    Invoke,
    /// It was answered: what was asked for is so, the failure of a turn included.
    Ok,
    /// It was refused: nothing changed.
    Fail,
    /// Nobody knows: no answer, or one that says so.
    Info,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// An answer to a message.
    Send,
    /// The messages of a conversation.
    Read,
    /// That a conversation is gone.
    Delete,
    /// Something of somebody else's, or something that never was.
    Probe {
        /// Whether it never was.
        nowhere: bool,
        /// Which door and which operation, for comparison.
        door: u8,
    },
    /// Something, with a credential that is good for nothing.
    Forged,
    /// That a turn stops; the answer's code is how it ended.
    Cancel,
    /// The events of a turn, over one connection; the answer's code is the last one's name.
    Watch,
}

/// The way a request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// HTTP, through this ingress.
    Http(usize),
    /// NATS, directly.
    Nats,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub at: Micros,
    /// What is known.
    pub kind: Kind,
    /// What was asked for.
    pub ask: Ask,
    /// How.
    pub via: Via,
    /// Pairs what was asked with what came of it.
    pub request: u64,
    /// Who.
    pub user: usize,
    /// About which conversation, by its number in the run.
    pub talk: usize,
    /// The message's own number in the run; only of sends.
    pub send: Option<u64>,
    /// The idempotency key.
    pub key: Option<String>,
    /// The hash of what was said.
    pub text: u64,
    /// The turn that the answer names.
    pub turn: Option<Uuid>,
    /// The turns whose answers were read.
    pub read: Vec<Uuid>,
    /// The fault's name; `ok` without one, `answered` for an answer.
    pub code: String,
    /// The hash of the answer.
    pub answer: u64,
    /// The length of what came, in bytes.
    pub bytes: usize,
    /// Whose texts were in it.
    pub canaries: Vec<usize>,
}

/// The events of a run, in memory and in a file.
#[derive(Debug)]
pub struct History {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    events: Vec<Event>,
    requests: u64,
    file: BufWriter<File>,
}

impl History {
    /// An empty one, that writes to `path`.
    pub fn new(path: &Path) -> Self {
        let file = BufWriter::new(File::create(path).expect("a file for the history"));
        Self { inner: Mutex::new(Inner { events: Vec::new(), requests: 0, file }) }
    }

    /// A number for a request.
    pub fn number(&self) -> u64 {
        let mut inner = self.lock();
        inner.requests += 1;
        inner.requests
    }

    /// Adds an event.
    pub fn add(&self, event: Event) {
        let mut inner = self.lock();
        let line = event.line(inner.events.len());
        writeln!(inner.file, "{line}").expect("the history is written");
        inner.events.push(event);
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        let mut inner = self.lock();
        inner.file.flush().expect("the history is written");
        inner.events.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event {
    fn line(&self, i: usize) -> Value {
        let (kind, ask) = (format!("{:?}", self.kind).to_lowercase(), format!("{:?}", self.ask));
        let via = match self.via {
            Via::Http(ingress) => format!("http{ingress}"),
            Via::Nats => "nats".to_owned(),
        };
        json!({
            "i": i, "t": self.at, "type": kind, "f": ask, "via": via, "request": self.request, "user": self.user,
            "conv": self.talk, "send": self.send, "key": self.key, "turn": self.turn, "read": self.read.len(),
            "code": self.code, "text_h": format!("{:016x}", self.text), "answer_h": format!("{:016x}", self.answer),
            "bytes": self.bytes, "canaries": self.canaries,
        })
    }
}

/// What marks a text as this user's, so that it is found wherever it turns up.
pub fn canary(user: usize, send: u64) -> String {
    format!("canary-{user}-{send}-yranac")
}

/// Whose canaries are in these bytes, each once.
pub fn canaries(bytes: &[u8]) -> Vec<usize> {
    let text = String::from_utf8_lossy(bytes);
    let mut found: Vec<usize> =
        text.split("canary-").skip(1).filter_map(|rest| rest.split('-').next()?.parse().ok()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_are_found_once_each() {
        let text = format!("{{\"a\":\"{} {}\",\"b\":\"{}\"}}", canary(3, 1), canary(12, 7), canary(3, 2));
        assert_eq!(canaries(text.as_bytes()), [3, 12]);
        assert_eq!(canaries(b"no canary- here"), [0; 0]);
    }
}
