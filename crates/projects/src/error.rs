//! What can go wrong with a request.

use wire::{Fault, FaultCode, FieldError};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No project of the caller's has this id.
    #[error("the caller has no such project")]
    ProjectNotFound,
    /// The project is the caller's, and has no prompt of this id.
    #[error("the project has no such prompt")]
    PromptNotFound,
    /// The change was made from another version than the current one, which is this.
    #[error("the prompt has version {0} by now")]
    VersionConflict(i32),
    /// The prompt has as many labels as there may be.
    #[error("the prompt has too many labels")]
    TooManyLabels,
    /// The caller's token outlived the account.
    #[error("the caller's account is gone")]
    AccountGone,
    /// The request names something that is no id.
    #[error("the request cannot be understood")]
    Refused(#[from] Fault),
    /// Postgres did not do it.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::ProjectNotFound => FaultCode::ProjectNotFound.into(),
            Error::PromptNotFound => FaultCode::PromptNotFound.into(),
            Error::VersionConflict(version) => Self::because(
                FaultCode::VersionConflict,
                format!("The prompt has version {version} by now: read it again"),
            ),
            Error::TooManyLabels => Self::invalid(vec![FieldError {
                field: "label".into(),
                code: "out_of_range".into(),
                message: "the prompt has 50 labels, as many as there may be: delete one".into(),
            }]),
            Error::AccountGone => FaultCode::AccountDisabled.into(),
            Error::Refused(fault) => fault,
            Error::Database(error) if host::postgres::is_away(&error) => FaultCode::Unavailable.into(),
            Error::Database(_) => FaultCode::Internal.into(),
        }
    }
}
