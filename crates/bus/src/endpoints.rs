//! Answering requests: one subscription per operation in the service's queue group, each request a task of its own, their
//! number bounded.

use std::{error::Error, future::Future, sync::Arc, time::Instant};

pub use async_nats::SubscribeError;
use futures::StreamExt;
use host::share::Shares;
use identity::Principal;
use serde::Serialize;
use tokio::sync::Semaphore;
use tracing::Instrument;
use wire::{Fault, FaultCode, Operation, OperationInfo, Path, Request, UserId, limits::REQUESTS_OF_ONE_MAX};

use crate::{Bus, Incoming, discovery};

/// Requests of one service that are worked on at a time, in one process.
const CONCURRENT_REQUESTS_MAX: usize = 512;

/// The operations that one service answers.
pub struct Endpoints<S> {
    bus: Bus,
    service: Arc<S>,
    permits: Arc<Semaphore>,
    shares: Shares<UserId>,
}

impl<S: Send + Sync + 'static> Endpoints<S> {
    /// For `service`, on the connection of its role.
    pub fn new(bus: &Bus, service: &Arc<S>) -> Self {
        Self {
            bus: bus.clone(),
            service: service.clone(),
            permits: Arc::new(Semaphore::new(CONCURRENT_REQUESTS_MAX)),
            shares: Shares::new(REQUESTS_OF_ONE_MAX, 0),
        }
    }

    /// Answers an operation that a user does.
    pub async fn guarded<Q, R, E, F, Fut>(
        self,
        operation: Operation<Q, R>,
        handler: F,
    ) -> Result<Self, SubscribeError>
    where
        Q: Request + Send + 'static,
        R: wire::Reply + Send + Sync + 'static,
        E: Error + Into<Fault> + Send,
        F: Fn(Arc<S>, Principal, Path, Q) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send,
    {
        let (service, info) = (self.service.clone(), operation.info);
        let answer = move |incoming: Incoming| {
            let (service, handler) = (service.clone(), handler.clone());
            async move {
                let (caller, body) = (incoming.caller()?, incoming.decode::<Q>()?);
                logged(&info, handler(service, caller, incoming.path, body).await)
            }
        };
        self.subscribe(info, answer).await
    }

    /// Answers an operation that needs no user.
    pub async fn open<Q, R, E, F, Fut>(
        self,
        operation: Operation<Q, R>,
        handler: F,
    ) -> Result<Self, SubscribeError>
    where
        Q: Request + Send + 'static,
        R: wire::Reply + Send + Sync + 'static,
        E: Error + Into<Fault> + Send,
        F: Fn(Arc<S>, Q) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send,
    {
        let (service, info) = (self.service.clone(), operation.info);
        let answer = move |incoming: Incoming| {
            let (service, handler) = (service.clone(), handler.clone());
            async move { logged(&info, handler(service, incoming.decode::<Q>()?).await) }
        };
        self.subscribe(info, answer).await
    }

    async fn subscribe<R, F, Fut>(self, info: OperationInfo, answer: F) -> Result<Self, SubscribeError>
    where
        R: wire::Reply + Send + Sync + 'static,
        F: Fn(Incoming) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Fault>> + Send,
    {
        let (bus, permits, shares) = (self.bus.clone(), self.permits.clone(), self.shares.clone());
        let respond = move |incoming: Incoming| {
            let (bus, answer) = (bus.clone(), answer.clone());
            let share = incoming.caller.map(|caller| shares.take(caller.user()).ok());
            let permit = match share {
                Some(None) => None,
                share => permits.clone().try_acquire_owned().ok().map(|permit| (permit, share)),
            };
            let span = tracing::info_span!("request", operation = info.name, request_id = %incoming.context.request_id);
            let task = async move {
                let started = Instant::now();
                let (reply_to, context) = (incoming.reply_to.clone(), incoming.context.clone());
                let result = match &permit {
                    Some(_) => answer(incoming).await,
                    None => Err(Fault::new(FaultCode::Overloaded)),
                };
                observe(&info, started, result.as_ref().err());
                match result {
                    Ok(value) => bus.reply(&reply_to, &value).await,
                    Err(fault) => bus.reply_fault(&reply_to, &fault, &context).await,
                }
            };
            task.instrument(span)
        };
        let drain = self.bus.drain.clone();
        let take = move |incoming| {
            drain.spawn("request", respond(incoming));
            std::future::ready(())
        };
        self.bus.subscribe_operation(&info, take).await?;
        Ok(self)
    }
}

impl Bus {
    /// Answers an operator's question on a subject of the house, in every process that listens, until it drains.
    pub async fn answer_everywhere<R: Serialize + Send>(
        &self,
        subject: &'static str,
        answer: impl Fn() -> R + Send + Sync + 'static,
    ) -> Result<(), SubscribeError> {
        let mut questions = self.client.subscribe(subject).await?;
        let (client, drain) = (self.client.clone(), self.drain.clone());
        self.drain.spawn("answers to operators", async move {
            let answers = async {
                while let Some(question) = questions.next().await {
                    if let (Some(inbox), Ok(body)) = (question.reply, serde_json::to_vec(&answer())) {
                        let _ = client.publish(inbox, body.into()).await;
                    }
                }
            };
            tokio::select! {
                () = answers => {}
                () = drain.draining() => {}
            }
        });
        Ok(())
    }

    /// Takes the requests of an operation, in the queue group of its service, until the process drains. `take` is called
    /// for one after the other and must be quick.
    pub async fn subscribe_operation<F, Fut>(
        &self,
        info: &OperationInfo,
        take: F,
    ) -> Result<(), SubscribeError>
    where
        F: Fn(Incoming) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let mut requests =
            self.client.queue_subscribe(info.wildcard(), info.service.name().to_owned()).await?;
        let (info, drain) = (*info, self.drain.clone());
        self.drain.spawn(info.name, async move {
            loop {
                tokio::select! {
                    message = requests.next() => match message {
                        Some(message) => if let Some(incoming) = Incoming::read(&info, message) { take(incoming).await },
                        None => break,
                    },
                    () = drain.draining() => break,
                }
            }
            // What has arrived is still answered. The client library forgets the subscription a moment before the server
            // does, so what the server sends in that moment is lost; who asked asks again.
            if requests.drain().await.is_ok() {
                while let Some(message) = requests.next().await {
                    if let Some(incoming) = Incoming::read(&info, message) {
                        take(incoming).await;
                    }
                }
            }
        });
        Ok(())
    }
}

/// The one place where a service's error becomes a fault, and where a failure of ours is logged.
fn logged<R, E: Error + Into<Fault>>(info: &OperationInfo, result: Result<R, E>) -> Result<R, Fault> {
    result.map_err(|error| {
        let sentence = sentence(&error);
        let fault = error.into();
        if matches!(fault.code, FaultCode::Internal | FaultCode::Unavailable) {
            tracing::error!(
                operation = info.name,
                code = fault.code.as_str(),
                error = sentence,
                "a request failed"
            );
        } else {
            tracing::debug!(
                operation = info.name,
                code = fault.code.as_str(),
                error = sentence,
                "a request was refused"
            );
        }
        fault
    })
}

/// An error with its causes.
fn sentence(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Counts an answered request.
pub fn observe(info: &OperationInfo, started: Instant, fault: Option<&Fault>) {
    let code = fault.map_or("ok", |fault| fault.code.as_str());
    metrics::counter!("omnichat_requests_total", "operation" => info.name, "code" => code).increment(1);
    let took = started.elapsed();
    metrics::histogram!("omnichat_request_seconds", "operation" => info.name).record(took.as_secs_f64());
    discovery::note(info, took, fault);
}
