//! A WebSocket to the API, through a library that is not ours.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Duration, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

/// Far beyond every time here.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open socket; closed when it is dropped.
#[derive(Debug)]
pub struct WebSocket {
    inner: WebSocketStream<TcpStream>,
    /// Why it was closed, once it was: the code and the reason.
    pub closed: Option<(u16, String)>,
    asked: u32,
}

impl WebSocket {
    /// Opens one, and does what browsers do: offers the token as a subprotocol.
    ///
    /// # Panics
    /// If it is not let in.
    pub async fn open(address: SocketAddr, token: &str) -> Self {
        let mut socket = Self::knock(address, &format!("omnichat.v1, bearer.{token}")).await;
        let ready = socket.next().await;
        assert_eq!(
            ready.as_ref().map(|frame| &frame["event"]),
            Some(&json!("ready")),
            "{ready:?} {socket:?}"
        );
        socket
    }

    /// Opens one with these subprotocols, and says nothing.
    ///
    /// # Panics
    /// If the server does not switch protocols.
    pub async fn knock(address: SocketAddr, protocols: &str) -> Self {
        let mut request = format!("ws://{address}/ws").into_client_request().expect("an address");
        let protocols = HeaderValue::from_str(protocols).expect("subprotocols");
        request.headers_mut().insert("sec-websocket-protocol", protocols);
        let stream = TcpStream::connect(address).await.expect("the server listens");
        let (inner, _) = client_async(request, stream).await.expect("a socket");
        Self { inner, closed: None, asked: 0 }
    }

    /// Asks for something; gives what it was called.
    ///
    /// # Panics
    /// If the connection is broken.
    pub async fn ask(&mut self, mut request: Value) -> String {
        self.asked += 1;
        let reference = self.asked.to_string();
        request["ref"] = reference.as_str().into();
        self.say(&request.to_string()).await;
        reference
    }

    /// Says this.
    ///
    /// # Panics
    /// If the connection is broken.
    pub async fn say(&mut self, text: &str) {
        self.inner.send(Message::text(text)).await.expect("the socket is open");
    }

    /// The next frame; none when the socket was closed, or its connection broke.
    ///
    /// # Panics
    /// If nothing comes, or what comes is no JSON.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.inner.next()).await.expect("something comes")? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).expect("JSON")),
                Ok(Message::Close(frame)) => {
                    self.closed = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// The answer to what was called `reference`; what comes before it is added to `others`.
    ///
    /// # Panics
    /// If the socket ends before.
    pub async fn answer(&mut self, reference: &str, others: &mut Vec<Value>) -> Value {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("it ended: {:?}", self.closed));
            if frame["ref"] == reference {
                return frame;
            }
            others.push(frame);
        }
    }

    /// Asks, and gives the data of the reply.
    ///
    /// # Panics
    /// If the answer is no reply.
    pub async fn done(&mut self, request: Value) -> Value {
        let reference = self.ask(request).await;
        let answer = self.answer(&reference, &mut Vec::new()).await;
        assert_eq!(answer["event"], "reply", "{answer}");
        answer["data"].clone()
    }

    /// Asks, and gives the problem that it is refused with.
    ///
    /// # Panics
    /// If it is not refused with this code.
    pub async fn refused(&mut self, request: Value, code: &str) -> Value {
        let reference = self.ask(request).await;
        let answer = self.answer(&reference, &mut Vec::new()).await;
        assert_eq!((&answer["event"], &answer["data"]["code"]), (&json!("error"), &json!(code)), "{answer}");
        answer["data"].clone()
    }

    /// Reads until the socket is closed, and gives why, if it was said.
    pub async fn end(&mut self) -> Option<(u16, String)> {
        while self.next().await.is_some() {}
        self.closed.clone()
    }
}
