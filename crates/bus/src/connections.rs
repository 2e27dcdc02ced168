//! Connections as the servers see them, and how to end one: through the system account, as the user `warden`.

use std::{fmt, str::FromStr, time::Duration};

use async_nats::Subscriber;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;
use wire::{ApiKeyId, Identity, UserId};

use crate::{Bus, Role};

/// Connections that a server tells at a time.
const PAGE: usize = 1024;
/// Servers answer at once, and nobody knows how many there are.
const PATIENCE: Duration = Duration::from_millis(500);
const ACCOUNT: &str = "OMNICHAT";
const EVERY_SERVER: &str = "$SYS.REQ.SERVER.PING.CONNZ";

/// The servers could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the connections to NATS are not known: {0}")]
pub struct ConnectionsError(String);

/// Whose credential a connection was made with. As text it is the connection's name of the user, so that servers tell it, and
/// any instance can judge any connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The user.
    pub user: UserId,
    /// The session of an access token.
    pub session: Option<Uuid>,
    /// The API key.
    pub api_key: Option<ApiKeyId>,
}

/// A connection of a user.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Who.
    pub holder: Holder,
    server: String,
    id: u64,
}

/// The servers' word on connections.
#[derive(Clone)]
pub struct Connections(Bus);

impl Holder {
    /// The holder of a credential.
    pub const fn of(identity: &Identity) -> Self {
        Self { user: identity.user_id, session: identity.session_id, api_key: identity.api_key_id }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.user)?;
        if let Some(session) = self.session {
            write!(f, "/session/{session}")?;
        }
        if let Some(key) = self.api_key {
            write!(f, "/api_key/{key}")?;
        }
        Ok(())
    }
}

impl FromStr for Holder {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/');
        let user = parts.next().and_then(|id| id.parse().ok()).ok_or(())?;
        let mut holder = Self { user, session: None, api_key: None };
        match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => {}
            (Some("session"), Some(id), None) => holder.session = Some(id.parse().map_err(drop)?),
            (Some("api_key"), Some(id), None) => holder.api_key = Some(id.parse().map_err(drop)?),
            _ => return Err(()),
        }
        Ok(holder)
    }
}

/// `CONNZ` of one server, as far as it matters here.
#[derive(Deserialize)]
struct Told {
    server: Server,
    data: Page,
}

#[derive(Deserialize)]
struct Server {
    id: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    total: usize,
    #[serde(default)]
    connections: Vec<Open>,
}

#[derive(Deserialize)]
struct Open {
    cid: u64,
    #[serde(default)]
    authorized_user: String,
}

impl Connections {
    /// Through the connection of the role [`Warden`](crate::Role::Warden).
    pub const fn new(bus: Bus) -> Self {
        Self(bus)
    }

    /// Every open connection of a user, on every server.
    ///
    /// # Errors
    /// No server answers.
    pub async fn all(&self) -> Result<Vec<Connection>, ConnectionsError> {
        let mut found = Vec::new();
        for mut told in self.ask(EVERY_SERVER, 0, usize::MAX).await? {
            let mut seen = 0;
            loop {
                seen += told.data.connections.len();
                let enough = told.data.connections.is_empty() || seen >= told.data.total;
                let server = told.server.id.clone();
                found.extend(told.data.connections.into_iter().filter_map(|open| {
                    let holder = open.authorized_user.parse().ok()?;
                    Some(Connection { holder, server: server.clone(), id: open.cid })
                }));
                if enough {
                    break;
                }
                let more = self.ask(&format!("$SYS.REQ.SERVER.{server}.CONNZ"), seen, 1).await?;
                match more.into_iter().next() {
                    Some(more) => told = more,
                    None => break,
                }
            }
        }
        Ok(found)
    }

    /// Ends a connection. The client may connect again, if it is let in.
    pub async fn end(&self, connection: &Connection) {
        self.end_by_id(&connection.server, connection.id).await;
    }

    async fn end_by_id(&self, server: &str, id: u64) {
        let subject = format!("$SYS.REQ.SERVER.{server}.KICK");
        let body = json!({ "cid": id }).to_string();
        // A request that names no inbox is not heard.
        match timeout(PATIENCE, self.0.client.request(subject, body.into())).await {
            Ok(Ok(_)) => metrics::counter!("omnichat_nats_ended_total").increment(1),
            Ok(Err(error)) => tracing::warn!(%error, "a connection was not ended"),
            Err(_) => tracing::warn!("a server does not say whether it ended a connection"),
        }
    }

    /// Ends the connection of a role that listens to `subject`, which nobody else does. False if no server has one.
    ///
    /// # Errors
    /// The servers cannot be asked.
    pub async fn end_listener(&self, role: Role, subject: &str) -> Result<bool, ConnectionsError> {
        let question = json!({ "auth": true, "acc": ACCOUNT, "filter_subject": subject });
        let mut answers = self.put(EVERY_SERVER, &question).await?;
        let deadline = Instant::now() + PATIENCE;
        // Whoever has it says so at once; the others are not waited for.
        while let Ok(Some(message)) = timeout_at(deadline, answers.next()).await {
            let Ok(told) = serde_json::from_slice::<Told>(&message.payload) else { continue };
            let theirs = |open: &&Open| open.authorized_user == role.name();
            if let Some(open) = told.data.connections.iter().find(theirs) {
                self.end_by_id(&told.server.id, open.cid).await;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks, and takes up to `answers` answers.
    async fn ask(&self, subject: &str, offset: usize, answers: usize) -> Result<Vec<Told>, ConnectionsError> {
        let question = json!({ "auth": true, "acc": ACCOUNT, "limit": PAGE, "offset": offset });
        let mut told = self.put(subject, &question).await?;
        let mut found = Vec::new();
        while found.len() < answers {
            let Ok(Some(message)) = timeout(PATIENCE, told.next()).await else { break };
            found.push(serde_json::from_slice(&message.payload).map_err(wrong)?);
        }
        if found.is_empty() { Err(ConnectionsError("no server answers".into())) } else { Ok(found) }
    }

    /// Puts a question, and gives where the answers come.
    async fn put(&self, subject: &str, question: &Value) -> Result<Subscriber, ConnectionsError> {
        let inbox = format!("{}.{}", self.0.inbox(), Uuid::new_v4().simple());
        let answers = self.0.client.subscribe(inbox.clone()).await.map_err(wrong)?;
        let asked = self.0.client.publish_with_reply(subject.to_owned(), inbox, question.to_string().into());
        asked.await.map_err(wrong)?;
        Ok(answers)
    }
}

fn wrong(error: impl fmt::Display) -> ConnectionsError {
    ConnectionsError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_back_from_its_name() {
        let user = UserId::new();
        let holders = [
            Holder { user, session: None, api_key: None },
            Holder { user, session: Some(Uuid::now_v7()), api_key: None },
            Holder { user, session: None, api_key: Some(ApiKeyId::new()) },
        ];
        for holder in holders {
            assert_eq!(holder.to_string().parse(), Ok(holder));
        }
        for bad in ["chat", "", "a/b/c", &format!("{user}/session/x"), &format!("{user}/session")] {
            assert_eq!(bad.parse::<Holder>(), Err(()), "{bad}");
        }
    }
}
