//! A thin HTTP/1.1 client: one connection that stays open, one request at a time.

use std::net::SocketAddr;

use ::http::{
    HeaderValue, Method, Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An open connection.
pub struct Connection {
    server: SocketAddr,
    host: HeaderValue,
    requests: SendRequest<Full<Bytes>>,
    /// Carries the bytes; ends with this connection.
    _carrier: JoinSet<()>,
}

impl Connection {
    /// Connects to `server`.
    pub async fn open(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server).await;
        Self::over(server, stream.with_context(|| format!("cannot connect to {server}"))?).await
    }

    /// Connects to `server` with hardly any room for what comes and is not read.
    pub async fn open_narrow(server: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        Self::over(server, socket.connect(server).await?).await
    }

    async fn over(server: SocketAddr, stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut carrier = JoinSet::new();
        // Whoever sends learns how the connection ended.
        carrier.spawn(async move { drop(connection.await) });
        let host = HeaderValue::try_from(server.to_string())?;
        Ok(Self { server, host, requests, _carrier: carrier })
    }

    /// Reads what is there, on a new connection if the server has closed this one meanwhile.
    pub async fn get(&mut self, uri: Uri, authorization: HeaderValue) -> anyhow::Result<(StatusCode, Bytes)> {
        if self.requests.is_closed() {
            *self = Self::open(self.server).await?;
        }
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri;
        request.headers_mut().insert(AUTHORIZATION, authorization);
        self.exchange(request).await
    }

    /// Posts JSON, on a new connection if the server has closed this one meanwhile.
    pub async fn post(
        &mut self,
        uri: Uri,
        authorization: Option<HeaderValue>,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        if self.requests.is_closed() {
            *self = Self::open(self.server).await?;
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        request.headers_mut().extend(authorization.map(|value| (AUTHORIZATION, value)));
        self.exchange(request).await
    }

    /// Asks for a stream of events, and gives its body.
    ///
    /// # Errors
    /// Any status but 200.
    pub async fn stream(&mut self, mut request: Request<Full<Bytes>>) -> anyhow::Result<Incoming> {
        request.headers_mut().insert(HOST, self.host.clone());
        self.requests.ready().await?;
        let response = self.requests.send_request(request).await?;
        let (status, body) = (response.status(), response.into_body());
        if status == StatusCode::OK {
            return Ok(body);
        }
        let said = body.collect().await?.to_bytes();
        bail!("a stream: {status} {}", String::from_utf8_lossy(&said))
    }

    /// Posts JSON, and does not wait for what comes of it.
    pub async fn begin(
        &mut self,
        uri: Uri,
        authorization: HeaderValue,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::post(uri).body(Full::new(body))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(AUTHORIZATION, authorization);
        headers.insert("prefer", HeaderValue::from_static("respond-async"));
        self.exchange(request).await
    }

    /// Posts JSON to a path and reads the JSON that answers it.
    ///
    /// # Errors
    /// Any status but 200, with what the server said.
    pub async fn ask(
        &mut self,
        path: &'static str,
        authorization: Option<&HeaderValue>,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let (status, answer) =
            self.post(Uri::from_static(path), authorization.cloned(), body.to_string().into()).await?;
        ensure!(status == StatusCode::OK, "POST {path}: {status} {}", String::from_utf8_lossy(&answer));
        Ok(serde_json::from_slice(&answer)?)
    }

    /// What is at a path, as text.
    pub async fn text(&mut self, path: &'static str) -> anyhow::Result<String> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = Uri::from_static(path);
        let (status, answer) = self.exchange(request).await?;
        ensure!(status == StatusCode::OK, "GET {path}: {status}");
        Ok(String::from_utf8(answer.into())?)
    }

    async fn exchange(&mut self, mut request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
        request.headers_mut().insert(HOST, self.host.clone());
        self.requests.ready().await?;
        let response = self.requests.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}
