//! Calls over the bus in somebody's name: exactly what a direct NATS client would send.

use std::{fmt::Display, sync::Arc, time::Duration};

use axum::extract::FromRequestParts;
use bus::{CallError, Context, Reply, Request, Said, SendKey, Wants};
use bytes::Bytes;
use futures::Stream;
use http::{header::LINK, request::Parts};
use uuid::Uuid;
use wire::{Fault, FaultCode, Identity, Operation, OperationInfo, UserId};

use crate::{
    answer::{self, Answer, Refusal},
    credential,
    door::Door,
    exchange::Exchange,
};

/// An id to be put into a subject.
pub(crate) type SubjectId<'a> = &'a (dyn Display + Sync);

/// Somebody whom we need not know.
#[derive(Clone)]
pub(crate) struct Visitor {
    door: Arc<Door>,
    exchange: Arc<Exchange>,
}

/// A proven user.
#[derive(Clone)]
pub(crate) struct Caller {
    visitor: Visitor,
    identity: Arc<Identity>,
    /// As it was shown.
    credential: Arc<str>,
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
        let credential = Arc::from(credential::given(&parts.headers, &parts.uri)?);
        Ok(visitor.prove(credential).await?)
    }
}

impl Visitor {
    /// Who it is that shows this credential.
    pub async fn prove(self, credential: Arc<str>) -> Result<Caller, Fault> {
        let identity = self.door.credentials.prove(&credential, &self.exchange.context).await?;
        self.exchange.user.get_or_init(|| identity.user_id);
        Ok(Caller { visitor: self, identity, credential })
    }

    /// What every request may use.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// The names of the request.
    pub fn context(&self) -> &Context {
        &self.exchange.context
    }

    /// Asks for an operation that needs no user.
    pub async fn ask<Q, R>(&self, operation: &Operation<Q, R>, body: Bytes) -> Answer {
        self.exchange.answered(self.call(&operation.info, &[], body, None, self.door.request_timeout).await)
    }

    async fn call(
        &self,
        info: &OperationInfo,
        ids: &[SubjectId<'_>],
        body: Bytes,
        key: Option<SendKey>,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let context = self.exchange.context.clone();
        let result = self.door.bus.call(info, ids, Request { context, body, key, timeout }).await;
        if let Err(error) = result {
            tracing::warn!(operation = info.name, request_id = self.exchange.context.request_id, %error, "no reply");
        }
        result
    }
}

impl Caller {
    /// Asks for an operation on the things named by `ids`, which follow the user in its subject.
    pub async fn ask<Q, R>(&self, operation: &Operation<Q, R>, ids: &[SubjectId<'_>], body: Bytes) -> Answer {
        self.check_scope(&operation.info)?;
        self.answered(self.call(&operation.info, ids, body, None, self.door().request_timeout).await)
    }

    /// As [`Caller::ask`], and leaves the lack of a reply to the caller.
    pub async fn call(
        &self,
        info: &OperationInfo,
        ids: &[SubjectId<'_>],
        body: Bytes,
        key: Option<SendKey>,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let user = self.user();
        self.visitor.call(info, &of_user(&user, ids), body, key, timeout).await
    }

    /// As [`Caller::call`], and is told the steps of what it causes.
    pub async fn call_in_steps(
        &self,
        info: &OperationInfo,
        ids: &[SubjectId<'_>],
        body: Bytes,
        key: SendKey,
        wants: Wants,
    ) -> Result<impl Stream<Item = Result<Said, CallError>> + Send + use<>, CallError> {
        let user = self.user();
        // How long to listen is for the listener to say.
        let timeout = Duration::MAX;
        let request = Request { context: self.context().clone(), body, key: Some(key), timeout };
        self.door().bus.call_in_steps(info, &of_user(&user, ids), request, wants).await
    }

    /// Refuses an operation that the credential is not good for.
    pub fn check_scope(&self, info: &OperationInfo) -> Result<(), Fault> {
        match info.scope {
            Some(scope) if !self.identity.scopes.contains(&scope) => Err(Fault::because(
                FaultCode::InsufficientScope,
                format!("This API key may not do that: it lacks the scope {}", scope.as_str()),
            )),
            _ => Ok(()),
        }
    }

    /// Who calls.
    pub fn user(&self) -> UserId {
        self.identity.user_id
    }

    /// The names of the request.
    pub fn context(&self) -> &Context {
        &self.visitor.exchange.context
    }

    /// Whether the credential is still good; also no if that cannot be found out any more.
    pub async fn is_still_let_in(&self) -> bool {
        self.check_credential().await.is_ok()
    }

    /// As [`Caller::is_still_let_in`], and says why not.
    pub async fn check_credential(&self) -> Result<(), Fault> {
        self.door().credentials.prove(&self.credential, self.context()).await.map(drop)
    }

    /// The session of the caller's token, if it has one.
    pub fn session_id(&self) -> Option<Uuid> {
        self.identity.session_id
    }

    /// The credential is to be asked about again.
    pub async fn forget_credential(&self) {
        self.door().credentials.forget(&self.credential).await;
    }

    /// The answer to this request.
    pub fn answered(&self, result: Result<Reply, CallError>) -> Answer {
        self.visitor.exchange.answered(result)
    }

    /// What every request may use.
    pub fn door(&self) -> &Door {
        &self.visitor.door
    }
}

/// The ids in the subject of what a user asks.
fn of_user<'a>(user: SubjectId<'a>, ids: &[SubjectId<'a>]) -> Vec<SubjectId<'a>> {
    [user].into_iter().chain(ids.iter().copied()).collect()
}

impl Exchange {
    /// The answer to a request without whose reply nothing can be said.
    fn answered(&self, result: Result<Reply, CallError>) -> Answer {
        let reply = result.map_err(|_| FaultCode::Unavailable)?;
        let link = reply.next.as_deref().and_then(|cursor| self.link_to(cursor));
        let mut response = answer::reply(reply);
        response.headers_mut().extend(link.map(|link| (LINK, link)));
        Ok(response)
    }
}
