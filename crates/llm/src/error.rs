//! What can go wrong with a call, named by what the caller can do about it.

use std::{error::Error as _, fmt, io, time::Duration};

/// Why a call gave no whole answer. Carries no text of the provider: it may echo a key or somebody's prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No such model is configured: the caller's mistake.
    #[error("there is no model \"{0}\"")]
    UnknownModel(String),
    /// The prompt cannot be sent at all: the caller's mistake.
    #[error("the prompt cannot be sent: {0}")]
    InvalidPrompt(&'static str),
    /// The provider refused the request as such; repeating it is useless.
    #[error("the provider rejected the request (status {status})")]
    Rejected {
        /// The HTTP status.
        status: u16,
    },
    /// The conversation is longer than the model can read.
    #[error("the conversation is too long for the model")]
    ContextTooLong,
    /// The provider stopped the answer, or refused to begin it, because of its content.
    #[error("the provider filtered the answer")]
    ContentFiltered,
    /// Key, credit, permission, address or model name at the provider: the operator's to mend.
    #[error("the provider does not accept our configuration (status {status})")]
    Configuration {
        /// The HTTP status.
        status: u16,
    },
    /// The provider wants fewer calls for now.
    #[error("the provider is busy")]
    Busy {
        /// How long it asks us to wait, unbounded: it is the provider's word.
        retry_after: Option<Duration>,
    },
    /// The provider could not be reached, or broke the connection before it answered.
    #[error("the provider cannot be reached: {0}")]
    Unavailable(&'static str),
    /// The provider took too long.
    #[error("the provider took too long: {0}")]
    TimedOut(Phase),
    /// The provider failed on its side.
    #[error("the provider failed{}", .status.map(|it| format!(" (status {it})")).unwrap_or_default())]
    Failed {
        /// The HTTP status; none if it failed within a stream that had begun well.
        status: Option<u16>,
    },
    /// The stream ended without an explicit finish.
    #[error("the provider's answer was cut off")]
    Truncated,
    /// What came is not an answer in the provider's own format.
    #[error("the provider's answer could not be read")]
    Malformed,
    /// A finished answer without a word.
    #[error("the provider's answer was empty")]
    EmptyAnswer,
    /// The answer ended in a way we cannot show as an answer, such as a tool call.
    #[error("the provider ended its answer with \"{0}\", which is not supported")]
    UnsupportedFinish(&'static str),
    /// The answer, or one line of it, exceeds [`ANSWER_BYTES_MAX`](crate::ANSWER_BYTES_MAX).
    #[error("the provider's answer is too large")]
    TooLarge,
}

/// Which deadline of [`Timeouts`](crate::Timeouts) passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// `connect_ms`
    Connect,
    /// `first_token_ms`
    FirstToken,
    /// `idle_ms`
    Idle,
    /// `total_ms`
    Total,
    /// `slow_ms` and `slow_bytes`
    Slow,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection",
            Self::FirstToken => "no first token",
            Self::Idle => "it fell silent",
            Self::Total => "the answer did not end",
            Self::Slow => "the answer came too slowly",
        })
    }
}

impl CallError {
    /// Why a provider was unavailable that had the request, or part of it.
    pub(crate) const BROKEN: &str = "it broke the connection before it answered";
}

/// Nothing was answered: why, in our own words (the error's own text may hold the address with all its parts).
impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_builder() {
            return Self::InvalidPrompt("it does not make an HTTP request");
        }
        if !error.is_connect() {
            return Self::Unavailable(Self::BROKEN);
        }
        if error.is_timeout() {
            return Self::TimedOut(Phase::Connect);
        }
        Self::Unavailable(why_not_connected(&error))
    }
}

fn why_not_connected(error: &reqwest::Error) -> &'static str {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return "the TLS handshake failed";
        }
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return "it refuses connections";
        }
        // The connector's error has no public type; this is how its message begins.
        if error.to_string().starts_with("dns error") {
            return "its name does not resolve";
        }
        // The source of an io::Error is not what it wraps, but the source of that.
        cause = match io.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    "the connection failed"
}
