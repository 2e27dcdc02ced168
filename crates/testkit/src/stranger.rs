//! A NATS client that we did not write, as services and scripts of other people use one.

#![expect(clippy::disallowed_types, reason = "the point is that it is not our own client")]

use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

use crate::eventually;

/// Longer than any answer takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
#[derive(Debug, Clone)]
pub struct Stranger(Client);

/// A message that came.
#[derive(Debug)]
pub struct Reply(Message);

/// A client that is to notice within seconds that its way is lost has to ask so often itself; by default it takes minutes.
const PING: Duration = Duration::from_secs(2);

/// Messages that come.
#[derive(Debug)]
pub struct Subscription(Subscriber);

impl Stranger {
    /// Connects with user and password to one of the servers, which are separated by commas; tries again, as the way to the server may be disturbed.
    pub async fn connect(url: &str, user: &str, password: &str, inbox_prefix: &str) -> Self {
        eventually("NATS lets us in", PATIENCE, async || {
            let options = ConnectOptions::with_user_and_password(user.into(), password.into())
                .custom_inbox_prefix(inbox_prefix)
                .request_timeout(Some(PATIENCE));
            options.connect(servers(url)).await.ok().map(Self)
        })
        .await
    }

    /// Connects with a user's credential; an error says why not.
    pub async fn with_token(url: &str, credential: &str, inbox_prefix: &str) -> Result<Self, String> {
        let options = ConnectOptions::with_token(credential.into())
            .custom_inbox_prefix(inbox_prefix)
            .ping_interval(PING)
            .request_timeout(Some(PATIENCE));
        options.connect(servers(url)).await.map(Self).map_err(|error| error.to_string())
    }

    /// Whether it is connected at this moment.
    pub fn is_connected(&self) -> bool {
        self.0.connection_state() == async_nats::connection::State::Connected
    }

    /// Asks, and waits for the one reply.
    pub async fn request(&self, subject: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let reply = self.try_request(subject, headers, body).await;
        reply.unwrap_or_else(|error| panic!("{subject}: {error}"))
    }

    /// As [`Stranger::request`]; an error says why no reply came, such as that nobody listens.
    pub async fn try_request(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, String> {
        let reply = self.0.request_with_headers(subject.to_owned(), map(headers), body.into()).await;
        reply.map(Reply).map_err(|error| error.to_string())
    }

    /// Publishes a request whose answer goes to `reply_to`.
    pub async fn publish(&self, subject: &str, reply_to: &str, body: impl Into<Bytes>) {
        self.publish_with(subject, reply_to, &[], body).await;
    }

    /// As [`Stranger::publish`], with headers.
    pub async fn publish_with(
        &self,
        subject: &str,
        reply_to: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) {
        let (subject, reply_to) = (subject.to_owned(), reply_to.to_owned());
        let published =
            self.0.publish_with_reply_and_headers(subject, reply_to, map(headers), body.into()).await;
        published.expect("published");
        self.flush().await;
    }

    /// Listens; returns when the server has the subscription.
    pub async fn subscribe(&self, subject: &str) -> Subscription {
        let subscription = self.0.subscribe(subject.to_owned()).await.expect("subscribed");
        self.flush().await;
        Subscription(subscription)
    }

    /// Takes its share of what the members of a group are sent.
    pub async fn join(&self, subject: &str, group: &str) -> Subscription {
        let subscription = self.0.queue_subscribe(subject.to_owned(), group.to_owned()).await.unwrap();
        self.flush().await;
        Subscription(subscription)
    }

    /// Waits until the server has handled all that was sent.
    pub async fn flush(&self) {
        self.0.flush().await.expect("the server answers");
    }
}

impl Subscription {
    /// The next message.
    ///
    /// # Panics
    /// If none comes.
    pub async fn next(&mut self) -> Reply {
        let message = timeout(PATIENCE, self.0.next()).await.expect("a message comes in time");
        Reply(message.expect("the subscription goes on"))
    }

    /// Whether nothing has come that was not taken; otherwise it takes a message.
    pub fn is_empty(&mut self) -> bool {
        futures::FutureExt::now_or_never(self.0.next()).is_none()
    }
}

impl Reply {
    /// Where it was sent.
    pub fn subject(&self) -> &str {
        self.0.subject.as_str()
    }

    /// A header; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        self.0.headers.as_ref().and_then(|headers| headers.get(name)).map_or("", |value| value.as_str())
    }

    /// Every header, by name.
    pub fn headers(&self) -> Vec<(String, String)> {
        let headers = self.0.headers.iter().flat_map(HeaderMap::iter);
        headers
            .flat_map(|(name, values)| values.iter().map(|value| (name.to_string(), value.to_string())))
            .collect()
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.0.payload
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body()).expect("JSON")
    }
}

fn servers(url: &str) -> Vec<&str> {
    url.split(',').collect()
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    headers.iter().for_each(|(name, value)| map.insert(*name, *value));
    map
}
