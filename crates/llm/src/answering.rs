//! An answer as it comes.

use bytes::Bytes;
use reqwest::Response;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    answer::{Answer, FinishReason, Piece, Usage},
    deadlines::{Deadlines, Stage},
    error::{CallError, Phase},
    limiter::Seat,
    prompt::Prompt,
    report::{Report, tokens_of},
    route::Place,
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

/// Where a call's time went, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// Before it was sent.
    pub queue_ms: u64,
    /// From then until there was a connection; none if it was open already, or never came.
    pub connect_ms: Option<u64>,
    /// From then until the provider began to respond, the connection included; none if it never did.
    pub response_ms: Option<u64>,
    /// From then until the first text; none if there never was one.
    pub first_token_ms: Option<u64>,
    /// From then until its end: the explicit finish, or the failure, or now.
    pub total_ms: u64,
}

/// An answer being generated. Dropping it closes the provider's connection, so that the provider stops.
pub struct Answering {
    place: Place,
    body: Body,
    events: sse::Parser,
    answer: Answer,
    deadlines: Deadlines,
    /// Its place among the calls that the key's limits allow.
    seat: Seat,
    reserved: Instant,
    timings: Timings,
    /// Set once the call is over.
    ended_ms: Option<u64>,
    consumed: Consumed,
    prompt_bytes: usize,
    generation_id: Option<String>,
}

enum Body {
    Unsent(Box<Prompt>),
    Open(Response),
    Over,
}

/// What the provider may have done for us so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consumed {
    /// It was not reached, or it refused.
    Nothing,
    /// It has the prompt.
    Something,
}

impl Answering {
    /// Nothing is sent yet.
    pub(crate) fn new(place: Place, seat: Seat, prompt: Prompt, reserved: Instant) -> Self {
        let deadlines = Deadlines::start(&place.provider.timeouts);
        Self {
            place,
            prompt_bytes: prompt.text_bytes(),
            body: Body::Unsent(Box::new(prompt)),
            events: sse::Parser::default(),
            answer: Answer::default(),
            deadlines,
            seat,
            reserved,
            timings: Timings::default(),
            ended_ms: None,
            consumed: Consumed::Nothing,
            generation_id: None,
        }
    }

    /// Sends the prompt, unless that was done already; returns once the provider has begun to answer. Takes at most its
    /// `first_token_ms`. Dropping the future closes the connection and ends the call.
    pub async fn begin(&mut self) -> Result<(), CallError> {
        let prompt = match std::mem::replace(&mut self.body, Body::Over) {
            Body::Unsent(prompt) => prompt,
            begun => {
                self.body = begun;
                return Ok(());
            }
        };
        self.timings.queue_ms = self.reserved.elapsed().as_millis() as u64;
        self.deadlines = Deadlines::start(&self.place.provider.timeouts);
        self.consumed = Consumed::Something;
        let Place { provider, pass, model, .. } = &self.place;
        let sent = self.deadlines.within(provider.send(pass.key(), &prompt, model)).await;
        match sent.and_then(|sent| sent) {
            Ok((response, connect)) => {
                self.timings.connect_ms = connect.map(|took| took.as_millis() as u64);
                self.generation_id = self.place.provider.generation_id(&response);
                self.timings.response_ms = Some(self.deadlines.elapsed_ms());
                self.deadlines.advance(Stage::FirstToken);
                self.body = Body::Open(response);
                Ok(())
            }
            Err(error) => {
                self.consumed = consumed_before(&error);
                Err(self.fail(error))
            }
        }
    }

    /// The next piece of the answer, or its end. Safe to cancel once the call has begun: nothing is lost. After
    /// [`Event::Finished`] or an error there is nothing more, and it says [`CallError::Truncated`].
    pub async fn next(&mut self) -> Result<Event, CallError> {
        self.begin().await?;
        if matches!(self.body, Body::Over) {
            return Err(CallError::Truncated);
        }
        match self.read_on().await {
            Ok(Event::Delta(text)) => {
                self.place.pass.works();
                Ok(Event::Delta(text))
            }
            Ok(finished) => {
                self.body = Body::Over;
                self.place.pass.works();
                Ok(finished)
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// The provider that is asked, as in [`Config::providers`](crate::Config::providers).
    pub fn provider(&self) -> &str {
        &self.place.provider.name
    }

    /// The provider's own id of the call, once it has begun to answer.
    pub fn generation_id(&self) -> Option<&str> {
        self.generation_id.as_deref()
    }

    /// What is known of the call at this moment: while it runs, after it failed, and after its end.
    pub fn report(&self) -> Report {
        let Place { provider, model, prices, .. } = &self.place;
        let usage = self.usage();
        Report {
            provider: provider.name.as_ref().to_owned(),
            model: model.clone(),
            generation_id: self.generation_id.clone(),
            usage,
            estimated: usage.is_some() && !self.answer.is_counted(),
            cost_micros: prices.map(|prices| usage.map_or(0, |usage| prices.cost_micros(&usage))),
            altered: self.answer.is_altered(),
            timings: Timings {
                total_ms: self.ended_ms.unwrap_or_else(|| match self.consumed {
                    Consumed::Nothing => 0,
                    Consumed::Something => self.deadlines.elapsed_ms(),
                }),
                ..self.timings
            },
        }
    }

    /// What the call has consumed so far, as far as the provider has counted it, and by our estimate. None: nothing.
    fn usage(&self) -> Option<Usage> {
        let counts = self.answer.counts();
        let estimate = tokens_of(self.answer.bytes());
        let usage = Usage {
            prompt_tokens: counts.prompt_tokens.unwrap_or_else(|| tokens_of(self.prompt_bytes)),
            completion_tokens: match (counts.completion_tokens, self.answer.is_finished()) {
                (Some(tokens), true) => tokens,
                // A count that came before the end is of what had been generated until then.
                (tokens, _) => tokens.unwrap_or_default().max(estimate),
            },
        };
        (self.consumed == Consumed::Something).then_some(usage)
    }

    fn fail(&mut self, error: CallError) -> CallError {
        self.body = Body::Over;
        self.ended_ms.get_or_insert(self.deadlines.elapsed_ms());
        self.place.pass.failed(&error);
        error
    }

    async fn read_on(&mut self) -> Result<Event, CallError> {
        let decode = self.place.provider.decode();
        loop {
            while let Some(data) = self.events.next().map_err(|_| CallError::TooLarge)? {
                if self.deadlines.stage() == Stage::End {
                    continue;
                }
                let piece = decode(data)?;
                let (stage, thinking) = (stage_after(&piece), piece.thinking);
                let text = self.answer.add(piece)?;
                self.note(stage);
                self.deadlines.go_on(text.as_ref().map_or(0, String::len), thinking);
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
            self.timings.first_token_ms.get_or_insert(now_ms);
        }
        if self.answer.is_finished() {
            self.ended_ms.get_or_insert(now_ms);
        }
        self.deadlines.advance(stage);
    }

    /// More of the body; `None` at its end. Once the explicit finish has come, whatever happens is an end: it can cost
    /// the usage, not the answer.
    async fn bytes(&mut self) -> Result<Option<Bytes>, CallError> {
        let Body::Open(response) = &mut self.body else { return Err(CallError::Truncated) };
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
        let report = self.report();
        Ok(Event::Finished(Finish {
            reason,
            usage,
            provider: report.provider,
            model: report.model,
            timings: report.timings,
        }))
    }
}

/// What it has taken is counted against the limits of its key.
impl Drop for Answering {
    fn drop(&mut self) {
        let (prompt, answer) =
            self.usage().map_or((0, 0), |usage| (usage.prompt_tokens, usage.completion_tokens));
        self.seat.used(prompt, answer);
    }
}

/// What a provider may have done for a call that failed before it began to answer.
fn consumed_before(error: &CallError) -> Consumed {
    match error {
        // It may be at work; or have been, when the connection broke.
        CallError::TimedOut(Phase::FirstToken | Phase::Idle | Phase::Total) => Consumed::Something,
        CallError::Unavailable(why) if *why == CallError::BROKEN => Consumed::Something,
        _ => Consumed::Nothing,
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
