//! Credentials: sessions and API keys, what they prove, and how they end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use crate::{
    ApiKeyId, Scope, UserId,
    account::check_new_password,
    check::{Checks, Request},
    limits,
    schema::{NAME, STORABLE, Time},
};

/// Renews a session.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The refresh token of the last login or refresh; it is good for one use.
    #[schemars(length(max = limits::CREDENTIAL_BYTES_MAX), regex(pattern = STORABLE), example = &"omr_…")]
    pub refresh_token: String,
}

/// Ends a session.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogOut {
    /// The session, the claim `sid` of its access tokens; absent: every session of the caller. Over HTTP it is that of the
    /// token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Uuid>,
}

/// Changes the caller's password. Every session ends.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The password so far.
    #[schemars(
        length(max = limits::PASSWORD_BYTES_MAX),
        regex(pattern = STORABLE),
        example = &"correct horse battery",
    )]
    pub current: String,
    /// 8 characters to 128 bytes, and none of the most common ones.
    #[schemars(
        length(min = limits::PASSWORD_CHARS_MIN, max = limits::PASSWORD_BYTES_MAX),
        regex(pattern = STORABLE),
        example = &"staple battery horse",
    )]
    pub new: String,
}

/// Makes an API key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// What it is for, 1 to 255 characters.
    #[schemars(
        length(min = 1, max = limits::NAME_CHARS_MAX),
        regex(pattern = NAME),
        example = &"nightly report",
    )]
    pub name: String,
    /// What it may do; absent: everything its owner may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub scopes: Option<Vec<Scope>>,
    /// When it is good no more; absent: it does not expire.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub expires_at: Option<OffsetDateTime>,
}

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// What it is for.
    #[schemars(example = &"nightly report")]
    pub name: String,
    /// How the key begins, so that its owner knows it again.
    #[schemars(example = &"oc_0192")]
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub created_at: OffsetDateTime,
    /// When it is good no more; null: it does not expire.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<Time>")]
    pub expires_at: Option<OffsetDateTime>,
    /// When it was last used, to the minute; null: never.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<Time>")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// A new API key, with its secret: it is shown this once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct ShownApiKey {
    /// The key to send as `Authorization: Bearer`, or as the token of a NATS connection.
    #[schemars(example = &"oc_0192…")]
    pub key: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub api_key: ApiKey,
}

/// Asks whether the holder of a good access token is still let in. Among services only.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionProof {
    /// The token's user.
    pub user_id: UserId,
    /// The token's session; absent for tokens that were not made by a login here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Uuid>,
    /// When the token ends.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub expires_at: OffsetDateTime,
}

/// Asks whose an API key is. Among services only.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyProof {
    /// The whole key.
    pub api_key: String,
}

/// Who holds a credential that was found good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The user.
    pub user_id: UserId,
    /// What the credential may be used for.
    pub scopes: Vec<Scope>,
    /// The session, if it is one.
    pub session_id: Option<Uuid>,
    /// The API key, if it is one.
    #[serde(default)]
    pub api_key_id: Option<ApiKeyId>,
    /// When the credential ends by itself.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<Time>")]
    pub expires_at: Option<OffsetDateTime>,
}

impl Request for Refresh {
    fn check(&self, checks: &mut Checks) {
        checks.bytes_at_most("refresh_token", &self.refresh_token, limits::CREDENTIAL_BYTES_MAX);
    }
}

impl Request for LogOut {
    fn check(&self, _: &mut Checks) {}
}

impl Request for ChangePassword {
    fn check(&self, checks: &mut Checks) {
        checks.bytes_at_most("current", &self.current, limits::PASSWORD_BYTES_MAX);
        check_new_password(checks, "new", &self.new);
    }
}

impl Request for NewApiKey {
    fn check(&self, checks: &mut Checks) {
        checks.name("name", &self.name, limits::NAME_CHARS_MAX);
        if self.scopes.as_ref().is_some_and(Vec::is_empty) {
            checks.error("scopes", "too_short", "must name at least one scope, or be absent");
        }
        if let Some(at) = self.expires_at {
            if at <= OffsetDateTime::now_utc() {
                checks.error("expires_at", "out_of_range", "must be in the future");
            }
            // Written with an offset, a time may be one that UTC has no four digits for.
            if at.checked_to_offset(UtcOffset::UTC).is_none() {
                checks.error("expires_at", "out_of_range", "must be before the year 10000");
            }
        }
    }
}

impl Request for SessionProof {
    fn check(&self, _: &mut Checks) {}
}

impl Request for ApiKeyProof {
    fn check(&self, checks: &mut Checks) {
        checks.bytes_at_most("api_key", &self.api_key, limits::CREDENTIAL_BYTES_MAX);
    }
}
