//! A connection to NATS without a client library: what it sends is what a test says, word for word.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that has said who it is.
#[derive(Debug)]
pub struct RawNats {
    stream: BufReader<TcpStream>,
}

impl RawNats {
    /// Connects with a user's credential.
    ///
    /// # Errors
    /// What the server says when it does not let us in.
    pub async fn connect(url: &str, credential: &str) -> Result<Self, String> {
        Self::with(url, &json!({ "auth_token": credential })).await
    }

    /// Connects with these options of `CONNECT`, beside those that say what we understand.
    ///
    /// # Errors
    /// What the server says when it does not let us in.
    pub async fn with(url: &str, login: &Value) -> Result<Self, String> {
        let stream =
            TcpStream::connect(url.trim_start_matches("nats://")).await.map_err(|error| error.to_string())?;
        let mut raw = Self { stream: BufReader::new(stream) };
        let mut options = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "raw", "version": "1", "protocol": 1,
        });
        for (name, value) in login.as_object().into_iter().flatten() {
            options[name] = value.clone();
        }
        let said = raw.say(&format!("CONNECT {options}\r\n")).await?;
        match said.iter().find(|line| line.starts_with("-ERR")) {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(raw),
        }
    }

    /// Sends this, and returns what the server says until it has handled all of it; messages that came are among it.
    ///
    /// # Errors
    /// The server has ended the connection; its last words.
    pub async fn say(&mut self, text: &str) -> Result<Vec<String>, String> {
        let mut said = Vec::new();
        let sent = self.stream.write_all(format!("{text}PING\r\n").as_bytes()).await;
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.stream.read_line(&mut line))
                .await
                .expect("the server answers in time");
            match (read, line.trim_end()) {
                (Ok(1..), "PONG") => return sent.map(|()| said).map_err(|error| error.to_string()),
                (Ok(1..), "PING") => {
                    self.stream.write_all(b"PONG\r\n").await.map_err(|error| error.to_string())?
                }
                // The server tells what it is, and later that it knows who we are.
                (Ok(1..), line) if line.starts_with("INFO ") => {}
                (Ok(1..), line) => said.push(line.to_owned()),
                _ => return Err(said.join("\n")),
            }
        }
    }

    /// Publishes; returns what the server has against it. Messages that come meanwhile are lost: see [`RawNats::say`].
    pub async fn publish(&mut self, subject: &str, reply_to: &str, body: &str) -> Option<String> {
        let text = format!("PUB {subject} {reply_to} {}\r\n{body}\r\n", body.len());
        self.refusal(&text).await
    }

    /// Publishes with headers; returns what the server has against it.
    pub async fn publish_with(
        &mut self,
        subject: &str,
        reply_to: &str,
        headers: &str,
        body: &str,
    ) -> Option<String> {
        let head = format!("NATS/1.0\r\n{headers}\r\n\r\n");
        let all = head.len() + body.len();
        self.refusal(&format!("HPUB {subject} {reply_to} {} {all}\r\n{head}{body}\r\n", head.len())).await
    }

    /// Subscribes; returns what the server has against it.
    pub async fn subscribe(&mut self, subject: &str, queue: &str) -> Option<String> {
        self.refusal(&format!("SUB {subject} {queue} 1\r\n")).await
    }

    async fn refusal(&mut self, text: &str) -> Option<String> {
        match self.say(text).await {
            Ok(said) => said.into_iter().find(|line| line.starts_with("-ERR")),
            Err(ended) => Some(ended),
        }
    }
}
