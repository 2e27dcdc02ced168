//! What can go wrong in the chat service, and the one translation to faults.

use llm::CallError;
use wire::{Fault, FaultCode};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request names something that is not there, or not the caller's, or is wrong in itself.
    #[error(transparent)]
    Refused(#[from] Fault),
    /// Postgres cannot be reached or did not do it in time.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A statement failed: a bug.
    #[error("the database refused a statement")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Tls(_) => Self::Unavailable(error),
            // Class 57: the server is stopping, or cancelled the statement; 53: out of resources; 08: connection.
            sqlx::Error::Database(ref cause)
                if cause.code().is_some_and(|code| ["57", "53", "08"].contains(&&code[..2])) =>
            {
                Self::Unavailable(error)
            }
            other => Self::Database(other),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(fault) => fault,
            Error::Unavailable(_) => FaultCode::Unavailable.into(),
            Error::Database(_) => FaultCode::Internal.into(),
        }
    }
}

/// The fault of a turn whose call to the model went wrong.
pub fn fault_of_call(error: &CallError) -> Fault {
    let code = match error {
        CallError::UnknownModel(_) => FaultCode::UnknownModel,
        CallError::InvalidPrompt(_) => FaultCode::InvalidBody,
        CallError::Rejected { .. } => FaultCode::ProviderRejected,
        CallError::ContextTooLong => FaultCode::ContextTooLong,
        CallError::ContentFiltered => FaultCode::AnswerFiltered,
        CallError::Configuration { .. } => FaultCode::ProviderMisconfigured,
        CallError::Busy { retry_after } => {
            let seconds = retry_after.map_or(1, |wait| wait.as_secs().try_into().unwrap_or(u32::MAX));
            return Fault::new(FaultCode::ProviderBusy).retry_after(seconds);
        }
        CallError::Unavailable(_) => FaultCode::ProviderUnavailable,
        CallError::TimedOut(_) => FaultCode::ProviderTimedOut,
        CallError::Failed { .. } => FaultCode::ProviderFailed,
        CallError::Truncated => FaultCode::AnswerTruncated,
        CallError::Malformed => FaultCode::AnswerMalformed,
        CallError::EmptyAnswer => FaultCode::AnswerEmpty,
        CallError::UnsupportedFinish(_) => FaultCode::AnswerUnsupported,
        CallError::TooLarge => FaultCode::AnswerTooLarge,
    };
    code.into()
}
