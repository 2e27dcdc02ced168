//! What a simulator was asked and what became of it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::{Settings, prompt::Message};

/// Bytes of prompts the log holds: 256 MiB.
const PROMPT_BYTES_MAX: usize = 256 << 20;

/// One call to the simulator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The header `X-Client-Request-Id`.
    pub call_id: String,
    /// The model that was asked.
    pub model: String,
    /// How it was asked to answer.
    #[serde(default)]
    pub settings: Settings,
    /// Everything that was asked beside the model, the messages and the stream, as it came, if the simulator keeps prompts;
    /// none if there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// The whole prompt, if the simulator keeps prompts.
    pub messages: Vec<Message>,
    /// The [`digest`](super::digest) of the prompt, kept or not.
    #[serde(default)]
    pub digest: u64,
    /// When the request had come.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it was over.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// Chunks of text handed to the connection.
    pub chunks: u32,
    /// Bytes of the body handed to the connection.
    pub bytes: u64,
    /// What the provider calls it.
    #[serde(default)]
    pub generation_id: String,
    /// Tokens it charges for: those of the prompt once it began to answer, and those of the text handed to the connection.
    #[serde(default)]
    pub tokens: [i64; 2],
    /// Whether an explicit finish was handed to the connection.
    #[serde(default)]
    pub finish_sent: bool,
    /// How it ended; none while it runs.
    pub ended: Option<Ended>,
}

/// What a call is charged with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceLine {
    /// The header `X-Client-Request-Id`.
    pub call_id: String,
    /// What the provider calls it.
    pub generation_id: String,
    /// The model that was asked.
    pub model: String,
    /// Tokens of the prompt; 0 for a call that was not answered at all.
    pub prompt_tokens: i64,
    /// Tokens of the text that was handed to the connection.
    pub completion_tokens: i64,
    /// What they cost by [`Options::charges`](super::Options::charges).
    pub cost_micros: i64,
    /// How it ended.
    pub ended: Ended,
}

/// It cannot be charged yet.
pub(super) struct Runs;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All that the script wants was sent.
    Finished,
    /// The simulator closed the connection, by script or because it stopped.
    Cut,
    /// The client closed the connection.
    ClientGone,
    /// An error was sent, with this HTTP status; 200 if behind or within a good response.
    Error(u16),
}

/// What a simulator has seen since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Connections accepted.
    pub connections: u64,
    /// Calls that run.
    pub running: u64,
    /// Calls that [`Ended::Finished`].
    pub finished: u64,
    /// Calls that [`Ended::Cut`].
    pub cut: u64,
    /// Calls that [`Ended::ClientGone`].
    pub client_gone: u64,
    /// Calls that ended in an [`Ended::Error`].
    pub errors: u64,
}

/// What a call asks, as [`Call`] has it.
#[derive(Default)]
pub(super) struct Asked {
    pub model: String,
    pub settings: Settings,
    pub parameters: Option<Map<String, Value>>,
    pub messages: Vec<Message>,
    pub digest: u64,
}

pub(super) struct Log {
    calls_max: usize,
    charges: [i64; 2],
    entries: Mutex<Entries>,
    /// Changes whenever a call ends.
    ends: watch::Sender<u64>,
}

#[derive(Default)]
struct Entries {
    calls: VecDeque<Call>,
    /// The number of the oldest call held.
    first: u64,
    prompt_bytes: usize,
    counters: Counters,
}

impl Log {
    pub(super) fn new(calls_max: usize, charges: [i64; 2]) -> Self {
        Self { calls_max: calls_max.max(1), charges, entries: Mutex::default(), ends: watch::Sender::new(0) }
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.entries().calls.iter().cloned().collect()
    }

    pub(super) fn counters(&self) -> Counters {
        self.entries().counters
    }

    /// The bill for all calls that have ended, in the order in which they began.
    pub(super) fn invoice(&self) -> Vec<InvoiceLine> {
        self.entries().calls.iter().filter_map(|call| call.charged(self.charges).ok()).collect()
    }

    /// The bill for the newest call with this id, the provider's or the client's.
    pub(super) fn find(&self, id: &str) -> Option<Result<InvoiceLine, Runs>> {
        let entries = self.entries();
        let call = entries.calls.iter().rfind(|call| call.generation_id == id || call.call_id == id)?;
        Some(call.charged(self.charges))
    }

    /// A connection was accepted.
    pub(super) fn connected(&self) {
        self.entries().counters.connections += 1;
    }

    /// Forgets all calls, also those that run.
    pub(super) fn clear(&self) {
        let mut entries = self.entries();
        while entries.forget_oldest() {}
    }

    pub(super) async fn ended(&self, call_id: &str) -> Call {
        let mut ends = self.ends.subscribe();
        loop {
            let newest = self.entries().calls.iter().rfind(|call| call.call_id == call_id).cloned();
            match newest.filter(|call| call.ended.is_some()) {
                Some(call) => return call,
                // The sender lives as long as this log: it cannot be closed.
                None => _ = ends.changed().await,
            }
        }
    }

    /// A call has come.
    pub(super) fn begin(self: &Arc<Self>, call_id: String, asked: Asked) -> Recording {
        let Asked { model, settings, parameters, messages, digest } = asked;
        let mut entries = self.entries();
        entries.prompt_bytes += prompt_bytes(&messages);
        entries.counters.running += 1;
        let number = entries.first + entries.calls.len() as u64;
        entries.calls.push_back(Call {
            generation_id: format!("gen-{number}"),
            tokens: [0, 0],
            call_id,
            model,
            settings,
            parameters,
            messages,
            digest,
            started_at: OffsetDateTime::now_utc(),
            ended_at: None,
            chunks: 0,
            bytes: 0,
            finish_sent: false,
            ended: None,
        });
        while entries.calls.len() > self.calls_max
            || (entries.prompt_bytes > PROMPT_BYTES_MAX && entries.calls.len() > 1)
        {
            entries.forget_oldest();
        }
        Recording {
            log: Arc::clone(self),
            number,
            prompt_tokens: 0,
            completion_tokens: 0,
            chunks: 0,
            bytes: 0,
            finish_sent: false,
            ended: None,
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    fn charged(&self, [prompt, completion]: [i64; 2]) -> Result<InvoiceLine, Runs> {
        let [prompt_tokens, completion_tokens] = self.tokens;
        Ok(InvoiceLine {
            call_id: self.call_id.clone(),
            generation_id: self.generation_id.clone(),
            model: self.model.clone(),
            prompt_tokens,
            completion_tokens,
            cost_micros: prompt_tokens * prompt + completion_tokens * completion,
            ended: self.ended.ok_or(Runs)?,
        })
    }
}

impl Entries {
    fn forget_oldest(&mut self) -> bool {
        let Some(call) = self.calls.pop_front() else { return false };
        self.first += 1;
        self.prompt_bytes -= prompt_bytes(&call.messages);
        true
    }

    fn end(&mut self, recording: &Recording, ended: Ended) {
        self.counters.running -= 1;
        *match ended {
            Ended::Finished => &mut self.counters.finished,
            Ended::Cut => &mut self.counters.cut,
            Ended::ClientGone => &mut self.counters.client_gone,
            Ended::Error(_) => &mut self.counters.errors,
        } += 1;
        let Some(index) = recording.number.checked_sub(self.first) else { return };
        if let Some(call) = self.calls.get_mut(index as usize) {
            call.ended_at = Some(OffsetDateTime::now_utc());
            call.chunks = recording.chunks;
            call.bytes = recording.bytes;
            call.finish_sent = recording.finish_sent;
            call.tokens = [recording.prompt_tokens, recording.completion_tokens];
            call.ended = Some(ended);
        }
    }
}

fn prompt_bytes(messages: &[Message]) -> usize {
    messages.iter().map(Message::bytes).sum()
}

/// The entry of a call that runs. Dropped without an end, its client has gone.
pub(super) struct Recording {
    log: Arc<Log>,
    number: u64,
    pub(super) prompt_tokens: i64,
    pub(super) completion_tokens: i64,
    pub(super) chunks: u32,
    pub(super) bytes: u64,
    pub(super) finish_sent: bool,
    ended: Option<Ended>,
}

impl Recording {
    /// What the provider calls the call.
    pub(super) fn generation_id(&self) -> String {
        format!("gen-{}", self.number)
    }

    /// The call is over; the first word counts.
    pub(super) fn end(&mut self, ended: Ended) {
        if self.ended.is_none() {
            self.ended = Some(ended);
            self.log.entries().end(self, ended);
            self.log.ends.send_modify(|ends| *ends += 1);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end(Ended::ClientGone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(log: &Arc<Log>, call_id: &str) -> Recording {
        log.begin(call_id.to_owned(), Asked { messages: vec![Message::user("hi")], ..Asked::default() })
    }

    #[test]
    fn the_oldest_calls_are_forgotten() {
        let log = Arc::new(Log::new(2, [0, 0]));
        let mut calls = ["a", "b", "c"].map(|call_id| ask(&log, call_id));
        calls[0].end(Ended::Finished);
        calls[1].end(Ended::Cut);
        let held: Vec<_> = log.calls().into_iter().map(|call| (call.call_id, call.ended)).collect();
        assert_eq!(held, [("b".to_owned(), Some(Ended::Cut)), ("c".to_owned(), None)]);
        assert_eq!(log.counters(), Counters { running: 1, finished: 1, cut: 1, ..Counters::default() });
    }

    #[test]
    fn a_call_forgotten_while_it_runs_still_counts() {
        let log = Arc::new(Log::new(9, [0, 0]));
        let call = ask(&log, "a");
        log.clear();
        let _running = ask(&log, "b");
        drop(call);
        assert_eq!(log.calls().len(), 1);
        assert_eq!(log.calls()[0].ended, None);
        assert_eq!(log.counters(), Counters { running: 1, client_gone: 1, ..Counters::default() });
    }

    #[tokio::test]
    async fn an_end_is_waited_for() {
        let log = Arc::new(Log::new(9, [0, 0]));
        let mut first = ask(&log, "a");
        first.end(Ended::Error(500));
        let second = ask(&log, "a");
        let (call, ()) = tokio::join!(log.ended("a"), async { drop(second) });
        assert_eq!(call.ended, Some(Ended::ClientGone), "the newest call of that id counts");
    }
}
