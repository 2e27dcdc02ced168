//! A server that answers every request with the bytes it is told, and closes.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// What to do with a connection once its request has come.
#[derive(Clone)]
pub enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    /// Send this again and again, with a pause between, until the client goes.
    Repeat(Vec<u8>, Duration),
    /// Send this so many times.
    Times(Vec<u8>, usize),
    /// Keep the connection until the client goes.
    Hold,
}

pub struct Raw {
    addr: SocketAddr,
    seen: Arc<Seen>,
    _server: JoinSet<()>,
}

/// What all connections have seen together.
#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    sent: AtomicUsize,
    /// How many clients have gone while the connection was to go on.
    gone: watch::Sender<usize>,
}

impl Raw {
    /// Answers the nth request with the nth play, and those after it with the last.
    pub async fn playing(plays: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let mut server = JoinSet::new();
        let heard = Arc::clone(&seen);
        server.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (connection, _) = listener.accept().await.unwrap();
                connection.set_nodelay(true).unwrap();
                let play = plays.get(number).or(plays.last()).cloned().unwrap_or_default();
                connections.spawn(perform(connection, play, Arc::clone(&heard)));
            }
        });
        Self { addr, seen, _server: server }
    }

    /// Answers every request with a good head and this body, whose end is the end of the connection.
    pub async fn streaming(body: impl AsRef<[u8]>) -> Self {
        Self::playing(vec![vec![Act::Send(stream(body))]]).await
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// The requests so far, heads and bodies.
    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Bytes that the system took so far.
    pub fn sent(&self) -> usize {
        self.seen.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many clients have gone.
    pub async fn gone(&self, clients: usize) {
        self.seen.gone.subscribe().wait_for(|gone| *gone >= clients).await.unwrap();
    }
}

/// A response without a length: it ends where the connection ends.
pub fn response(status: &str, content_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body.as_ref()].concat()
}

pub fn stream(body: impl AsRef<[u8]>) -> Vec<u8> {
    response("200 OK", "text/event-stream; charset=utf-8", body)
}

/// An event with more text.
pub fn delta(text: &str) -> String {
    let text = serde_json::Value::from(text);
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{text}}},\"finish_reason\":null}}]}}\n\n"
    )
}

pub const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3}}\n\n";
pub const DONE: &str = "data: [DONE]\n\n";

async fn perform(mut connection: TcpStream, play: Vec<Act>, seen: Arc<Seen>) {
    let Some(request) = read_request(&mut connection).await else { return };
    seen.requests.lock().unwrap().push(request);
    for act in play {
        // What cannot be sent was not wanted: the client is gone.
        match act {
            Act::Send(bytes) => _ = connection.write_all(&bytes).await,
            Act::Wait(pause) => sleep(pause).await,
            Act::Repeat(bytes, pause) => {
                while connection.write_all(&bytes).await.is_ok() {
                    seen.sent.fetch_add(bytes.len(), Ordering::Relaxed);
                    sleep(pause).await;
                }
                seen.gone.send_modify(|gone| *gone += 1);
            }
            Act::Times(bytes, times) => {
                for _ in 0..times {
                    let _ = connection.write_all(&bytes).await;
                }
            }
            Act::Hold => {
                let _ = connection.read_u8().await;
                seen.gone.send_modify(|gone| *gone += 1);
            }
        }
    }
    let _ = connection.shutdown().await;
}

async fn read_request(connection: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
        if connection.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
}
