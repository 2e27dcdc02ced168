//! Answers. What a service said is handed on as it is; what was refused at the door becomes a problem of the same form.

use axum::response::{IntoResponse, Response};
use bus::Reply;
use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use uuid::Uuid;
use wire::{Fault, FaultCode, Problem};

use crate::throttle;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What a handler returns.
pub(crate) type Answer = Result<Response, Refusal>;

/// A fault met at the door. It leaves the handler as an extension of its response, because only [`crate::exchange`] knows
/// the request's id, which the body carries.
#[derive(Debug)]
pub(crate) struct Refusal(Fault);

impl<F: Into<Fault>> From<F> for Refusal {
    fn from(fault: F) -> Self {
        Self(fault.into())
    }
}

impl Refusal {
    /// What was met.
    pub fn into_fault(self) -> Fault {
        self.0
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = status(self.0.code.status()).into_response();
        response.extensions_mut().insert(self.0);
        response
    }
}

/// A success.
pub(crate) fn json(body: impl Into<Bytes>) -> Response {
    ([(CONTENT_TYPE, JSON)], body.into()).into_response()
}

/// What a service answered, unread: only when to come back stands in a header as well.
pub(crate) fn reply(Reply { status, body, standing, .. }: Reply) -> Response {
    let mut response = match status {
        None => json(body),
        Some(status @ (429 | 503)) => {
            let seconds = retry_after_s(&body);
            problem(status, body, Some(seconds))
        }
        Some(status) => problem(status, body, None),
    };
    if let Some(standing) = standing {
        throttle::mark(response.headers_mut(), &standing);
    }
    response
}

/// A fault of the door itself.
pub(crate) fn fault(fault: &Fault, request_id: &str) -> Response {
    let body = serde_json::to_vec(&Problem::of(fault, Some(request_id))).unwrap_or_default();
    let mut response = problem(fault.code.status(), body.into(), fault.retry_after_s);
    if matches!(fault.code, FaultCode::BodyTooLarge | FaultCode::RequestTimedOut) {
        // The rest of the request is not going to be read.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A fault as the bytes of a whole answer, for a connection on which no request could be read.
pub(crate) fn bare(fault: &Fault) -> String {
    let request_id = Uuid::now_v7().to_string();
    let body = serde_json::to_string(&Problem::of(fault, Some(&request_id))).unwrap_or_default();
    let retry_after =
        fault.retry_after_s.map_or_else(String::new, |seconds| format!("retry-after: {seconds}\r\n"));
    format!(
        "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n{retry_after}\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n{body}",
        status(fault.code.status()),
        body.len(),
    )
}

fn problem(code: u16, body: Bytes, retry_after_s: Option<u32>) -> Response {
    let mut response = (status(code), [(CONTENT_TYPE, PROBLEM)], body).into_response();
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if code == 401 {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn retry_after_s(problem: &[u8]) -> u32 {
    #[derive(Deserialize)]
    struct Hint {
        retry_after: Option<u32>,
    }
    let hint = serde_json::from_slice::<Hint>(problem).ok().and_then(|hint| hint.retry_after);
    hint.unwrap_or(1).clamp(1, 60)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn body(response: Response) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_services_words_are_handed_on_untouched() {
        let response = reply(Reply { body: Bytes::from_static(b"{ \"a\":1 }"), ..Reply::default() });
        assert_eq!((response.status(), &response.headers()[CONTENT_TYPE]), (StatusCode::OK, &JSON));
        assert_eq!(body(response).await, "{ \"a\":1 }");

        let body_of_422 = Bytes::from_static(b"not even JSON");
        let response = reply(Reply { status: Some(422), body: body_of_422, ..Reply::default() });
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM);
        assert!(!response.headers().contains_key(RETRY_AFTER));
        assert_eq!(body(response).await, "not even JSON");
    }

    #[test]
    fn every_429_and_503_says_when_to_come_back() {
        let cases =
            [(429, r#"{"retry_after":7}"#, "7"), (503, r#"{"retry_after":600}"#, "60"), (503, "", "1")];
        for (status, body, seconds) in cases {
            let response = reply(Reply { status: Some(status), body: body.into(), ..Reply::default() });
            assert_eq!(response.headers()[RETRY_AFTER], seconds, "{status} {body}");
        }
    }

    #[tokio::test]
    async fn a_fault_of_the_door_looks_like_one_of_a_service() {
        for &code in FaultCode::ALL {
            let response = fault(&code.into(), "r1");
            assert_eq!(response.status().as_u16(), code.status());
            assert_eq!(response.headers().contains_key(RETRY_AFTER), matches!(code.status(), 429 | 503));
            assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), code.status() == 401);
            let problem: Problem = serde_json::from_slice(&body(response).await).unwrap();
            assert_eq!(problem, Problem::of(&code.into(), Some("r1")));
        }
    }
}
