//! One call to the model at a time, as a child of the conversation: so the conversation hears what comes in meanwhile, and
//! a panic here is an event there. It tells the answer as it grows, and reports how it ended.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use llm::{Answering, CallError, Event, FinishReason, Message, NoPlace, Prompt, Report, Text};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use wire::{CallStatus, Fault, FaultCode, Settings, TurnEvent, TurnId, UserId, template};

use crate::{
    audience::Audience,
    conversation::{self, machine::Ended},
    error::fault_of_call,
    model::{CallMade, Completion, Opening, call_id},
    resources::Resources,
    settings,
};

/// Deltas within this time are told as one.
const COALESCE: Duration = Duration::from_millis(40);
/// No more than this is held back, in bytes.
const COALESCE_BYTES: usize = 2048;

/// Calls the models for one conversation.
pub struct Generation;

/// A call to be made.
pub struct Job {
    /// For which turn.
    pub turn: TurnId,
    /// Whose it is.
    pub user: UserId,
    /// Counts from 1.
    pub attempt: i16,
    /// The model to call.
    pub model: String,
    /// How to call it.
    pub settings: Settings,
    /// The prompt that goes first.
    pub system: System,
    /// What was said so far, the user's message last.
    pub messages: Vec<Message>,
    /// Trace context, passed on.
    pub traceparent: Option<String>,
    /// Events of this turn that were told already.
    pub told: u64,
    /// Who is told them in answers.
    pub audience: Audience,
    /// Stops the call.
    pub stop: oneshot::Receiver<()>,
}

/// The prompt that opens the call.
#[derive(Clone)]
pub enum System {
    /// There is none.
    None,
    /// It is known.
    Known(Opening, Text),
    /// It is to be read and filled in first.
    Load(Opening),
}

/// How a call ended.
pub struct Generated {
    /// For which turn.
    pub turn: TurnId,
    /// The answer, or why there is none.
    pub ended: Ended,
    /// The prompt that was read, to be kept.
    pub system: System,
    /// Events of this turn that were told.
    pub told: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallFailure {
    /// The provider's doing, or ours towards it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// There is nobody to be asked, perhaps only just now.
    #[error("no provider is asked: {0}")]
    NoPlace(#[from] NoPlace),
    /// The prompt is gone, or cannot be filled in.
    #[error("the prompt cannot be used: {0}")]
    Prompt(Fault),
    /// The prompt could not be read.
    #[error("the prompt could not be read")]
    Database(#[from] sqlx::Error),
}

/// What it needs.
pub struct Arguments {
    /// Shared by all actors.
    pub resources: Arc<Resources>,
    /// Who is told.
    pub conversation: ActorRef<conversation::Message>,
}

impl Actor for Generation {
    type Msg = Box<Job>;
    type State = Arguments;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        arguments: Arguments,
    ) -> Result<Arguments, ActorProcessingErr> {
        Ok(arguments)
    }

    /// The whole call runs in here: nothing else is ever sent to this actor, and a kill ends it at the next await.
    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        mut job: Box<Job>,
        state: &mut Arguments,
    ) -> Result<(), ActorProcessingErr> {
        let turn = job.turn;
        let mut call = Call::new(&state.resources, &job);
        let mut system = job.system.clone();
        let (_never, nothing) = oneshot::channel();
        let stop = std::mem::replace(&mut job.stop, nothing);
        // Leaving the call closes the provider's connection.
        let result = tokio::select! {
            biased;
            result = call.run(*job, &mut system) => Some(result),
            _ = stop => None,
        };
        let ended = call.ended(result).await;
        let generated = Generated { turn, ended, system, told: call.told };
        state.conversation.cast(conversation::Message::Generated(Box::new(generated)))?;
        Ok(())
    }
}

struct Call<'a> {
    resources: &'a Resources,
    user: UserId,
    turn: TurnId,
    attempt: i16,
    /// As it is configured.
    model: String,
    told: u64,
    audience: Audience,
    /// From when its place at a provider is sure.
    answering: Option<Answering>,
    /// What the model has said so far.
    said: String,
}

impl<'a> Call<'a> {
    fn new(resources: &'a Resources, job: &Job) -> Self {
        Self {
            resources,
            user: job.user,
            turn: job.turn,
            attempt: job.attempt,
            model: job.model.clone(),
            told: job.told,
            audience: job.audience.clone(),
            answering: None,
            said: String::new(),
        }
    }

    /// What became of it; none: it was told to stop. What the call was, and took, is kept before anybody hears of its end.
    async fn ended(&mut self, result: Option<Result<Completion, CallFailure>>) -> Ended {
        let turn = self.turn;
        match &result {
            // Many wait at a time, and ask again and again.
            Some(Err(CallFailure::NoPlace(NoPlace { error, wait: Some(_) }))) => {
                tracing::debug!(%turn, %error, "all providers rest");
            }
            Some(Err(failure)) => {
                tracing::warn!(%turn, attempt = self.attempt, error = %failure, "the model gave no answer");
            }
            _ => {}
        }
        // Dropped here: that closes the connection.
        let report = self.answering.take().map(|answering| answering.report());
        match (result, report) {
            (Some(Ok(completion)), _) => {
                if completion.report.estimated {
                    self.record(CallStatus::Completed, None, completion.report.clone()).await;
                }
                self.count(&completion.report, CallStatus::Completed);
                Ended::Completed(completion)
            }
            (Some(Err(CallFailure::Call(error))), Some(report)) => {
                let fault = fault_of_call(&error);
                let retry = self.resources.gateway.retry(&self.model, self.attempt as u32, &report, &error);
                self.count(&report, CallStatus::Failed);
                self.record(CallStatus::Failed, Some(fault.code), report).await;
                match retry {
                    Some(wait) => Ended::Passing(fault, wait),
                    None => Ended::Failed(fault),
                }
            }
            (Some(Err(CallFailure::NoPlace(NoPlace { error, wait }))), _) => match wait {
                Some(wait) => Ended::Waiting(fault_of_call(&error), wait),
                None => Ended::Refused(fault_of_call(&error)),
            },
            (Some(Err(CallFailure::Call(error))), None) => Ended::Refused(fault_of_call(&error)),
            (Some(Err(CallFailure::Prompt(fault))), _) => Ended::Refused(fault),
            (Some(Err(CallFailure::Database(_))), _) => Ended::NotMade,
            (None, Some(report)) => {
                self.count(&report, CallStatus::Stopped);
                self.record(CallStatus::Stopped, None, report).await;
                Ended::Stopped(std::mem::take(&mut self.said))
            }
            (None, None) => Ended::NotMade,
        }
    }

    fn count(&self, report: &Report, status: CallStatus) {
        let provider = report.provider.clone();
        metrics::counter!("omnichat_provider_calls_total", "provider" => provider, "status" => status.name())
            .increment(1);
        for (provider, keys) in self.resources.gateway.resting() {
            let provider = provider.to_owned();
            metrics::gauge!("omnichat_provider_keys_resting", "provider" => provider).set(keys as f64);
        }
    }

    async fn record(&self, status: CallStatus, fault: Option<FaultCode>, report: Report) {
        let call = CallMade { turn: self.turn, attempt: self.attempt, status, fault, report };
        self.resources.record_call(&call).await;
    }

    async fn run(&mut self, job: Job, system: &mut System) -> Result<Completion, CallFailure> {
        let attempt = self.attempt;
        self.open(system).await?;
        let mut messages = Vec::with_capacity(job.messages.len() + 1);
        if let System::Known(_, text) = system {
            messages.push(Message::system(text.clone()));
        }
        messages.extend(job.messages);
        let prompt = Prompt {
            model: job.model,
            messages,
            settings: settings::of_call(job.settings),
            call_id: call_id(self.turn, attempt),
            traceparent: job.traceparent,
        };
        let reserved = self.resources.gateway.reserve(prompt, attempt as u32).await?;
        self.answering = Some(reserved);
        let begun = match attempt {
            1 => TurnEvent::Started { turn_id: self.turn, attempt, model: self.model.clone() },
            _ => TurnEvent::Restarted { turn_id: self.turn, attempt },
        };
        self.tell(begun).await;
        let started = Instant::now();
        self.begin().await?;
        let completion = self.listen().await?;
        metrics::histogram!("omnichat_provider_call_seconds").record(started.elapsed().as_secs_f64());
        Ok(completion)
    }

    /// What the provider calls the call is kept before any of the answer is read: if we die then, it can still be asked.
    async fn begin(&mut self) -> Result<(), CallFailure> {
        let Some(answering) = &mut self.answering else { return Err(CallError::Truncated.into()) };
        answering.begin().await?;
        if let Some(id) = answering.generation_id() {
            let provider = answering.provider();
            self.resources.record_generation(self.turn, self.attempt, provider, id).await;
        }
        Ok(())
    }

    /// Reads the prompt and fills it in. One that is gone is missed, not left out.
    async fn open(&self, system: &mut System) -> Result<(), CallFailure> {
        let System::Load(opening) = system else { return Ok(()) };
        let content = match opening.version {
            Some(version) => self.resources.store.load_prompt(opening.prompt, version).await?,
            None => None,
        };
        let content = content.ok_or_else(|| CallFailure::Prompt(FaultCode::PromptNotFound.into()))?;
        let text = template::render(&content, &opening.variables).map_err(CallFailure::Prompt)?;
        *system = System::Known(opening.clone(), text.into());
        Ok(())
    }

    /// Gathers the answer, telling it in frames of some 40 ms; the first at once, if somebody asked for steps. Otherwise an
    /// answer that comes whole within the first frame is not told in parts at all: the completed event carries it.
    async fn listen(&mut self) -> Result<Completion, CallFailure> {
        let attempt = self.attempt;
        let mut shown = 0;
        let mut frame_due: Option<tokio::time::Instant> = None;
        loop {
            let Some(answering) = &mut self.answering else { return Err(CallError::Truncated.into()) };
            // Of what has come already there is often more: for that no timer is set.
            let event = match (answering.next().now_or_never(), frame_due) {
                (Some(event), _) => Some(event?),
                (None, None) => Some(answering.next().await?),
                (None, Some(due)) => tokio::select! {
                    biased;
                    event = answering.next() => Some(event?),
                    () = tokio::time::sleep_until(due) => None,
                },
            };
            match event {
                Some(Event::Delta(delta)) => {
                    self.said.push_str(&delta);
                    frame_due.get_or_insert_with(|| tokio::time::Instant::now() + COALESCE);
                }
                Some(Event::Finished(finish)) => {
                    if shown > 0 && shown < self.said.len() {
                        self.tell(TurnEvent::delta(attempt, &self.said, shown)).await;
                    }
                    return self.completion(finish.reason).ok_or(CallError::Truncated.into());
                }
                None => {}
            }
            let first = shown == 0 && !self.said.is_empty() && !self.audience.is_empty();
            let due = first || frame_due.is_some_and(|due| due <= tokio::time::Instant::now());
            if due || self.said.len() - shown > COALESCE_BYTES {
                self.tell(TurnEvent::delta(attempt, &self.said, shown)).await;
                shown = self.said.len();
                frame_due = None;
            }
        }
    }

    fn completion(&mut self, reason: FinishReason) -> Option<Completion> {
        Some(Completion {
            text: std::mem::take(&mut self.said).into(),
            finish_reason: match reason {
                FinishReason::Stop => "stop",
                FinishReason::Length => "length",
            },
            report: self.answering.take()?.report(),
        })
    }

    async fn tell(&mut self, event: TurnEvent) {
        self.told += 1;
        let bus = &self.resources.bus;
        bus.tell(self.user, self.turn, self.told, &event).await;
        self.audience.tell(bus, &event).await;
    }
}
