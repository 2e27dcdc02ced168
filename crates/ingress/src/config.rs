//! The section `[http]`.

use std::{net::SocketAddr, num::NonZeroU32};

/// How the HTTP API is served.
#[derive(Debug, Clone, confique::Config)]
pub struct Config {
    /// The address to listen on. Port 0 takes a free one.
    #[config(default = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Where a process without the role ingress serves /livez, /readyz, /version and /metrics; absent: nowhere.
    pub status_listen: Option<SocketAddr>,

    /// Who else than this machine may read /metrics, and what /readyz has found, where the API is served; as addresses
    /// or networks like `10.0.0.0/8`.
    #[config(default = [])]
    pub status_readers: Vec<String>,

    /// The origins whose pages may use the API from a browser, each like `https://app.example.org`;
    /// `http://localhost:*` stands for every port of this machine.
    #[config(default = [])]
    pub allowed_origins: Vec<String>,

    /// Connections at a time; one more is refused.
    #[config(default = 1000)]
    pub connections_max: NonZeroU32,

    /// Connections at a time from one address, trusted proxies excepted; one more is refused. 0: as many as there are.
    #[config(default = 32)]
    pub connections_per_address_max: u32,

    /// How long a message waits for its answer, before the client is sent to look for it later.
    #[config(default = 150)]
    pub answer_timeout_s: NonZeroU32,

    /// How long any other request waits for the service that answers it.
    #[config(default = 10)]
    pub request_timeout_s: NonZeroU32,

    /// How long any other request may take in all, the arrival of its body included.
    #[config(default = 30)]
    pub total_timeout_s: NonZeroU32,

    /// How long the head of a request may take, counted from its first byte; on a new connection from its beginning.
    #[config(default = 10)]
    pub header_read_timeout_s: NonZeroU32,

    /// How long the body of a request may take.
    #[config(default = 15)]
    pub body_read_timeout_s: NonZeroU32,

    /// How long a connection may be idle between two requests, or while its client takes nothing of an answer.
    #[config(default = 60)]
    pub idle_timeout_s: NonZeroU32,

    /// How often the reader of a stream, or of a socket, hears at least that it is still there.
    #[config(default = 15)]
    pub stream_heartbeat_s: NonZeroU32,

    /// How long a stream or socket waits, once its buffer is full, for a reader who takes nothing of it.
    #[config(default = 10)]
    pub stream_stall_s: NonZeroU32,

    /// How long a stream or socket may be open, before its reader is sent to pick it up again.
    #[config(default = 1800)]
    pub stream_life_s: NonZeroU32,

    /// Proxies in front of this process, as addresses or networks like `10.0.0.0/8`: only they are believed when they name
    /// the client in `X-Forwarded-For`.
    #[config(default = [])]
    pub trusted_proxies: Vec<String>,
}

/// How often one address may ask per minute, before it is known who asks, and how many streams and sockets may be open. 0
/// turns a limit off.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Logins.
    pub logins_per_address_per_min: u32,
    /// Registrations.
    pub registrations_per_address_per_min: u32,
    /// Refreshed sessions.
    pub refreshes_per_address_per_min: u32,
    /// Open streams of one user.
    pub streams_per_user: u32,
    /// Open streams of all.
    pub streams_per_node: u32,
    /// Open sockets of one user.
    pub sockets_per_user: u32,
    /// Open sockets of all.
    pub sockets_per_node: u32,
    /// Messages to the sockets of one user.
    pub socket_messages_per_user_per_min: u32,
}
