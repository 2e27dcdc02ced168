//! What a refusal means. Only the status, `error.type` and the beginning of one known sentence are looked at: the rest of the
//! body may echo a key or somebody's prompt.

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::{
    error::CallError,
    status::{meaning, retry_after},
};

/// How the provider says that a conversation is too long; it has no name for it.
const TOO_LONG: &str = "prompt is too long";

/// The meaning of a response that is no stream.
pub(super) fn of_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> CallError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    if status.is_success() {
        return if error.is_null() { CallError::Malformed } else { in_stream(error) };
    }
    match status.as_u16() {
        400 if is_too_long(error) => CallError::ContextTooLong,
        // Overloaded: the one status that only this provider has.
        529 => CallError::Busy { retry_after: retry_after(headers) },
        status => meaning(status, retry_after(headers)),
    }
}

/// The meaning of an `error` object that comes where an answer should.
pub(super) fn in_stream(error: &Value) -> CallError {
    match error["type"].as_str().unwrap_or_default() {
        "invalid_request_error" if is_too_long(error) => CallError::ContextTooLong,
        "invalid_request_error" => CallError::Rejected { status: 400 },
        "authentication_error" => CallError::Configuration { status: 401 },
        "billing_error" => CallError::Configuration { status: 402 },
        "permission_error" => CallError::Configuration { status: 403 },
        "not_found_error" => CallError::Configuration { status: 404 },
        "request_too_large" => CallError::Rejected { status: 413 },
        "rate_limit_error" | "overloaded_error" => CallError::Busy { retry_after: None },
        "api_error" => CallError::Failed { status: Some(500) },
        "timeout_error" => CallError::Failed { status: Some(504) },
        _ => CallError::Failed { status: None },
    }
}

fn is_too_long(error: &Value) -> bool {
    error["message"].as_str().is_some_and(|message| message.starts_with(TOO_LONG))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderValue, RETRY_AFTER};
    use serde_json::json;

    use super::*;

    fn refused(status: u16, body: &Value) -> CallError {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("3"));
        of_response(StatusCode::from_u16(status).unwrap(), &headers, body.to_string().as_bytes())
    }

    #[test]
    fn a_refusal_is_read_by_its_status() {
        let busy = CallError::Busy { retry_after: Some(Duration::from_secs(3)) };
        assert_eq!((refused(429, &json!({})), refused(529, &json!(null))), (busy.clone(), busy));
        assert_eq!(refused(401, &json!({})), CallError::Configuration { status: 401 });
        assert_eq!(refused(500, &json!([])), CallError::Failed { status: Some(500) });
        assert_eq!(refused(413, &json!({})), CallError::Rejected { status: 413 });
        assert_eq!(refused(200, &json!({})), CallError::Malformed);
    }

    #[test]
    fn a_conversation_that_is_too_long_is_told_from_a_bad_request() {
        let said = |message: &str| json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}});
        let long = said("prompt is too long: 210000 tokens > 200000 maximum");
        assert_eq!(refused(400, &long), CallError::ContextTooLong);
        assert_eq!(refused(400, &said("no")), CallError::Rejected { status: 400 });
        assert_eq!(refused(200, &long), CallError::ContextTooLong);
    }
}
