//! A request that is answered step by step, at an inbox of its own: exactly what a direct NATS client gets for `Oc-Stream`.

use std::fmt;

use async_nats::{Message, StatusCode, Subscriber};
use futures::{Stream, StreamExt, stream};
use host::limit::Standing;
use wire::{OperationInfo, TurnEvent, header};

use crate::{
    Bus, CallError, Reply, Request, Wants,
    call::{headers, subject},
    reply::read_standing,
};

/// A step of a turn, told to its sender.
#[derive(Debug)]
pub struct Step {
    /// What happened.
    pub event: TurnEvent,
    /// Where the user stands with the limit of this operation, if it has one.
    pub standing: Option<Standing>,
}

/// What is said in answer to a request.
#[derive(Debug)]
pub enum Said {
    /// A step of the turn.
    Step(Box<Step>),
    /// The answer: a fault, or all there is to be said.
    Reply(Reply),
}

/// What a message at the inbox is.
enum Read {
    Said(Result<Said, CallError>),
    /// Nothing that matters.
    Nothing,
    End,
}

impl Bus {
    /// Asks for `operation` on the things named by `ids`, and gives what is said until no more comes. Whoever no longer listens
    /// drops it; how long to wait is the caller's to decide.
    ///
    /// # Errors
    /// [`CallError::Disconnected`] if it cannot be asked. Later, [`CallError::NoResponders`] if nobody is there.
    pub async fn call_in_steps(
        &self,
        operation: &OperationInfo,
        ids: &[&(dyn fmt::Display + Sync)],
        request: Request,
        wants: Wants,
    ) -> Result<impl Stream<Item = Result<Said, CallError>> + Send + use<>, CallError> {
        let inbox = self.client.new_inbox();
        let told = self.client.subscribe(inbox.clone()).await.map_err(|_| CallError::Disconnected)?;
        let mut headers = headers(request.context, request.key);
        if let Some(wants) = wants.value() {
            headers.insert(header::STREAM, wants);
        }
        let subject = subject(operation, ids);
        let asked = self.client.publish_with_reply_and_headers(subject, inbox, headers, request.body);
        asked.await.map_err(|_| CallError::Disconnected)?;
        Ok(stream::unfold(Some(told), |told| async move {
            let mut told = told?;
            let said = next(&mut told).await?;
            // Where nobody is there, nobody says more.
            let more = said.is_ok();
            Some((said, more.then_some(told)))
        }))
    }
}

async fn next(told: &mut Subscriber) -> Option<Result<Said, CallError>> {
    loop {
        match read(told.next().await?) {
            Read::Said(said) => return Some(said),
            Read::Nothing => {}
            Read::End => return None,
        }
    }
}

fn read(message: Message) -> Read {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Read::Said(Err(CallError::NoResponders));
    }
    let headers = message.headers.as_ref();
    let event = headers.and_then(|headers| headers.get(header::EVENT));
    match event.map(|event| event.as_str()) {
        Some(header::ALIVE) => Read::Nothing,
        Some(_) if !message.payload.is_empty() => match serde_json::from_slice(&message.payload) {
            Ok(event) => {
                let standing = headers.and_then(read_standing);
                Read::Said(Ok(Said::Step(Box::new(Step { event, standing }))))
            }
            // Such as one of a later version.
            Err(error) => {
                tracing::debug!(%error, "a step could not be read");
                Read::Nothing
            }
        },
        None if message.payload.is_empty() => Read::End,
        _ => Read::Said(Ok(Said::Reply(Reply::read(message)))),
    }
}
