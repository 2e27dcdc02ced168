//! Models.

use bytes::Bytes;
use wire::operations::LIST_MODELS;

use crate::{answer::Answer, caller::Caller};

pub(crate) async fn list(caller: Caller) -> Answer {
    caller.ask(&LIST_MODELS, &[], Bytes::new()).await
}
