//! What a provider means when it does not answer. Only the status, `error.code` and `error.type` are looked at, and only
//! for values known here: the rest of the body may echo a key or somebody's prompt.

use std::time::Duration;

use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use crate::error::CallError;

/// The meaning of a response that is no stream.
pub(super) fn of_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> CallError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    if status.is_success() {
        return if error.is_null() { CallError::Malformed } else { in_stream(error) };
    }
    named(&error["code"]).unwrap_or_else(|| by_status(status.as_u16(), retry_after(headers)))
}

/// The meaning of an `error` object that comes where an answer should: behind a 200, or within the stream.
pub(super) fn in_stream(error: &Value) -> CallError {
    let code = &error["code"];
    let status = code.as_u64().or_else(|| code.as_str()?.parse().ok()).and_then(|it| u16::try_from(it).ok());
    named(code)
        .or_else(|| status.filter(|it| *it >= 400).map(|it| by_status(it, None)))
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

fn by_status(status: u16, retry_after: Option<Duration>) -> CallError {
    match status {
        429 => CallError::Busy { retry_after },
        503 if retry_after.is_some() => CallError::Busy { retry_after },
        // A redirect is not followed: the address is wrong, as it is for what is not found.
        300..=399 | 401..=404 => CallError::Configuration { status },
        408 | 500.. => CallError::Failed { status: Some(status) },
        _ => CallError::Rejected { status },
    }
}

/// Seconds or a date; what is neither counts as absent, a date in the past as now.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let wait = OffsetDateTime::parse(value, &Rfc2822).ok()? - OffsetDateTime::now_utc();
    Some(wait.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use serde_json::json;

    use super::*;

    fn refused(status: u16, body: &str) -> CallError {
        of_response(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    fn wait(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        retry_after(&headers)
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
    fn retry_after_is_a_number_or_a_date() {
        assert_eq!(wait("2"), Some(Duration::from_secs(2)));
        assert_eq!(wait("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(wait("1000000000"), Some(Duration::from_secs(1_000_000_000)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(wait("Fri, 21 Oct 2095 07:28:00 GMT").unwrap() > Duration::from_secs(1_000_000_000));
        for nonsense in ["-1", "soon", "", "NaN", "inf", "1e300"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_503_that_says_when_is_busy() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("3"));
        let busy = CallError::Busy { retry_after: Some(Duration::from_secs(3)) };
        assert_eq!(of_response(StatusCode::SERVICE_UNAVAILABLE, &headers, b""), busy);
    }
}
