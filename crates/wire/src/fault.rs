//! Faults: the one error that crosses the bus. The code is the contract; the text may improve.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::TurnId;

macro_rules! fault_codes {
    ($($name:ident = $code:literal, $status:literal, $detail:literal;)+) => {
        /// What went wrong, as a name that clients may depend on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum FaultCode {
            $(#[doc = $detail] #[serde(rename = $code)] $name,)+
        }

        impl JsonSchema for FaultCode {
            fn schema_name() -> Cow<'static, str> {
                "FaultCode".into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": [$($code),+], "description": "What went wrong." })
            }
        }

        impl FaultCode {
            /// Every code there is, in the order of `docs/faults.md`.
            pub const ALL: &'static [FaultCode] = &[$(FaultCode::$name),+];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            /// The HTTP status, which is also the number in the `Nats-Service-Error-Code` header: both doors answer alike.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// What to say when there is nothing more exact to say.
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$name => $detail),+ }
            }
        }
    };
}

fault_codes! {
    MalformedBody = "malformed_body", 400, "The body could not be read";
    InvalidIdempotencyKey = "invalid_idempotency_key", 400, "Idempotency-Key must be 1 to 255 visible ASCII characters, given once";
    InvalidCursor = "invalid_cursor", 400, "This cursor does not belong to this list";
    InvalidEventId = "invalid_event_id", 400, "There is no such event of this turn";
    MalformedRequest = "malformed_request", 400, "The request could not be read";
    EmailTaken = "email_taken", 400, "User already exists";
    MissingToken = "missing_token", 401, "Send a token: Authorization: Bearer <token>";
    InvalidToken = "invalid_token", 401, "Could not validate credentials";
    TokenExpired = "token_expired", 401, "The token has expired: log in again";
    InvalidCredentials = "invalid_credentials", 401, "Invalid credentials";
    AccountDisabled = "account_disabled", 401, "This account is disabled";
    InsufficientScope = "insufficient_scope", 403, "This API key may not do that";
    OriginNotAllowed = "origin_not_allowed", 403, "Pages of this origin may not open a socket";
    ProjectNotFound = "project_not_found", 404, "Project not found";
    PromptNotFound = "prompt_not_found", 404, "Prompt not found";
    ApiKeyNotFound = "api_key_not_found", 404, "API key not found";
    ConversationNotFound = "conversation_not_found", 404, "Conversation not found";
    MessageNotFound = "message_not_found", 404, "Message not found";
    TurnNotFound = "turn_not_found", 404, "Turn not found";
    RouteNotFound = "route_not_found", 404, "There is nothing at this path";
    MethodNotAllowed = "method_not_allowed", 405, "This path does not take this method";
    RequestTimedOut = "request_timed_out", 408, "The request took too long to arrive";
    TurnCancelled = "turn_cancelled", 410, "The turn was cancelled";
    VersionConflict = "version_conflict", 412, "The prompt has another version by now";
    BodyTooLarge = "body_too_large", 413, "The body is larger than 128 KiB";
    UriTooLong = "uri_too_long", 414, "The address is longer than 8 KiB";
    UnsupportedMediaType = "unsupported_media_type", 415, "Send the body as application/json";
    InvalidBody = "invalid_body", 422, "The body does not have the expected form";
    PromptUnrenderable = "prompt_unrenderable", 422, "The prompt cannot be filled in with these variables";
    UnknownModel = "unknown_model", 422, "There is no model of this name";
    IdempotencyKeyReused = "idempotency_key_reused", 422, "This Idempotency-Key was used for another request";
    ContextTooLong = "context_too_long", 422, "The conversation is longer than this model can read";
    UpgradeRequired = "upgrade_required", 426, "Open a WebSocket here: HTTP/1.1, version 13";
    ConversationBusy = "conversation_busy", 429, "Too many turns are waiting in this conversation";
    RateLimited = "rate_limited", 429, "Too many requests";
    TooManyConnections = "too_many_connections", 429, "Too many connections from this address";
    HeadersTooLarge = "headers_too_large", 431, "The headers are too many or too large";
    Internal = "internal", 500, "Something went wrong on our side";
    AttemptsExhausted = "attempts_exhausted", 502, "The answer was interrupted too often";
    ProviderUnavailable = "provider_unavailable", 502, "The model's provider cannot be reached";
    ProviderRejected = "provider_rejected", 502, "The model's provider refused this request";
    ProviderMisconfigured = "provider_misconfigured", 502, "The model's provider does not accept our credentials";
    ProviderFailed = "provider_failed", 502, "The model's provider failed";
    AnswerTruncated = "answer_truncated", 502, "The answer was cut before its end";
    AnswerMalformed = "answer_malformed", 502, "The model's provider sent what could not be read";
    AnswerEmpty = "answer_empty", 502, "The model gave an empty answer";
    AnswerFiltered = "answer_filtered", 502, "The model's provider filtered the answer";
    AnswerUnsupported = "answer_unsupported", 502, "The answer ended in a way that is not supported";
    AnswerTooLarge = "answer_too_large", 502, "The answer is larger than 1 MiB";
    AuthBusy = "auth_busy", 503, "Too many logins at once: try again in a moment";
    Overloaded = "overloaded", 503, "The service is at its limit: try again in a moment";
    Unavailable = "unavailable", 503, "The service is not available: try again in a moment";
    ProviderBusy = "provider_busy", 503, "The model's provider is at its limit: try again in a moment";
    ProviderTimedOut = "provider_timed_out", 504, "The model's provider took too long";
    AnswerPending = "answer_pending", 504, "The answer takes longer than this request may: the turn goes on";
}

/// A refusal or a failure, as every client sees it. It never holds inside text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct Fault {
    /// What went wrong.
    pub code: FaultCode,
    /// The sentence for people.
    pub message: Cow<'static, str>,
    /// When trying again makes sense, in seconds, at most 60.
    pub retry_after_s: Option<u32>,
    /// What was wrong with which field.
    pub errors: Vec<FieldError>,
    /// The turn that this is about, when it was accepted all the same.
    pub turn_id: Option<TurnId>,
}

/// One thing that is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// The path of the field: `settings.temperature`.
    #[schemars(example = &"settings.temperature")]
    pub field: String,
    /// `missing_field`, `unknown_field`, `duplicate_field`, `invalid_type`, `invalid_value`, `too_long`, `too_short`,
    /// `out_of_range`, `invalid_character`, `empty_message` or `message_too_long`.
    #[schemars(example = &"out_of_range")]
    pub code: Cow<'static, str>,
    /// The sentence for people.
    #[schemars(example = &"must be between 0 and 2")]
    pub message: String,
}

impl Fault {
    /// The fault with its usual sentence; 429 and 503 say when to come back.
    pub fn new(code: FaultCode) -> Self {
        let retry_after_s = matches!(code.status(), 429 | 503).then_some(1);
        Self { code, message: Cow::Borrowed(code.detail()), retry_after_s, errors: Vec::new(), turn_id: None }
    }

    /// The fault with a more exact sentence.
    pub fn because(code: FaultCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), ..Self::new(code) }
    }

    /// A well-formed body with wrong contents.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let message = match errors.first() {
            Some(error) => Cow::Owned(format!("{}: {}", error.field, error.message)),
            None => Cow::Borrowed(FaultCode::InvalidBody.detail()),
        };
        Self { errors, ..Self::because(FaultCode::InvalidBody, message) }
    }

    /// The same fault, naming the turn it is about.
    pub fn of_turn(self, turn_id: TurnId) -> Self {
        Self { turn_id: Some(turn_id), ..self }
    }

    /// The same fault, to be tried again after `seconds` (held to 1..=60).
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds.clamp(1, 60)), ..self }
    }
}

impl From<FaultCode> for Fault {
    fn from(code: FaultCode) -> Self {
        Self::new(code)
    }
}

/// A fault as a body: `application/problem+json` (RFC 9457), the same on HTTP and on NATS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `urn:omnichat:fault:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The sentence for people.
    pub detail: Cow<'static, str>,
    /// The fault's name.
    pub code: FaultCode,
    /// The request that met it, to be quoted in a report.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_id: Option<String>,
    /// What was wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub errors: Vec<FieldError>,
    /// When trying again makes sense, in seconds.
    #[serde(rename = "retry_after", skip_serializing_if = "Option::is_none", default)]
    pub retry_after_s: Option<u32>,
    /// The turn that goes on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub turn_id: Option<TurnId>,
}

impl Problem {
    /// The body for `fault`, met by request `request_id`.
    pub fn of(fault: &Fault, request_id: Option<&str>) -> Self {
        let code = fault.code.as_str();
        Self {
            kind: format!("urn:omnichat:fault:{code}"),
            title: code.replace('_', " "),
            status: fault.code.status(),
            detail: fault.message.clone(),
            code: fault.code,
            request_id: request_id.map(str::to_owned),
            errors: fault.errors.clone(),
            retry_after_s: fault.retry_after_s,
            turn_id: fault.turn_id,
        }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code,
            message: problem.detail,
            retry_after_s: problem.retry_after_s,
            errors: problem.errors,
            turn_id: problem.turn_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_wire() {
        let fault = Fault::invalid(vec![FieldError {
            field: "name".into(),
            code: "too_long".into(),
            message: "at most 255".into(),
        }])
        .of_turn(TurnId::new());
        let body = serde_json::to_vec(&Problem::of(&fault, Some("r1"))).unwrap();
        let back: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(Fault::from(back), fault);
    }

    #[test]
    fn every_429_and_503_says_when_to_come_back() {
        for &code in FaultCode::ALL {
            assert_eq!(
                Fault::new(code).retry_after_s.is_some(),
                matches!(code.status(), 429 | 503),
                "{}",
                code.as_str()
            );
        }
    }

    #[test]
    fn names_are_unique_and_statuses_are_errors() {
        let mut names: Vec<_> = FaultCode::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FaultCode::ALL.len());
        assert!(FaultCode::ALL.iter().all(|code| (400..600).contains(&code.status())));
    }
}
