//! Turns.

use bytes::Bytes;
use wire::{
    TurnId,
    operations::{CANCEL_TURN, GET_TURN, REGENERATE_TURN},
};

use crate::{address::PathId, answer::Answer, body::JsonBody, caller::Caller, send::IdempotencyKey};

pub(crate) async fn get(caller: Caller, PathId(turn): PathId<TurnId>) -> Answer {
    caller.ask(&GET_TURN, &[&turn], Bytes::new()).await
}

pub(crate) async fn cancel(caller: Caller, PathId(turn): PathId<TurnId>) -> Answer {
    caller.ask(&CANCEL_TURN, &[&turn], Bytes::new()).await
}

pub(crate) async fn regenerate(
    caller: Caller,
    PathId(turn): PathId<TurnId>,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.send(&REGENERATE_TURN, &turn, key, body).await
}
