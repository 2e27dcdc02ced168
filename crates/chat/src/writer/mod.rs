//! The one writer of turns in this process. Whatever waits is written in one statement, one transaction, one flush: the
//! writer never sleeps to fill a batch. A statement needs no `begin`, so no transaction is ever owned by a future that can
//! be dropped.

mod batch;
mod connection;
mod statement;

use std::time::{Duration, Instant};

use host::{Drain, postgres::Pool, telemetry::Metric};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::model::{Accepted, NewTurn, Outcome};
use batch::Batch;
use connection::Connection;

/// Entries written at once.
const BATCH_MAX: usize = 256;
/// Each turn in hand has at most one entry here, and the consumers of the stream bound the turns in hand.
const QUEUE_MAX: usize = 32_768;
/// How long to wait before trying again while Postgres is away.
const RETRY: Duration = Duration::from_millis(200);

/// What this module counts.
pub const METRICS: &[Metric] = &[
    Metric::histogram("omnichat_writer_batch_entries", "Turns and outcomes written in one statement."),
    Metric::histogram("omnichat_writer_commit_seconds", "Time to write and flush one batch."),
    Metric::counter("omnichat_writer_retries_total", "Batches written again because Postgres was away."),
    Metric::counter(
        "omnichat_fenced_writes_total",
        "Writes refused because the partition has a later owner.",
    ),
];

/// Why an entry was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The partition has a later owner.
    #[error("the partition has a later owner")]
    Fenced,
    /// Something of the same identity is there already, or the conversation is not: look.
    #[error("nothing was written")]
    Nothing,
    /// Postgres refuses this entry for what is in it.
    #[error("the database refused the entry")]
    Refused,
    /// More waits to be written than may: nothing was tried.
    #[error("too much waits to be written")]
    Overloaded,
    /// The process is stopping.
    #[error("the writer has stopped")]
    Stopped,
}

/// Called once, with how the write ended.
pub type Done<T> = Box<dyn FnOnce(Result<T, WriteError>) + Send + Sync>;

/// Something to be written.
pub(crate) enum Entry {
    Accept(Box<NewTurn>, Done<Accepted>),
    Finish(Box<Outcome>, Done<()>),
}

/// The way to the writer.
#[derive(Clone)]
pub struct Writer {
    entries: mpsc::Sender<Entry>,
}

impl Writer {
    /// Starts the writer over a connection of its own, like those of the pool but with [`SESSION`]. It ends when all its
    /// handles are gone.
    pub fn start(pool: &Pool, default_model: String, drain: &Drain) -> Self {
        let (entries, queue) = mpsc::channel(QUEUE_MAX);
        let connection = Connection::new(pool, SESSION);
        drain.spawn("turn writer", run(connection, default_model, queue, drain.clone()));
        Self { entries }
    }

    /// Writes a turn with its message.
    pub fn accept(&self, turn: Box<NewTurn>, done: Done<Accepted>) {
        self.submit(Entry::Accept(turn, done));
    }

    /// Writes an outcome, with the answer if there is one.
    pub fn finish(&self, outcome: Box<Outcome>, done: Done<()>) {
        self.submit(Entry::Finish(outcome, done));
    }

    fn submit(&self, entry: Entry) {
        match self.entries.try_send(entry) {
            Ok(()) => {}
            Err(TrySendError::Full(entry)) => entry.fail(WriteError::Overloaded),
            Err(TrySendError::Closed(entry)) => entry.fail(WriteError::Stopped),
        }
    }
}

impl Entry {
    fn fail(self, error: WriteError) {
        match self {
            Self::Accept(_, done) => done(Err(error)),
            Self::Finish(_, done) => done(Err(error)),
        }
    }
}

/// Settings of the writer's connection, over those of the service: its one statement is planned once.
pub const SESSION: &[(&str, &str)] =
    &[("enable_seqscan", "off"), ("jit", "off"), ("plan_cache_mode", "force_generic_plan")];

async fn run(
    mut connection: Connection,
    default_model: String,
    mut queue: mpsc::Receiver<Entry>,
    drain: Drain,
) {
    let mut entries = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut entries, BATCH_MAX).await > 0 {
        metrics::histogram!("omnichat_writer_batch_entries").record(entries.len() as f64);
        let batch = Batch::new(std::mem::take(&mut entries));
        write(&mut connection, &default_model, batch, &drain).await;
    }
}

/// Writes a batch; if Postgres refuses it for what is in it, each entry alone, so that one cannot fail the others.
async fn write(connection: &mut Connection, default_model: &str, batch: Batch, drain: &Drain) {
    match write_until_answered(connection, default_model, &batch, drain).await {
        Ok(written) => batch.settle(&written),
        Err(WriteError::Refused) if batch.len() > 1 => {
            for single in batch.split() {
                match write_until_answered(connection, default_model, &single, drain).await {
                    Ok(written) => single.settle(&written),
                    Err(error) => single.fail(error),
                }
            }
        }
        Err(error) => batch.fail(error),
    }
}

/// Every insert leaves alone what is there already, so a batch whose answer was lost may simply be written again.
async fn write_until_answered(
    connection: &mut Connection,
    default_model: &str,
    batch: &Batch,
    drain: &Drain,
) -> Result<statement::Written, WriteError> {
    loop {
        let started = Instant::now();
        match connection.write(default_model, batch).await {
            Ok(written) => {
                metrics::histogram!("omnichat_writer_commit_seconds").record(started.elapsed().as_secs_f64());
                return Ok(written);
            }
            // Committed, and the answer makes no sense to us: whoever asked must look.
            Err(error @ (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_))) => {
                tracing::error!(%error, "the writer's answer could not be read");
                return Err(WriteError::Nothing);
            }
            Err(error) if is_refusal(&error) || (is_timeout(&error) && batch.len() > 1) => {
                tracing::error!(%error, entries = batch.len(), "Postgres refused a batch");
                return Err(WriteError::Refused);
            }
            Err(error) => {
                tracing::warn!(%error, entries = batch.len(), "Postgres is away; the batch is kept");
                metrics::counter!("omnichat_writer_retries_total").increment(1);
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = drain.stop_now() => return Err(WriteError::Stopped),
                }
            }
        }
    }
}

/// Classes 22 and 23 (data, constraints) will not get better; all else may.
fn is_refusal(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(cause) => {
            cause.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
        }
        sqlx::Error::Encode(_) => true,
        _ => false,
    }
}

/// The statement took too long: less at once may do.
fn is_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(cause) if cause.code().is_some_and(|code| code == "57014"))
}
