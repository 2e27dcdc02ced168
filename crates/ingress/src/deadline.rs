//! How long a request may take in all.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use host::limit::hit;
use tokio::time::timeout;
use wire::{FaultCode, limit::TOTAL_TIME};

use crate::answer::Refusal;

/// Gives up a request that takes longer. It may have been carried out, as after any answer of this kind.
pub(crate) async fn run(State(total): State<Duration>, request: Request, next: Next) -> Response {
    timeout(total, next.run(request)).await.unwrap_or_else(|_| {
        hit(TOTAL_TIME.name);
        Refusal::from(FaultCode::Unavailable).into_response()
    })
}
