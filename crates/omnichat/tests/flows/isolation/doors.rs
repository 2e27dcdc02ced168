//! Both ways to ask, and what of an answer can be compared.

use reqwest::Method;
use testkit::{Stranger, User};

use super::rows::Request;

/// Named alike by all requests, so that answers are alike to the byte.
const REQUEST_ID: &str = "the-same";
/// What tells of the moment and not of the thing.
const MOMENTARY: [&str; 4] = ["date", "ratelimit", "ratelimit-policy", "traceparent"];

/// Where somebody asks.
pub enum Door {
    Http(User),
    /// A connection, and in whose place it asks.
    Nats(Stranger, String),
}

/// All of an answer.
#[derive(Debug, PartialEq)]
pub struct Shown {
    pub status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Door {
    pub async fn ask(&self, request: &Request) -> Shown {
        match self {
            Self::Http(user) => over_http(user, request).await,
            Self::Nats(stranger, user) => over_nats(stranger, user, request).await,
        }
    }
}

impl Shown {
    pub fn holds(&self, words: &str) -> bool {
        self.body.contains(words) || self.headers.iter().any(|(_, value)| value.contains(words))
    }
}

async fn over_http(user: &User, Request { verb, target, body }: &Request) -> Shown {
    let method = Method::from_bytes(verb.as_bytes()).unwrap();
    let headers = [("x-request-id", REQUEST_ID), ("content-type", "application/json")];
    let headers = if body.is_empty() { &headers[..1] } else { &headers };
    let body = (!body.is_empty()).then(|| body.clone().into());
    let answer = user.request(method, target, headers, body).await.unwrap();
    let named =
        answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    Shown {
        status: answer.status,
        headers: lasting(named),
        body: String::from_utf8(answer.body.to_vec()).unwrap(),
    }
}

async fn over_nats(stranger: &Stranger, user: &str, Request { target, body, .. }: &Request) -> Shown {
    let subject = target.replace("{user}", user);
    let reply = stranger.request(&subject, &[("X-Request-Id", REQUEST_ID)], body.clone()).await;
    let status = match reply.header("Nats-Service-Error-Code") {
        "" => 200,
        code => code.parse().unwrap(),
    };
    Shown {
        status,
        headers: lasting(reply.headers().into_iter()),
        body: String::from_utf8(reply.body().to_vec()).unwrap(),
    }
}

fn lasting(headers: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut headers: Vec<_> =
        headers.filter(|(name, _)| !MOMENTARY.contains(&name.to_lowercase().as_str())).collect();
    headers.sort();
    headers
}
