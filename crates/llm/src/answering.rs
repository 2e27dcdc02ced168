//! An answer as it comes.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Response;
use serde::{Deserialize, Serialize};

use crate::{
    answer::{Answer, FinishReason, Piece, Usage},
    deadlines::{Deadlines, Stage},
    error::CallError,
    sse,
};

/// Reads the data of one event in a provider's own format.
pub(crate) type Decode = fn(&[u8]) -> Result<Piece<'_>, CallError>;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More text; never empty.
    Delta(String),
    /// The answer is whole. Nothing follows.
    Finished(Finish),
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// Why the text ends here.
    pub reason: FinishReason,
    /// What it cost; not every provider says.
    pub usage: Option<Usage>,
    /// The provider that answered, as in [`Config::providers`](crate::Config::providers).
    pub provider: String,
    /// The provider's name of the model that was asked.
    pub model: String,
    /// Where the time went.
    pub timings: Timings,
}

/// Where a call's time went: milliseconds since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// Until the provider began to respond.
    pub response_ms: u64,
    /// Until the first text.
    pub first_token_ms: u64,
    /// Until the explicit finish.
    pub total_ms: u64,
}

/// An answer being generated. Dropping it closes the provider's connection, so that the provider stops.
pub struct Answering {
    /// None once the answer is over.
    response: Option<Response>,
    events: sse::Parser,
    decode: Decode,
    answer: Answer,
    deadlines: Deadlines,
    response_ms: u64,
    first_token_ms: Option<u64>,
    finished_ms: Option<u64>,
    provider: Arc<str>,
    model: String,
}

impl Answering {
    /// Reads the body of `response`, whose head has come just now.
    pub(crate) fn new(
        response: Response,
        decode: Decode,
        mut deadlines: Deadlines,
        provider: Arc<str>,
        model: String,
    ) -> Self {
        deadlines.advance(Stage::FirstToken);
        Self {
            response: Some(response),
            events: sse::Parser::default(),
            decode,
            answer: Answer::default(),
            response_ms: deadlines.elapsed_ms(),
            first_token_ms: None,
            finished_ms: None,
            deadlines,
            provider,
            model,
        }
    }

    /// The next piece of the answer, or its end. Safe to cancel: nothing is lost. After [`Event::Finished`] or an error
    /// there is nothing more, and it says [`CallError::Truncated`].
    pub async fn next(&mut self) -> Result<Event, CallError> {
        if self.response.is_none() {
            return Err(CallError::Truncated);
        }
        let event = self.read_on().await;
        if !matches!(event, Ok(Event::Delta(_))) {
            self.response = None;
        }
        event
    }

    async fn read_on(&mut self) -> Result<Event, CallError> {
        loop {
            while let Some(data) = self.events.next().map_err(|_| CallError::TooLarge)? {
                if self.deadlines.stage() == Stage::End {
                    continue;
                }
                let piece = (self.decode)(data)?;
                let stage = stage_after(&piece);
                let text = self.answer.add(piece)?;
                self.note(stage);
                if let Some(text) = text {
                    return Ok(Event::Delta(text));
                }
                if stage == Stage::End {
                    self.answer.close()?;
                }
            }
            match self.bytes().await? {
                Some(bytes) => self.events.feed(bytes),
                None => return self.finish(),
            }
        }
    }

    /// Moves the clock on, and remembers when the first text and the finish came.
    fn note(&mut self, stage: Stage) {
        let now_ms = self.deadlines.elapsed_ms();
        if !self.answer.is_empty() {
            self.first_token_ms.get_or_insert(now_ms);
        }
        if self.answer.is_finished() {
            self.finished_ms.get_or_insert(now_ms);
        }
        self.deadlines.advance(stage);
    }

    /// More of the body; `None` at its end. Once the explicit finish has come, whatever happens is an end: it can cost
    /// the usage, not the answer.
    async fn bytes(&mut self) -> Result<Option<Bytes>, CallError> {
        let response = self.response.as_mut().ok_or(CallError::Truncated)?;
        let read = match self.deadlines.within(response.chunk()).await {
            Ok(read) => read.map_err(|_| CallError::Truncated),
            Err(late) => Err(late),
        };
        match read {
            Ok(Some(bytes)) => {
                self.deadlines.hear();
                Ok(Some(bytes))
            }
            Err(error) if !self.answer.is_finished() => Err(error),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    fn finish(&mut self) -> Result<Event, CallError> {
        let (reason, usage) = self.answer.close()?;
        let timings = Timings {
            response_ms: self.response_ms,
            first_token_ms: self.first_token_ms.unwrap_or_default(),
            total_ms: self.finished_ms.unwrap_or_default(),
        };
        Ok(Event::Finished(Finish {
            reason,
            usage,
            provider: self.provider.as_ref().to_owned(),
            model: std::mem::take(&mut self.model),
            timings,
        }))
    }
}

/// What the call waits for after this piece.
fn stage_after(piece: &Piece<'_>) -> Stage {
    if piece.last {
        Stage::End
    } else if piece.finish.is_some() {
        Stage::Usage
    } else if piece.thinking || !piece.text.is_empty() {
        Stage::Finish
    } else {
        Stage::FirstToken
    }
}
