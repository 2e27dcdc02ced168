//! Accounts.

use bytes::Bytes;
use wire::operations::{GET_ACCOUNT, LOG_IN, REGISTER, VALIDATE_ACCOUNT};

use crate::{
    answer::Answer,
    body::JsonBody,
    caller::{Caller, Visitor},
};

pub(crate) async fn register(visitor: Visitor, JsonBody(body): JsonBody) -> Answer {
    visitor.ask(&REGISTER, body).await
}

pub(crate) async fn log_in(visitor: Visitor, JsonBody(body): JsonBody) -> Answer {
    visitor.ask(&LOG_IN, body).await
}

pub(crate) async fn validate(caller: Caller) -> Answer {
    caller.ask(&VALIDATE_ACCOUNT, &[], Bytes::new()).await
}

pub(crate) async fn me(caller: Caller) -> Answer {
    caller.ask(&GET_ACCOUNT, &[], Bytes::new()).await
}
