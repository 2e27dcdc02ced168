//! The two doors as clients of a run use them: one request, and what came of it, if anything did.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    history::{Kind, Via},
    installation::Installation,
};
use crate::Stranger;

/// A client waits so long for an answer, and then does not know.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Something to ask about a conversation or a turn.
#[expect(missing_docs, reason = "fields that are named by what they are")]
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// An answer to a message.
    Send { talk: Uuid, text: &'a str, key: Option<&'a str> },
    /// The messages of a conversation.
    Messages { talk: Uuid },
    /// A conversation.
    Talk { talk: Uuid },
    /// A turn.
    Turn { turn: Uuid },
    /// The turn of a key.
    Find { key: &'a str },
    /// The events of a turn, which are told over HTTP alone.
    Events { turn: Uuid },
    /// The end of a turn.
    Cancel { turn: Uuid },
    /// The end of a conversation.
    Delete { talk: Uuid },
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Got {
    /// HTTP's number for it, over either door.
    pub status: u16,
    /// All headers, for what may be hidden in them.
    pub headers: String,
    /// The body.
    pub body: Bytes,
}

/// What an answer says.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What is known now.
    pub kind: Kind,
    /// The fault's name, or `answered`, or `ok`.
    pub code: String,
    /// The turn it names.
    pub turn: Option<Uuid>,
    /// The answer's text.
    pub answer: Option<String>,
}

/// Codes that say how a turn ended without an answer; with any other code it has not ended.
const OUTCOMES: [&str; 15] = [
    "turn_cancelled",
    "attempts_exhausted",
    "provider_unavailable",
    "provider_rejected",
    "provider_misconfigured",
    "provider_failed",
    "provider_busy",
    "provider_timed_out",
    "answer_truncated",
    "answer_malformed",
    "answer_empty",
    "answer_filtered",
    "answer_unsupported",
    "answer_too_large",
    "context_too_long",
];

impl Got {
    /// As JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Everything that came.
    pub fn bytes(&self) -> Vec<u8> {
        [self.headers.as_bytes(), b"\n", &self.body].concat()
    }
}

impl Verdict {
    /// Of an answer, or of none.
    pub fn of(got: Option<&Got>) -> Self {
        let Some(got) = got else {
            return Self { kind: Kind::Info, code: "no_answer".into(), turn: None, answer: None };
        };
        let body = got.json();
        let turn = body["turn_id"].as_str().and_then(|id| id.parse().ok());
        if got.status == 200 {
            let answer = body["response"].as_str().map(str::to_owned);
            let code = if answer.is_some() { "answered" } else { "ok" };
            return Self { kind: Kind::Ok, code: code.into(), turn, answer };
        }
        let code = body["code"].as_str().unwrap_or("unreadable").to_owned();
        let kind = match got.status {
            _ if OUTCOMES.contains(&&*code) => Kind::Ok,
            400 | 404 | 422 | 429 => Kind::Fail,
            _ => Kind::Info,
        };
        Self { kind, code, turn, answer: None }
    }
}

/// Asks over HTTP. None if no answer came.
pub async fn over_http(
    http: &reqwest::Client,
    on: &Installation,
    ingress: usize,
    token: &str,
    request: Request<'_>,
) -> Option<Got> {
    let (method, path, body) = match request {
        Request::Send { talk, text, .. } => {
            (Method::POST, format!("conversations/{talk}/messages"), Some(json!({ "content": text })))
        }
        Request::Messages { talk } => {
            (Method::GET, format!("conversations/{talk}/messages?limit=1000"), None)
        }
        Request::Talk { talk } => (Method::GET, format!("conversations/{talk}"), None),
        Request::Turn { turn } => (Method::GET, format!("turns/{turn}"), None),
        Request::Events { turn } => (Method::GET, format!("turns/{turn}/events"), None),
        Request::Cancel { turn } => (Method::POST, format!("turns/{turn}/cancel"), None),
        Request::Delete { talk } => (Method::DELETE, format!("conversations/{talk}"), None),
        // Only NATS is asked so.
        Request::Find { .. } => return None,
    };
    let door = on.ingresses()[ingress % on.ingresses().len()].door.address();
    let mut building = http.request(method, format!("http://{door}/{path}")).bearer_auth(token);
    if let Request::Send { key: Some(key), .. } = request {
        building = building.header("Idempotency-Key", key);
    }
    if let Some(body) = body {
        building = building.header("Content-Type", "application/json").body(body.to_string());
    }
    let asked = async {
        let response = building.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), format!("{:?}", response.headers()));
        Some(Got { status, headers, body: response.bytes().await.ok()? })
    };
    timeout(PATIENCE, asked).await.ok().flatten()
}

/// Asks over NATS. None if no answer came.
pub async fn over_nats(nats: &Stranger, user: &str, request: Request<'_>) -> Option<Got> {
    let (rest, body) = match request {
        Request::Send { talk, text, .. } => {
            (format!("conversations.{talk}.send"), json!({ "content": text }))
        }
        Request::Messages { talk } => (format!("conversations.{talk}.messages"), json!({ "limit": 1000 })),
        Request::Talk { talk } => (format!("conversations.{talk}.get"), json!({})),
        Request::Turn { turn } => (format!("turns.{turn}.get"), json!({})),
        Request::Find { key } => ("turns.find".to_owned(), json!({ "idempotency_key": key })),
        Request::Cancel { turn } => (format!("turns.{turn}.cancel"), json!({})),
        // Only HTTP is asked so.
        Request::Events { .. } => return None,
        Request::Delete { talk } => (format!("conversations.{talk}.delete"), json!({})),
    };
    let headers = match request {
        Request::Send { key: Some(key), .. } => vec![("Idempotency-Key", key)],
        _ => Vec::new(),
    };
    let subject = format!("omnichat.v1.u.{user}.{rest}");
    let asked = nats.try_request(&subject, &headers, body.to_string());
    let reply = timeout(PATIENCE, asked).await.ok()?.ok()?;
    let status = match reply.header("Nats-Service-Error-Code") {
        "" => 200,
        code => code.parse().unwrap_or(500),
    };
    Some(Got { status, headers: format!("{:?}", reply.headers()), body: reply.body().clone() })
}

/// The number of a way and an operation, for comparing answers that must look alike.
pub fn door_number(via: Via, operation: u8) -> u8 {
    match via {
        Via::Http(_) => operation,
        Via::Nats => 100 + operation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &Value) -> (Kind, String) {
        let got = Got { status, headers: String::new(), body: body.to_string().into() };
        let verdict = Verdict::of(Some(&got));
        (verdict.kind, verdict.code)
    }

    #[test]
    fn what_is_known_after_an_answer() {
        let code = |code: &str| json!({ "code": code });
        assert_eq!(verdict(200, &json!({ "response": "hi" })), (Kind::Ok, "answered".into()));
        assert_eq!(verdict(502, &code("provider_failed")), (Kind::Ok, "provider_failed".into()));
        assert_eq!(verdict(503, &code("provider_busy")), (Kind::Ok, "provider_busy".into()));
        assert_eq!(verdict(503, &code("unavailable")), (Kind::Info, "unavailable".into()));
        assert_eq!(verdict(504, &code("answer_pending")), (Kind::Info, "answer_pending".into()));
        assert_eq!(verdict(429, &code("conversation_busy")), (Kind::Fail, "conversation_busy".into()));
        assert_eq!(verdict(500, &code("internal")), (Kind::Info, "internal".into()));
        assert_eq!(Verdict::of(None).kind, Kind::Info);
    }
}
