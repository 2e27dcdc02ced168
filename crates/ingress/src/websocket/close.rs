//! Why a socket ends, and the code that tells it (RFC 6455 §7.4; from 4000 on they are ours, and end like an HTTP status).

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use tungstenite::error::{Error, ProtocolError};
use wire::FaultCode;

use super::reply;
use crate::stream;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client closed it, or its connection broke.
    Left,
    /// No token came, or it is not good (any more).
    NotLetIn(FaultCode),
    /// The user has too many.
    TooMany,
    /// Whether the client may be let in cannot be found out.
    Unavailable,
    /// The process ends.
    Draining,
    /// It was open for as long as it may be.
    GrownOld,
    /// What came was no WebSocket.
    Malformed,
    /// What came was no text.
    Binary,
    /// What came as text was not UTF-8.
    NotUtf8,
    /// What came was larger than a message may be.
    TooBig,
    /// Too many pings came.
    Flooded,
    /// The client takes too little of what it is told.
    Lagged,
    /// The client answers no ping.
    Silent,
    /// Nothing more can be heard of turns.
    Deaf,
}

impl End {
    /// For metrics and for the closing frame.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::NotLetIn(_) => "not_let_in",
            Self::TooMany => "too_many",
            Self::Unavailable => "unavailable",
            Self::Draining => "draining",
            Self::GrownOld => "grown_old",
            Self::Malformed => "malformed",
            Self::Binary => "binary",
            Self::NotUtf8 => "not_utf8",
            Self::TooBig => "too_big",
            Self::Flooded => "flooded",
            Self::Lagged => "lagged",
            Self::Silent => "silent",
            Self::Deaf => "deaf",
        }
    }

    const fn code(self) -> Option<u16> {
        match self {
            Self::Left => None,
            Self::Draining | Self::GrownOld => Some(1001),
            Self::Malformed => Some(1002),
            Self::Binary => Some(1003),
            Self::NotUtf8 => Some(1007),
            Self::Flooded | Self::Lagged | Self::Silent => Some(1008),
            Self::TooBig => Some(1009),
            Self::Unavailable | Self::Deaf => Some(1013),
            Self::NotLetIn(_) => Some(4401),
            Self::TooMany => Some(4429),
        }
    }

    /// What is said last, if anybody is there to hear it.
    pub fn last_words(self) -> Vec<Message> {
        let Some(code) = self.code() else { return Vec::new() };
        let reason = match self {
            Self::NotLetIn(fault) => fault.as_str(),
            other => other.name(),
        };
        let hint = match self {
            Self::Draining | Self::GrownOld | Self::Deaf => {
                Utf8Bytes::try_from(reply::reconnect(reason)).ok().map(Message::Text)
            }
            _ => None,
        };
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        hint.into_iter().chain([close]).collect()
    }
}

/// What could not be read.
impl From<axum::Error> for End {
    fn from(error: axum::Error) -> Self {
        match error.into_inner().downcast::<Error>().as_deref() {
            Ok(Error::Capacity(_)) => Self::TooBig,
            Ok(Error::Utf8(_)) => Self::NotUtf8,
            Ok(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Self::Left,
            Ok(Error::Protocol(_)) => Self::Malformed,
            _ => Self::Left,
        }
    }
}

/// What could not be told.
impl From<stream::Undelivered> for End {
    fn from(undelivered: stream::Undelivered) -> Self {
        match undelivered {
            stream::Undelivered::Left => Self::Left,
            stream::Undelivered::Lagged => Self::Lagged,
        }
    }
}
