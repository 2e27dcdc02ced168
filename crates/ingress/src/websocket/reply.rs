//! What a client is told, other than the events of turns: JSON in a text message each.

use axum::response::IntoResponse;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::Serialize;
use serde_json::json;
use wire::{Fault, FaultCode, Problem, UserId};

use crate::answer::Answer;

/// What a request came to, as the body of an answer over HTTP has it.
pub(super) struct Outcome {
    pub succeeded: bool,
    pub body: Bytes,
}

impl Outcome {
    /// Of an answer.
    pub async fn of(answer: Answer, request_id: &str) -> Self {
        let response = match answer {
            Ok(response) => response,
            Err(refusal) => return Self::fault(&refusal.into_fault(), request_id),
        };
        let response = response.into_response();
        let succeeded = response.status().is_success();
        match response.into_body().collect().await {
            Ok(body) => Self { succeeded, body: body.to_bytes() },
            Err(_) => Self::fault(&FaultCode::Internal.into(), request_id),
        }
    }

    /// Of something that was refused here.
    pub fn fault(fault: &Fault, request_id: &str) -> Self {
        let problem = Problem::of(fault, Some(request_id));
        Self { succeeded: false, body: serde_json::to_vec(&problem).unwrap_or_default().into() }
    }

    /// As the answer to what the client called `reference`.
    pub fn frame(&self, reference: Option<&str>) -> Bytes {
        let event = if self.succeeded { "reply" } else { "error" };
        framed(event, reference, std::str::from_utf8(&self.body).unwrap_or("{}"))
    }
}

/// A success, in our own words.
pub(super) fn reply(reference: Option<&str>, data: &impl Serialize) -> Bytes {
    framed("reply", reference, &serde_json::to_string(data).unwrap_or_default())
}

/// Whoever it is has been let in.
pub(super) fn ready(reference: Option<&str>, user: UserId, heartbeat_s: u64) -> Bytes {
    framed("ready", reference, &json!({ "user_id": user, "heartbeat_s": heartbeat_s }).to_string())
}

/// The client is to come back in a second.
pub(super) fn reconnect(reason: &str) -> Bytes {
    framed("reconnect", None, &json!({ "reason": reason, "retry_ms": 1000 }).to_string())
}

fn framed(event: &str, reference: Option<&str>, data: &str) -> Bytes {
    let reference = reference.map(|reference| format!(r#""ref":{},"#, json!(reference))).unwrap_or_default();
    format!(r#"{{"event":"{event}",{reference}"data":{data}}}"#).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_json_whatever_the_client_calls_its_request() {
        let frame = reply(Some("\"}\n\u{0}"), &json!({ "a": 1 }));
        let frame: serde_json::Value = serde_json::from_slice(&frame).unwrap();
        assert_eq!(frame, json!({ "event": "reply", "ref": "\"}\n\u{0}", "data": { "a": 1 } }));
        let fault = Outcome::fault(&FaultCode::RateLimited.into(), "r1").frame(None);
        let fault: serde_json::Value = serde_json::from_slice(&fault).unwrap();
        assert_eq!((&fault["event"], &fault["data"]["code"]), (&json!("error"), &json!("rate_limited")));
        assert!(fault.get("ref").is_none() && fault["data"]["retry_after"] == 1, "{fault}");
    }
}
