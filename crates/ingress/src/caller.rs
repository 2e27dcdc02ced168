//! Calls over the bus in somebody's name: exactly what a direct NATS client would send.

use std::{fmt::Display, sync::Arc, time::Duration};

use axum::extract::FromRequestParts;
use bus::{CallError, Reply, Request};
use bytes::Bytes;
use http::request::Parts;
use identity::Principal;
use wire::{FaultCode, Operation, OperationInfo};

use crate::{
    answer::{self, Answer, Refusal},
    door::Door,
    exchange::Exchange,
    principal,
};

/// An id to be put into a subject.
pub(crate) type SubjectId<'a> = &'a (dyn Display + Sync);

/// Somebody whom we need not know.
pub(crate) struct Visitor {
    door: Arc<Door>,
    exchange: Arc<Exchange>,
}

/// A proven user.
pub(crate) struct Caller {
    visitor: Visitor,
    principal: Principal,
}

impl FromRequestParts<Arc<Door>> for Visitor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, door: &Arc<Door>) -> Result<Self, Refusal> {
        let exchange = parts.extensions.get::<Arc<Exchange>>().cloned().ok_or(FaultCode::Internal)?;
        Ok(Self { door: door.clone(), exchange })
    }
}

impl FromRequestParts<Arc<Door>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, door: &Arc<Door>) -> Result<Self, Refusal> {
        let visitor = Visitor::from_request_parts(parts, door).await?;
        let principal = principal::prove(&parts.headers, &parts.uri, &door.verifier)?;
        visitor.exchange.user.get_or_init(|| principal.user());
        Ok(Self { visitor, principal })
    }
}

impl Visitor {
    /// Asks for an operation that needs no user.
    pub async fn ask<Q, R>(&self, operation: &Operation<Q, R>, body: Bytes) -> Answer {
        answered(self.call(&operation.info, &[], body, None, self.door.request_timeout).await)
    }

    async fn call(
        &self,
        info: &OperationInfo,
        ids: &[SubjectId<'_>],
        body: Bytes,
        idempotency_key: Option<String>,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let context = self.exchange.context.clone();
        let result = self.door.bus.call(info, ids, Request { context, body, idempotency_key, timeout }).await;
        if let Err(error) = result {
            tracing::warn!(operation = info.name, request_id = self.exchange.context.request_id, %error, "no reply");
        }
        result
    }
}

impl Caller {
    /// Asks for an operation on the things named by `ids`, which follow the user in its subject.
    pub async fn ask<Q, R>(&self, operation: &Operation<Q, R>, ids: &[SubjectId<'_>], body: Bytes) -> Answer {
        answered(self.call(operation, ids, body, None, self.door().request_timeout).await)
    }

    /// As [`Caller::ask`], and leaves the lack of a reply to the caller.
    pub async fn call<Q, R>(
        &self,
        operation: &Operation<Q, R>,
        ids: &[SubjectId<'_>],
        body: Bytes,
        idempotency_key: Option<String>,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let user = self.principal.user();
        let subject_ids: Vec<_> = [&user as SubjectId<'_>].into_iter().chain(ids.iter().copied()).collect();
        self.visitor.call(&operation.info, &subject_ids, body, idempotency_key, timeout).await
    }

    /// What every request may use.
    pub fn door(&self) -> &Door {
        &self.visitor.door
    }
}

/// The answer to a request without whose reply nothing can be said.
pub(crate) fn answered(result: Result<Reply, CallError>) -> Answer {
    result.map(answer::reply).map_err(|_| FaultCode::Unavailable.into())
}
