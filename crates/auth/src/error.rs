//! What can go wrong with a request.

use argon2::password_hash;
use identity::TokenError;
use wire::{Fault, FaultCode, FieldError};

use crate::model::Refusal;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address has an account already.
    #[error("the address has an account already")]
    EmailTaken,
    /// Nobody was logged in.
    #[error("the login was refused: {}", .0.as_str())]
    InvalidCredentials(Refusal),
    /// Too many failed logins: to be tried again after so many seconds.
    #[error("too many logins to this account failed")]
    Throttled(u32),
    /// The session is not renewed; why, is for the log alone.
    #[error("the refresh token is {0}")]
    InvalidRefreshToken(&'static str),
    /// The credential is not good.
    #[error("the credential is not good")]
    Token(#[from] TokenError),
    /// Something of the request that only this service can judge.
    #[error("{}: {}", .0.field, .0.message)]
    Invalid(FieldError),
    /// There is no such API key of the caller's.
    #[error("there is no such API key")]
    ApiKeyNotFound,
    /// The caller has as many API keys as there may be.
    #[error("the caller has too many API keys")]
    TooManyApiKeys,
    /// The cursor is of another list.
    #[error("the cursor is of another list")]
    InvalidCursor,
    /// The address of a thing holds no id.
    #[error("{0}")]
    Path(Fault),
    /// The caller's token outlived the account.
    #[error("the caller's account is disabled or gone")]
    AccountDisabled,
    /// Too many passwords wait to be hashed.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// A hash was begun and gave no answer: a bug.
    #[error("the hashing of a password was interrupted")]
    Interrupted,
    /// The stored hash cannot be read, or the system gives no memory or no random bits.
    #[error("a password could not be hashed")]
    Hash(#[from] password_hash::Error),
    /// The access token could not be made.
    #[error("a token could not be signed")]
    Sign(#[source] TokenError),
    /// Postgres did not do it.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Path(fault)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::EmailTaken => FaultCode::EmailTaken.into(),
            Error::InvalidCredentials(_) => FaultCode::InvalidCredentials.into(),
            Error::Throttled(seconds) => Self::because(
                FaultCode::RateLimited,
                "Too many logins to this account failed: wait before the next one",
            )
            .retry_after(seconds),
            Error::InvalidRefreshToken(_) => FaultCode::InvalidToken.into(),
            Error::Token(error) => error.into(),
            Error::Invalid(error) => Self::invalid(vec![error]),
            Error::ApiKeyNotFound => FaultCode::ApiKeyNotFound.into(),
            Error::TooManyApiKeys => Self::invalid(vec![FieldError {
                field: "name".into(),
                code: "out_of_range".into(),
                message: "there are 100 keys, as many as there may be: delete one".into(),
            }]),
            Error::InvalidCursor => FaultCode::InvalidCursor.into(),
            Error::Path(fault) => fault,
            Error::AccountDisabled => FaultCode::AccountDisabled.into(),
            Error::Busy => FaultCode::AuthBusy.into(),
            Error::Database(error) if host::postgres::is_away(&error) => FaultCode::Unavailable.into(),
            Error::Interrupted | Error::Hash(_) | Error::Sign(_) | Error::Database(_) => {
                FaultCode::Internal.into()
            }
        }
    }
}
