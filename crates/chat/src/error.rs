//! What can go wrong in the chat service, and the one translation to faults.

use llm::CallError;
use wire::{Fault, FaultCode};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request names something that is not there, or not the caller's, or is wrong in itself.
    #[error(transparent)]
    Refused(#[from] Fault),
    /// Postgres did not do it.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(fault) => fault,
            Error::Database(error) if host::postgres::is_away(&error) => FaultCode::Unavailable.into(),
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
