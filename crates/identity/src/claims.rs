//! What an access token says, once its signature was found good.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;
use wire::UserId;

use crate::{Principal, TokenError};

/// Clocks of two machines may differ by this much, in seconds.
pub(crate) const LEEWAY_S: u64 = 30;
/// Who signs our tokens and whom they are for. Tokens of others that share the secret need not say so.
const OURSELVES: &str = "omnichat";

/// What a good access token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// Whose it is.
    pub user: UserId,
    /// The session it was made in; absent where it was not made by a login here.
    pub session_id: Option<Uuid>,
    /// When it ends.
    pub expires_at: OffsetDateTime,
}

impl Claims {
    /// From when on it is taken no more: a while after its end, as clocks may differ.
    pub fn good_until(&self) -> OffsetDateTime {
        self.expires_at + Duration::from_secs(LEEWAY_S)
    }

    /// Its user, as a caller.
    pub const fn principal(&self) -> Principal {
        Principal::of_token(self.user)
    }
}

/// The claims as they stand in a token.
#[derive(Serialize, Deserialize)]
pub(crate) struct RawClaims {
    sub: String,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<Value>,
    /// What kind of token it is, in the words of other makers; ours say it in the header.
    #[serde(default, skip_serializing, alias = "token_type", alias = "typ")]
    r#type: Option<String>,
}

impl RawClaims {
    pub fn new(user: UserId, session_id: Uuid, life_s: u32) -> Self {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        Self {
            sub: user.to_string(),
            exp: now + i64::from(life_s),
            iat: Some(now),
            sid: Some(session_id),
            iss: Some(OURSELVES.into()),
            aud: None,
            r#type: None,
        }
    }

    /// Everything but signature, expiry and `nbf`, which the library has checked.
    pub fn check(self) -> Result<Claims, TokenError> {
        let latest = OffsetDateTime::now_utc().unix_timestamp() + LEEWAY_S.cast_signed();
        let from_now = self.iat.is_some_and(|issued| issued > latest);
        let foreign = self.iss.is_some_and(|issuer| issuer != OURSELVES) || !is_for_us(self.aud.as_ref());
        let other_kind = self.r#type.is_some_and(|kind| kind != "access");
        if self.exp < 0 || from_now || foreign || other_kind {
            return Err(TokenError::Invalid);
        }
        Ok(Claims {
            user: self.sub.parse().map_err(|_| TokenError::Invalid)?,
            session_id: self.sid,
            expires_at: OffsetDateTime::from_unix_timestamp(self.exp).map_err(|_| TokenError::Invalid)?,
        })
    }
}

fn is_for_us(audience: Option<&Value>) -> bool {
    match audience {
        None => true,
        Some(Value::Array(names)) => names.iter().any(|name| name == OURSELVES),
        Some(name) => name == OURSELVES,
    }
}
