//! Turns.

use bytes::Bytes;
use wire::{TurnId, operations::GET_TURN};

use crate::{address::PathId, answer::Answer, caller::Caller};

pub(crate) async fn get(caller: Caller, PathId(turn): PathId<TurnId>) -> Answer {
    caller.ask(&GET_TURN, &[&turn], Bytes::new()).await
}
