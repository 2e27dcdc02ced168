//! What can go wrong with a request.

use argon2::password_hash;
use identity::TokenError;
use wire::{Fault, FaultCode};

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

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::EmailTaken => FaultCode::EmailTaken.into(),
            Error::InvalidCredentials(_) => FaultCode::InvalidCredentials.into(),
            Error::AccountDisabled => FaultCode::AccountDisabled.into(),
            Error::Busy => FaultCode::AuthBusy.into(),
            Error::Database(error) if host::postgres::is_away(&error) => FaultCode::Unavailable.into(),
            Error::Interrupted | Error::Hash(_) | Error::Sign(_) | Error::Database(_) => {
                FaultCode::Internal.into()
            }
        }
    }
}
