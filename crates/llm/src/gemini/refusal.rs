//! What a refusal means. Only the status, `error.code`, `error.status`, known details and the beginning of one known sentence
//! are looked at: the rest of the body may echo a key or somebody's prompt.

use std::time::Duration;

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::{
    error::CallError,
    status::{meaning, retry_after},
};

/// How the provider says that a conversation is too long; it has no name for it.
const TOO_LONG: &str = "The input token count";

/// The meaning of a response that is no stream.
pub(super) fn of_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> CallError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    if status.is_success() {
        return if error.is_null() { CallError::Malformed } else { in_stream(error) };
    }
    let wait = retry_after(headers).or_else(|| retry_delay(error));
    named(error).unwrap_or_else(|| meaning(status.as_u16(), wait))
}

/// The meaning of an `error` object that comes where an answer should.
pub(super) fn in_stream(error: &Value) -> CallError {
    let code = error["code"].as_u64().and_then(|it| u16::try_from(it).ok()).filter(|it| *it >= 400);
    named(error)
        .or_else(|| Some(meaning(code.or_else(|| status_of(error))?, retry_delay(error))))
        .unwrap_or(CallError::Failed { status: None })
}

/// What is behind a status of 400 that is no fault of the request.
fn named(error: &Value) -> Option<CallError> {
    let is_too_long = || error["message"].as_str().is_some_and(|message| message.starts_with(TOO_LONG));
    match error["status"].as_str()? {
        "INVALID_ARGUMENT" if is_too_long() => Some(CallError::ContextTooLong),
        "INVALID_ARGUMENT" if details(error).any(|it| it["reason"] == "API_KEY_INVALID") => {
            Some(CallError::Configuration { status: 401 })
        }
        // Without billing, the provider does not serve every country.
        "FAILED_PRECONDITION" => Some(CallError::Configuration { status: 402 }),
        _ => None,
    }
}

/// The HTTP status that belongs to a name.
fn status_of(error: &Value) -> Option<u16> {
    Some(match error["status"].as_str()? {
        "INVALID_ARGUMENT" => 400,
        "UNAUTHENTICATED" => 401,
        "PERMISSION_DENIED" => 403,
        "NOT_FOUND" => 404,
        "RESOURCE_EXHAUSTED" => 429,
        "INTERNAL" => 500,
        "UNAVAILABLE" => 503,
        "DEADLINE_EXCEEDED" => 504,
        _ => return None,
    })
}

/// How long the provider asks us to wait: seconds, as in `"34.07s"`. It has no header for it.
fn retry_delay(error: &Value) -> Option<Duration> {
    let seconds = details(error).find_map(|it| it["retryDelay"].as_str()?.strip_suffix('s')?.parse().ok())?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn details(error: &Value) -> impl Iterator<Item = &Value> {
    error["details"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderValue, RETRY_AFTER};
    use serde_json::json;

    use super::*;

    fn refused(status: u16, error: &Value) -> CallError {
        let body = json!({ "error": error }).to_string();
        of_response(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    fn busy(seconds: f64) -> CallError {
        CallError::Busy { retry_after: Some(Duration::from_secs_f64(seconds)) }
    }

    #[test]
    fn a_refusal_is_read_by_its_status() {
        assert_eq!(refused(403, &json!({})), CallError::Configuration { status: 403 });
        assert_eq!(refused(500, &json!("no")), CallError::Failed { status: Some(500) });
        assert_eq!(refused(200, &json!(null)), CallError::Malformed);
    }

    #[test]
    fn a_bad_request_is_told_from_what_only_looks_like_one() {
        let invalid = |message: &str, reason: &str| {
            let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]);
            json!({"code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": details})
        };
        let long = "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576).";
        for (error, meant) in [
            (invalid("no", "OTHER"), CallError::Rejected { status: 400 }),
            (invalid(long, "OTHER"), CallError::ContextTooLong),
            (invalid("no", "API_KEY_INVALID"), CallError::Configuration { status: 401 }),
            (json!({"code": 400, "status": "FAILED_PRECONDITION"}), CallError::Configuration { status: 402 }),
        ] {
            assert_eq!((refused(400, &error), in_stream(&error)), (meant.clone(), meant), "{error}");
        }
    }

    #[test]
    fn an_error_in_the_stream_is_read_by_number_or_name() {
        let named = |name: &str| in_stream(&json!({"status": name}));
        assert_eq!(in_stream(&json!({"code": 404})), CallError::Configuration { status: 404 });
        assert_eq!(named("RESOURCE_EXHAUSTED"), CallError::Busy { retry_after: None });
        assert_eq!(named("DEADLINE_EXCEEDED"), CallError::Failed { status: Some(504) });
        for vague in
            [json!({}), json!("boom"), json!({"code": 200}), json!({"code": 99_999, "status": "NEW"})]
        {
            assert_eq!(in_stream(&vague), CallError::Failed { status: None }, "{vague}");
        }
    }

    #[test]
    fn the_wait_is_that_of_the_header_or_else_of_the_details() {
        let asked = |delay: &str| json!({"status": "RESOURCE_EXHAUSTED", "details": [{"reason": "x"}, {"retryDelay": delay}]});
        assert_eq!(refused(429, &asked("34.5s")), busy(34.5));
        assert_eq!(in_stream(&asked("2s")), busy(2.0));
        for nonsense in ["", "s", "-1s", "NaNs", "soon"] {
            assert_eq!(refused(429, &asked(nonsense)), CallError::Busy { retry_after: None }, "{nonsense}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("3"));
        let body = json!({ "error": asked("9s") }).to_string();
        assert_eq!(of_response(StatusCode::TOO_MANY_REQUESTS, &headers, body.as_bytes()), busy(3.0));
    }
}
