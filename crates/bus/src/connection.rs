//! The connection of one role, with that role's user and permissions.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, connection::State};
use bytes::Bytes;
use futures::StreamExt;
use host::{ConfigError, Drain, telemetry::Metric};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use wire::limits::PAYLOAD_BYTES_MAX;

use crate::relay::Relays;

/// How to reach NATS.
#[derive(Debug, Clone, confique::Config)]
pub struct Config {
    /// Where the servers are; several, separated by commas. User and password in it serve every role.
    #[config(default = "nats://127.0.0.1:4222")]
    pub url: String,
    /// Talk to a server of this name only; absent: to any. In a cluster every node has another name.
    pub server_name: Option<String>,
    /// On how many nodes the queue is: 1, or 3 (or 5) in a cluster; takes effect with `omnichat provision`.
    #[config(default = 1, validate(matches!(replicas, 1 | 3 | 5), "must be 1, 3 or 5"))]
    pub replicas: u8,
    /// One user per role, named like the role.
    #[config(nested)]
    pub passwords: Passwords,
    /// How users are let in with their own credentials; without it, none are.
    #[config(nested)]
    pub callout: CalloutConfig,
}

/// Keys of the auth callout; `omnichat nats keys` makes them.
#[derive(Debug, Clone, Default, confique::Config)]
pub struct CalloutConfig {
    /// The seed of the account key that signs what users may do (SA…); the role auth needs it. The server knows its public
    /// half.
    pub issuer_seed: Option<SecretString>,
    /// The seed of the curve key that credentials are encrypted for on their way (SX…); the same.
    pub curve_seed: Option<SecretString>,
}

impl Config {
    /// Where the servers are, without user and password.
    pub fn address(&self) -> String {
        let plain =
            |address: &str| address.rsplit_once('@').map_or(address.to_owned(), |(_, host)| host.to_owned());
        self.url.split(',').map(|address| plain(address.trim())).collect::<Vec<_>>().join(", ")
    }
}

/// The password of each role's user.
#[derive(Debug, Clone, Default, confique::Config)]
pub struct Passwords {
    /// Of the user `ingress`.
    pub ingress: Option<SecretString>,
    /// Of the user `auth`.
    pub auth: Option<SecretString>,
    /// Of the user `projects`.
    pub projects: Option<SecretString>,
    /// Of the user `chat`.
    pub chat: Option<SecretString>,
    /// Of the user `provisioner`, who makes streams and consumers.
    pub provisioner: Option<SecretString>,
    /// Of the user `callout`, who says which users may connect; the role auth needs it.
    pub callout: Option<SecretString>,
    /// Of the user `warden`, who ends connections of users who may not stay, and of workers that hang; the same.
    pub warden: Option<SecretString>,
}

/// Every user that `nats/server.conf` names: the roles, and those who look after them.
pub const SERVER_USERS: [&str; 10] = [
    "ingress",
    "auth",
    "projects",
    "chat",
    "provisioner",
    "operator",
    "inspector",
    "callout",
    "warden",
    "system",
];

/// Who connects; each has its own permission list in `nats/permissions.conf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// HTTP in, requests out.
    Ingress,
    /// Accounts.
    Auth,
    /// Projects and prompts.
    Projects,
    /// Conversations and turns.
    Chat,
    /// Makes streams and consumers.
    Provisioner,
    /// Says which users may connect.
    Callout,
    /// Ends connections.
    Warden,
}

impl Role {
    /// The name of the role and of its NATS user.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Auth => "auth",
            Self::Projects => "projects",
            Self::Chat => "chat",
            Self::Provisioner => "provisioner",
            Self::Callout => "callout",
            Self::Warden => "warden",
        }
    }

    fn password(self, passwords: &Passwords) -> Option<&SecretString> {
        match self {
            Self::Ingress => passwords.ingress.as_ref(),
            Self::Auth => passwords.auth.as_ref(),
            Self::Projects => passwords.projects.as_ref(),
            Self::Chat => passwords.chat.as_ref(),
            Self::Provisioner => passwords.provisioner.as_ref(),
            Self::Callout => passwords.callout.as_ref(),
            Self::Warden => passwords.warden.as_ref(),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configuration must change: the address is none, or leads to a server that does not suit.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server refused the role's user, or there is no server.
    #[error("cannot connect to NATS as {role}: {reason}")]
    Refused {
        /// The name of the role.
        role: &'static str,
        /// What the client library says.
        reason: String,
    },
    /// Another server than the one configured.
    #[error(
        "the NATS server calls itself {found:?}, not {wanted:?}: it is not the one that was started for this"
    )]
    Stranger {
        /// Its name.
        found: String,
        /// The name it should have.
        wanted: String,
    },
}

/// A connection to NATS in one role. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    pub(crate) client: Client,
    pub(crate) drain: Drain,
    /// Counts the times the connection was made.
    pub(crate) reconnects: watch::Receiver<u64>,
    pub(crate) relays: Relays,
    role: Role,
    inbox: Arc<str>,
}

/// For a server to greet. One that hangs takes connections and says nothing, while another node would.
const GREETING: Duration = Duration::from_secs(2);
/// Between two signs of life from the server. After the third that is missing the connection is made anew, with another node
/// if there is one; the server notices less, as it asks every 20 s.
const PING: Duration = Duration::from_secs(2);

/// Consumers can be reset since this version (ADR-60), which takeover relies on.
const OLDEST_SERVER: (i64, i64, i64) = (2, 14, 0);

impl Bus {
    /// Connects as `role`, at once or as soon as a server is there ([`Bus::ready`] tells). The connection heals by itself,
    /// for as long as the process lives.
    pub async fn connect(config: &Config, role: Role, drain: &Drain) -> Result<Self, ConnectError> {
        let inbox = format!("_INBOX.{}.{}", role.name(), uuid::Uuid::new_v4().simple());
        let addresses = addresses(&config.url)?;
        let (made, reconnects) = watch::channel(0);
        let client = credentials(ConnectOptions::new(), config, role, addresses.first())
            .name(format!("omnichat-{}", role.name()))
            .custom_inbox_prefix(&inbox)
            .request_timeout(Some(Duration::from_secs(10)))
            .client_capacity(4096)
            .connection_timeout(GREETING)
            .ping_interval(PING)
            .retry_on_initial_connect()
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                report(role, &event);
                if matches!(event, Event::Connected) {
                    made.send_modify(|times| *times += 1);
                }
                async {}
            })
            .connect(addresses)
            .await
            .map_err(|error| ConnectError::Refused { role: role.name(), reason: error.to_string() })?;
        let relays = Relays::default();
        Ok(Self { client, drain: drain.clone(), reconnects, relays, role, inbox: inbox.into() })
    }

    /// Waits until a server answers, and makes sure that it is the right one.
    pub async fn ready(&self, config: &Config) -> Result<(), ConnectError> {
        let mut polls = 0_u32;
        // The client calls itself connected a moment before it has noted which server it is.
        while !self.is_connected() || self.client.server_info().version.is_empty() {
            polls += 1;
            if polls.is_multiple_of(250) {
                tracing::warn!(role = self.role.name(), "still waiting for NATS");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        check_server(&self.client, config)
    }

    /// Waits until the server has taken all that was sent so far, subscriptions included: it handles what comes over one
    /// connection in order, so a message to ourselves comes back after them. For roles that answer requests.
    pub async fn settle(&self) -> Result<(), ConnectError> {
        let lost = |reason: &str| ConnectError::Refused { role: self.role.name(), reason: reason.to_owned() };
        let subject = format!("{}.settled", self.inbox);
        let mut echo =
            self.client.subscribe(subject.clone()).await.map_err(|error| lost(&error.to_string()))?;
        self.client.publish(subject, Bytes::new()).await.map_err(|error| lost(&error.to_string()))?;
        match tokio::time::timeout(Duration::from_secs(10), echo.next()).await {
            Ok(Some(_)) => Ok(()),
            _ => Err(lost("the server takes no subscriptions")),
        }
    }

    /// Changes with each new connection: what was published while there was none is not heard.
    pub fn reconnects(&self) -> watch::Receiver<u64> {
        let mut reconnects = self.reconnects.clone();
        reconnects.mark_unchanged();
        reconnects
    }

    /// True while the server answers.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Whether the server answers, and which it is; for readiness.
    pub async fn check(&self) -> Result<String, String> {
        match tokio::time::timeout(Duration::from_secs(1), self.client.flush()).await {
            Ok(Ok(())) if self.is_connected() => {
                Ok(format!("nats-server {}", self.client.server_info().version))
            }
            _ => Err("not connected".into()),
        }
    }

    /// Sends what is still buffered, and closes the subscriptions.
    pub async fn close(&self) {
        let closed = async {
            let _ = self.client.flush().await;
            let _ = self.client.drain().await;
        };
        if tokio::time::timeout(Duration::from_secs(1), closed).await.is_err() {
            tracing::debug!(role = self.role.name(), "NATS was gone before the connection was closed");
        }
    }

    /// The prefix of this connection's own inboxes.
    pub(crate) fn inbox(&self) -> &str {
        &self.inbox
    }

    /// The role it is connected as.
    pub const fn role(&self) -> Role {
        self.role
    }
}

/// Before the next attempt to connect: soon, as a server that restarts is back within a second, and everything waits for it;
/// not all at the same moment.
fn reconnect_delay(attempts: usize) -> Duration {
    let most = (20 << attempts.min(4)).min(250);
    Duration::from_millis(rand::random_range(most / 2..=most))
}

fn addresses(url: &str) -> Result<Vec<ServerAddr>, ConnectError> {
    url.split(',')
        .map(|address| {
            let wrong =
                |_| ConfigError::new("nats.url", "is not an address").advice("give it as nats://host:port");
            address.trim().parse::<ServerAddr>().map_err(wrong).map_err(Into::into)
        })
        .collect()
}

/// async-nats ignores credentials in a URL, so they are taken from it here.
fn credentials(
    options: ConnectOptions,
    config: &Config,
    role: Role,
    address: Option<&ServerAddr>,
) -> ConnectOptions {
    let in_url = address.and_then(|address| Some((address.username()?, address.password()?)));
    match (in_url, role.password(&config.passwords)) {
        (Some((user, password)), _) => options.user_and_password(user.to_owned(), password.to_owned()),
        (None, Some(password)) => {
            options.user_and_password(role.name().into(), password.expose_secret().to_owned())
        }
        (None, None) => options,
    }
}

fn check_server(client: &Client, config: &Config) -> Result<(), ConnectError> {
    let info = client.server_info();
    if let Some(wanted) = &config.server_name
        && *wanted != info.server_name
    {
        return Err(ConnectError::Stranger { found: info.server_name, wanted: wanted.clone() });
    }
    let (major, minor, patch) = OLDEST_SERVER;
    if !client.is_server_compatible(major, minor, patch) {
        return Err(unsuitable(format!(
            "it is version {}, and 2.14 is the oldest that will do",
            info.version
        )));
    }
    if !info.jetstream {
        return Err(unsuitable("JetStream is off: give it a section jetstream {}".into()));
    }
    if info.max_payload < PAYLOAD_BYTES_MAX {
        let found = info.max_payload;
        return Err(unsuitable(format!("its max_payload is {found}, and {PAYLOAD_BYTES_MAX} is the least")));
    }
    Ok(())
}

fn unsuitable(problem: String) -> ConnectError {
    ConfigError::new("nats.url", format!("leads to a NATS server that does not suit: {problem}")).into()
}

fn report(role: Role, event: &Event) {
    let role = role.name();
    match event {
        Event::Connected => tracing::debug!(role, "connected to NATS"),
        Event::Disconnected => {
            metrics::counter!("omnichat_nats_disconnects_total", "role" => role).increment(1);
            tracing::warn!(role, "lost the connection to NATS; reconnecting");
        }
        Event::SlowConsumer(_) => {
            metrics::counter!("omnichat_nats_slow_consumers_total", "role" => role).increment(1);
            tracing::warn!(role, "a subscription fell behind; messages were dropped");
        }
        // A forbidden publish or subscribe shows only here: the request itself just times out.
        Event::ServerError(error) => tracing::error!(role, %error, "NATS refused something"),
        other => tracing::debug!(role, event = %other, "NATS"),
    }
}

/// What this crate counts.
pub const METRICS: &[Metric] = &[
    Metric::counter("omnichat_nats_disconnects_total", "Connections to NATS that were lost, by role."),
    Metric::counter("omnichat_nats_slow_consumers_total", "Subscriptions that fell behind, by role."),
    Metric::counter("omnichat_nats_logins_total", "Users who asked to connect to NATS, by result."),
    Metric::counter(
        "omnichat_nats_ended_total",
        "Connections to NATS that were ended: of users who may not stay, of workers that hang.",
    ),
    Metric::counter("omnichat_requests_total", "Requests answered by the services, by operation and code."),
    Metric::histogram("omnichat_request_seconds", "Time to answer a request, by operation."),
    Metric::counter(
        "omnichat_bad_replies_total",
        "Requests dropped for a reply subject that is not the caller's.",
    ),
    Metric::counter(
        "omnichat_foreign_messages_total",
        "Messages of the stream that no front of ours put there.",
    ),
];
