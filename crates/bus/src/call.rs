//! A request and its reply, as the ingress makes it: exactly what a direct NATS client would send.

use std::{fmt, time::Duration};

use async_nats::{HeaderMap, Message, RequestErrorKind};
use bytes::Bytes;
use futures::StreamExt;
use host::limit::Standing;
use wire::{OperationInfo, header};

use crate::{Bus, Context, SubscribeError, reply::read_standing};

/// A request on its way out.
#[derive(Debug)]
pub struct Request {
    /// Its names.
    pub context: Context,
    /// The body, as JSON.
    pub body: Bytes,
    /// Of a send.
    pub key: Option<SendKey>,
    /// How long to wait for the reply.
    pub timeout: Duration,
}

/// What makes a repeated send the same.
#[derive(Debug, Clone)]
pub struct SendKey {
    /// Its `Idempotency-Key`.
    pub key: String,
    /// Whether the outcome is waited for elsewhere already ([`header::ENSURE`]).
    pub ensure: bool,
}

impl From<String> for SendKey {
    fn from(key: String) -> Self {
        Self { key, ensure: false }
    }
}

/// What came back: the body of a success or of a fault, both as JSON.
#[derive(Debug, Default)]
pub struct Reply {
    /// The HTTP status of the fault; absent for a success.
    pub status: Option<u16>,
    /// Where the next page of a list begins.
    pub next: Option<String>,
    /// Where the user stands with the limit of this operation, if it has one.
    pub standing: Option<Standing>,
    /// It says no more than that what was to be ensured is so.
    pub queued: bool,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// Reads a reply.
    pub(crate) fn read(message: Message) -> Self {
        let status = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get(header::ERROR_CODE))
            .map(|code| code.as_str().parse().unwrap_or(500));
        let next = message.headers.as_ref().and_then(|headers| headers.get(header::NEXT));
        let next = next.map(|cursor| cursor.as_str().to_owned());
        let event = message.headers.as_ref().and_then(|headers| headers.get(header::EVENT));
        let queued = event.is_some_and(|event| event.as_str() == header::QUEUED);
        let standing = message.headers.as_ref().and_then(read_standing);
        Self { status, next, standing, queued, body: message.payload }
    }
}

/// No reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody serves this operation now.
    #[error("no service answers")]
    NoResponders,
    /// Nobody answered in time; the request may have been carried out.
    #[error("no answer in time")]
    TimedOut,
    /// The connection is down; the request may have been carried out.
    #[error("not connected")]
    Disconnected,
}

impl Bus {
    /// Asks for `operation` on the things named by `ids` (the pattern's parameters, in order).
    pub async fn call(
        &self,
        operation: &OperationInfo,
        ids: &[&(dyn fmt::Display + Sync)],
        request: Request,
    ) -> Result<Reply, CallError> {
        let subject = subject(operation, ids);
        let headers = headers(request.context, request.key);
        let outgoing =
            async_nats::Request::new().payload(request.body).headers(headers).timeout(Some(request.timeout));
        let message =
            self.client.send_request(subject, outgoing).await.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => CallError::NoResponders,
                RequestErrorKind::TimedOut => CallError::TimedOut,
                _ => CallError::Disconnected,
            })?;
        Ok(Reply::read(message))
    }
}

impl Bus {
    /// Asks on a subject of the house, and returns all answers that come within `patience`, or none if nobody listens.
    pub async fn ask_everywhere(
        &self,
        subject: impl async_nats::subject::ToSubject,
        patience: Duration,
    ) -> Result<Vec<Bytes>, SubscribeError> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await?;
        // When it cannot be sent nobody answers.
        let _ = self.client.publish_with_reply(subject, inbox, Bytes::new()).await;
        let mut found = Vec::new();
        let until = tokio::time::Instant::now() + patience;
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.next()).await {
            if answer.status.is_some() {
                break;
            }
            found.push(answer.payload);
        }
        Ok(found)
    }
}

/// What travels beside a request.
pub(crate) fn headers(context: Context, key: Option<SendKey>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    context.into_headers(&mut headers);
    if let Some(SendKey { key, ensure }) = key {
        headers.insert(header::IDEMPOTENCY_KEY, key);
        if ensure {
            headers.insert(header::ENSURE, "true");
        }
    }
    headers
}

pub(crate) fn subject(operation: &OperationInfo, ids: &[&(dyn fmt::Display + Sync)]) -> String {
    let plain: Vec<&dyn fmt::Display> = ids.iter().map(|id| *id as &dyn fmt::Display).collect();
    operation.subject(&plain)
}
