//! The sends: one way of asking for a turn, and three manners of answering.
//!
//! `key`: what makes a repeated send the same; `manner`: how its answer is wanted; `pursuit`: asking, until the turn has an
//! outcome or at least is accepted; `looks`: when a turn that says nothing is looked for. How the stream of a turn follows from
//! there is in [`crate::stream`].

mod key;
mod looks;
mod manner;
mod pursuit;

use axum::response::{IntoResponse, Response};
use bus::{Reply, Wants};
use bytes::Bytes;
use host::limit::Standing;
use http::{HeaderName, HeaderValue, StatusCode, header::LOCATION};
use wire::{Fault, FaultCode, Operation, TurnId, header::RESPOND_ASYNC, operations::GET_TURN};

use crate::{
    answer::{self, Answer},
    caller::{Caller, SubjectId},
};

pub(crate) use self::{
    key::IdempotencyKey,
    manner::{Manner, Wishes},
    pursuit::{Ended, Pursuit, Steps},
};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

impl Caller {
    /// Asks for a turn, and answers in the manner that is wanted: by its outcome, by its events, or as soon as it is accepted.
    pub async fn send<Q, R>(
        self,
        operation: &Operation<Q, R>,
        id: SubjectId<'_>,
        IdempotencyKey(key): IdempotencyKey,
        wishes: Wishes,
        body: Bytes,
    ) -> Answer {
        self.check_scope(&operation.info)?;
        let manner = wishes.manner(&body);
        let wants = match manner {
            Manner::Whole => Wants::Outcome,
            Manner::Stream => Wants::Steps,
            Manner::Later => Wants::Acceptance,
        };
        let id = id.to_string();
        let pursuit = Pursuit { caller: self.clone(), operation: operation.info, id, key, body, wants };
        match manner {
            Manner::Stream => self.send_streamed(pursuit).await,
            Manner::Whole | Manner::Later => self.answer_to(pursuit).await,
        }
    }

    /// Asks for a turn, and answers by its outcome, whatever the body says of the manner.
    pub async fn send_and_wait<Q, R>(
        &self,
        operation: &Operation<Q, R>,
        id: SubjectId<'_>,
        IdempotencyKey(key): IdempotencyKey,
        body: Bytes,
    ) -> Answer {
        self.check_scope(&operation.info)?;
        let (caller, id, wants) = (self.clone(), id.to_string(), Wants::Outcome);
        self.answer_to(Pursuit { caller, operation: operation.info, id, key, body, wants }).await
    }

    async fn answer_to(&self, pursuit: Pursuit) -> Answer {
        match pursuit.run(None).await {
            Ended::Answered(result) => self.answered(result),
            Ended::Accepted { turn, standing, .. } => self.accepted(turn, standing).await,
            Ended::Known(turn) => self.accepted(turn, None).await,
            Ended::Pending(turn) => Err(pending(turn).into()),
        }
    }

    /// Shows a turn that is stored, however it stands.
    async fn accepted(&self, turn: TurnId, standing: Option<Standing>) -> Answer {
        let patience = self.door().request_timeout;
        let shown = self.call(&GET_TURN.info, &[&turn], Bytes::new(), None, patience).await;
        match shown {
            Ok(reply) if reply.status.is_none() => Ok(later(turn, Reply { standing, ..reply })),
            Ok(reply) => self.answered(Ok(reply)),
            Err(_) => Err(Fault::new(FaultCode::Unavailable).of_turn(turn).into()),
        }
    }
}

/// The turn goes on without this request.
pub(crate) fn pending(turn: Option<TurnId>) -> Fault {
    let pending = Fault::new(FaultCode::AnswerPending);
    turn.map_or(pending.clone(), |turn| pending.of_turn(turn))
}

/// The answer to whoever does not wait (RFC 7240 §4.1).
fn later(turn: TurnId, shown: Reply) -> Response {
    let location = HeaderValue::try_from(format!("/turns/{turn}")).ok().map(|value| (LOCATION, value));
    let mut response = (StatusCode::ACCEPTED, answer::reply(shown)).into_response();
    response.headers_mut().extend(location);
    response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
    response
}
