//! Sends messages and measures how long their answers take. Each worker has a connection of its own; no conversation ever
//! has two messages in flight.

mod closed;
mod open;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ::http::StatusCode;
use anyhow::ensure;
use bytes::Bytes;
use tokio::task::JoinSet;

pub use self::{closed::Closed, open::Open};
use crate::{http::Connection, latencies::Latencies, population::Conversation};

/// What every message says.
pub const MESSAGE: &str = "I have a Postgres table of about forty million rows, and deleting the old ones takes hours. \
    Should I delete in batches, or partition the table by month?";

/// When messages are to be sent.
pub enum Arrivals {
    /// Each worker sends its next one when the last is answered.
    Closed(Closed),
    /// At a constant rate, whatever the answers do.
    Open(Open),
}

impl Arrivals {
    /// The time at which the next message was due, once it is; none when the run is over.
    async fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed(closed) => closed.next(),
            Self::Open(open) => open.next().await,
        }
    }
}

/// Drives one server.
pub struct Driver {
    server: SocketAddr,
    conversations: Arc<[Conversation]>,
    idle: Arc<Mutex<Vec<usize>>>,
    each_once: bool,
    body: Bytes,
}

/// How one run went.
#[derive(Debug, Default)]
pub struct Run {
    /// From when a message was due until its answer was complete, for each that was answered well.
    pub latencies: Latencies,
    /// From the start until the last answer.
    pub took: Duration,
    /// What else was answered, and how often.
    pub failures: BTreeMap<String, u64>,
}

impl Run {
    /// Messages answered per second.
    pub fn turns_per_s(&self) -> f64 {
        self.latencies.count() as f64 / self.took.as_secs_f64()
    }
}

impl Driver {
    /// For these conversations, in which nothing is in flight.
    pub fn new(server: SocketAddr, conversations: Vec<Conversation>) -> Self {
        let idle = (0..conversations.len()).collect();
        let body = serde_json::json!({ "content": MESSAGE }).to_string().into();
        let idle = Arc::new(Mutex::new(idle));
        Self { server, conversations: conversations.into(), idle, each_once: false, body }
    }

    /// The same, and no conversation is sent a second message.
    pub fn each_once(self) -> Self {
        Self { each_once: true, ..self }
    }

    /// Conversations, and so the most messages that can be in flight.
    pub fn conversations(&self) -> usize {
        self.conversations.len()
    }

    /// Sends with so many workers, once all are connected.
    ///
    /// # Errors
    /// A server that takes no connection. Whatever it answers is no error, but a failure to report.
    pub async fn run(
        &self,
        workers: usize,
        start: impl FnOnce() -> std::io::Result<Arrivals>,
    ) -> anyhow::Result<Run> {
        ensure!(workers <= self.conversations.len(), "{workers} workers need as many conversations");
        let mut ready = Vec::with_capacity(workers);
        for _ in 0..workers {
            ready.push(self.worker().await?);
        }
        let began = Instant::now();
        let arrivals = Arc::new(start()?);
        let mut running: JoinSet<_> = ready.into_iter().map(|worker| worker.work(arrivals.clone())).collect();
        let (mut durations_us, mut failures) = (Vec::new(), BTreeMap::new());
        while let Some(done) = running.join_next().await {
            let done = done?;
            durations_us.extend(done.durations_us);
            for failure in done.failures {
                *failures.entry(failure).or_default() += 1;
            }
        }
        Ok(Run { took: began.elapsed(), latencies: durations_us.into_iter().collect(), failures })
    }

    async fn worker(&self) -> anyhow::Result<Worker> {
        Ok(Worker {
            connection: Connection::open(self.server).await?,
            conversations: self.conversations.clone(),
            idle: self.idle.clone(),
            each_once: self.each_once,
            body: self.body.clone(),
            durations_us: Vec::new(),
            failures: Vec::new(),
        })
    }
}

/// Sends one message at a time.
struct Worker {
    connection: Connection,
    conversations: Arc<[Conversation]>,
    idle: Arc<Mutex<Vec<usize>>>,
    each_once: bool,
    body: Bytes,
    durations_us: Vec<u32>,
    failures: Vec<String>,
}

impl Worker {
    async fn work(mut self, arrivals: Arc<Arrivals>) -> Self {
        while let Some(due) = arrivals.next().await {
            match self.send().await {
                Ok(()) => self.durations_us.push(due.elapsed().as_micros().try_into().unwrap_or(u32::MAX)),
                Err(failure) => self.failures.push(format!("{failure:#}")),
            }
        }
        self
    }

    async fn send(&mut self) -> anyhow::Result<()> {
        let Some(chosen) = self.take() else { anyhow::bail!("no conversation is idle") };
        let Conversation { messages, authorization } = &self.conversations[chosen];
        let sent =
            self.connection.post(messages.clone(), Some(authorization.clone()), self.body.clone()).await;
        if !self.each_once {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(chosen);
        }
        let (status, answer) = sent?;
        ensure!(status == StatusCode::OK, "{status} {}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    /// A random conversation in which nothing is in flight.
    fn take(&self) -> Option<usize> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        (!idle.is_empty()).then(|| {
            let at = rand::random_range(0..idle.len());
            idle.swap_remove(at)
        })
    }
}
