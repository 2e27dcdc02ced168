//! HTTP as a client sees it.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, Response, header::HeaderMap};
use serde_json::Value;

use crate::EventStream;

/// Longer than any answer takes here.
const PATIENCE: Duration = Duration::from_secs(100);

/// Where the API is; it moves when the ingress is started again.
#[derive(Debug)]
pub(crate) struct Door {
    http: reqwest::Client,
    address: RwLock<SocketAddr>,
}

/// Somebody who talks to the API, with a token or without.
#[derive(Debug, Clone)]
pub struct Client {
    door: Arc<Door>,
    token: Option<Arc<str>>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Door {
    pub(crate) fn new(address: SocketAddr) -> Self {
        // Only one can be installed per process, and any is fine: an error says that one is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("an HTTP client");
        Self { http, address: RwLock::new(address) }
    }

    pub(crate) fn move_to(&self, address: SocketAddr) {
        *self.address.write().unwrap_or_else(PoisonError::into_inner) = address;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        *self.address.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Of the API at this address, without a token.
    pub fn at(address: SocketAddr) -> Self {
        Self::new(Arc::new(Door::new(address)))
    }

    /// Without a token.
    pub(crate) fn new(door: Arc<Door>) -> Self {
        Self { door, token: None }
    }

    /// The same with this token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { door: self.door.clone(), token: Some(token.into()) }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, &[], None).await.unwrap()
    }

    /// POST of a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.json(Method::POST, path, &body).await
    }

    /// POST without a body, and without a `Content-Type`.
    pub async fn post_nothing(&self, path: &str) -> Answer {
        self.request(Method::POST, path, &[], None).await.unwrap()
    }

    /// PUT of a JSON body.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.json(Method::PUT, path, &body).await
    }

    /// PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.json(Method::PATCH, path, &body).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, &[], None).await.unwrap()
    }

    /// Any request. Fails if no answer came.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.begin(method, path, headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        Answer::read(request.send().await?).await
    }

    /// Opens a stream of events. Fails with the answer, if it is none.
    pub async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Result<EventStream, Answer> {
        Self::open(self.begin(Method::GET, path, headers)).await
    }

    /// As [`Client::stream`], by a POST of a JSON body.
    pub async fn post_stream(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<EventStream, Answer> {
        let request = self.begin(Method::POST, path, headers).header("content-type", "application/json");
        Self::open(request.body(body.to_string())).await
    }

    async fn open(request: RequestBuilder) -> Result<EventStream, Answer> {
        let response = request.send().await.unwrap();
        let kind = response.headers().get("content-type").map(|value| value.as_bytes());
        if response.status() == 200 && kind == Some(b"text/event-stream") {
            Ok(EventStream::new(response))
        } else {
            Err(Answer::read(response).await.unwrap())
        }
    }

    fn begin(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> RequestBuilder {
        let mut request = self.door.http.request(method, format!("http://{}{path}", self.door.address()));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        let body = Some(body.to_string().into());
        self.request(method, path, &[("content-type", "application/json")], body).await.unwrap()
    }
}

impl Answer {
    async fn read(response: Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.bytes().await? })
    }

    /// A header; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of a success.
    pub fn ok(&self) -> Value {
        assert_eq!((self.status, self.header("content-type")), (200, "application/json"), "{self:?}");
        self.json()
    }

    /// The body of a fault with this status and code, which is a problem that names this very request.
    pub fn fault(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, &problem["code"]), (status, &code.into()), "{problem}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        problem
    }
}
