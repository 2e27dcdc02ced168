//! What a provider means when it does not answer. Only the status, `error.code` and `error.type` are looked at, and only
//! for values known here: the rest of the body may echo a key or somebody's prompt.

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::{
    error::CallError,
    status::{meaning, retry_after},
};

/// The meaning of a response that is no stream.
pub(super) fn of_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> CallError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    if status.is_success() {
        return if error.is_null() { CallError::Malformed } else { in_stream(error) };
    }
    named(&error["code"]).unwrap_or_else(|| meaning(status.as_u16(), retry_after(headers)))
}

/// The meaning of an `error` object that comes where an answer should: behind a 200, or within the stream.
pub(super) fn in_stream(error: &Value) -> CallError {
    let code = &error["code"];
    let status = code.as_u64().or_else(|| code.as_str()?.parse().ok()).and_then(|it| u16::try_from(it).ok());
    named(code)
        .or_else(|| status.filter(|it| *it >= 400).map(|it| meaning(it, None)))
        .or_else(|| named(&error["type"]))
        .unwrap_or(CallError::Failed { status: None })
}

/// The names that mean more than the status says.
fn named(name: &Value) -> Option<CallError> {
    Some(match name.as_str()? {
        "context_length_exceeded" => CallError::ContextTooLong,
        "content_filter" | "content_policy_violation" => CallError::ContentFiltered,
        "insufficient_quota" | "billing_hard_limit_reached" => CallError::Configuration { status: 402 },
        "invalid_api_key" | "authentication_error" => CallError::Configuration { status: 401 },
        "permission_error" => CallError::Configuration { status: 403 },
        "model_not_found" => CallError::Configuration { status: 404 },
        "rate_limit_exceeded" | "rate_limit_error" => CallError::Busy { retry_after: None },
        "invalid_request_error" => CallError::Rejected { status: 400 },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderValue, RETRY_AFTER};
    use serde_json::json;

    use super::*;

    fn refused(status: u16, body: &str) -> CallError {
        of_response(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn each_status_has_its_meaning() {
        for status in [400, 405, 409, 413, 422] {
            assert_eq!(refused(status, "<html>"), CallError::Rejected { status });
        }
        for status in [301, 307, 401, 402, 403, 404] {
            assert_eq!(refused(status, "{}"), CallError::Configuration { status });
        }
        for status in [408, 500, 502, 503, 529] {
            assert_eq!(refused(status, ""), CallError::Failed { status: Some(status) });
        }
        assert_eq!(refused(429, "[]"), CallError::Busy { retry_after: None });
        assert_eq!(refused(200, "<html>"), CallError::Malformed);
        assert_eq!(refused(204, ""), CallError::Malformed);
    }

    #[test]
    fn a_known_code_says_more_than_the_status() {
        let coded = |status, code: &str| refused(status, &json!({"error": {"code": code}}).to_string());
        assert_eq!(coded(400, "context_length_exceeded"), CallError::ContextTooLong);
        assert_eq!(coded(400, "content_filter"), CallError::ContentFiltered);
        assert_eq!(coded(429, "insufficient_quota"), CallError::Configuration { status: 402 });
        assert_eq!(coded(400, "sk-secret"), CallError::Rejected { status: 400 });
    }

    #[test]
    fn an_error_behind_a_200_is_read_by_number_name_or_type() {
        assert_eq!(in_stream(&json!({"code": 429})), CallError::Busy { retry_after: None });
        assert_eq!(in_stream(&json!({"code": "502"})), CallError::Failed { status: Some(502) });
        assert_eq!(in_stream(&json!({"code": "context_length_exceeded"})), CallError::ContextTooLong);
        assert_eq!(in_stream(&json!({"type": "rate_limit_error"})), CallError::Busy { retry_after: None });
        for vague in
            [json!({}), json!("boom"), json!({"code": -1}), json!({"code": 200}), json!({"code": 99_999})]
        {
            assert_eq!(in_stream(&vague), CallError::Failed { status: None }, "{vague}");
        }
        assert_eq!(refused(200, r#"{"error":{"code":402}}"#), CallError::Configuration { status: 402 });
    }

    #[test]
    fn a_503_that_says_when_is_busy() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("3"));
        let busy = CallError::Busy { retry_after: Some(Duration::from_secs(3)) };
        assert_eq!(of_response(StatusCode::SERVICE_UNAVAILABLE, &headers, b""), busy);
    }
}
