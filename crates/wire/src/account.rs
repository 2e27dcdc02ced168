//! Accounts: registering, logging in, who am I.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    UserId,
    check::{Checks, Request},
    limits,
    schema::{STORABLE, Time},
};

/// Makes an account.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The address, at most 255 bytes; its case does not matter.
    #[schemars(email, length(max = limits::EMAIL_BYTES_MAX), example = &"ana@example.org")]
    pub email: String,
    /// 8 characters to 128 bytes.
    #[schemars(
        length(min = limits::PASSWORD_CHARS_MIN, max = limits::PASSWORD_BYTES_MAX),
        regex(pattern = STORABLE),
        example = &"correct horse battery",
    )]
    pub password: String,
}

/// Opens a session.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// The address given at registration, in any case.
    #[schemars(length(max = limits::EMAIL_BYTES_MAX), regex(pattern = STORABLE), example = &"ana@example.org")]
    pub email: String,
    /// The password.
    #[schemars(
        length(max = limits::PASSWORD_BYTES_MAX),
        regex(pattern = STORABLE),
        example = &"correct horse battery",
    )]
    pub password: String,
}

/// An account, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Its id, the token after `omnichat.v1.u.` in every subject.
    pub id: UserId,
    /// The case-folded address.
    #[schemars(example = &"ana@example.org")]
    pub email: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "Time")]
    pub created_at: OffsetDateTime,
}

/// An open session.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// The JWT to send as `Authorization: Bearer`.
    #[schemars(example = &"eyJhbGciOi…")]
    pub access_token: String,
    /// Always `bearer`.
    #[schemars(example = &"bearer")]
    pub token_type: String,
    /// The life of the access token, in seconds.
    #[schemars(example = 1800)]
    pub expires_in: u64,
    /// Opens the next session; good for one use.
    #[schemars(example = &"omr_…")]
    pub refresh_token: String,
}

/// The caller's token is good, and the account is active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Validity {
    /// Whose token it is.
    pub user_id: UserId,
    /// Always true: what is not valid is a fault.
    #[schemars(example = true)]
    pub valid: bool,
}

impl Request for Register {
    fn check(&self, checks: &mut Checks) {
        check_email(checks, &self.email);
        check_new_password(checks, "password", &self.password);
    }
}

impl Request for LogIn {
    /// Only what would cost us something: any other mismatch is answered like a wrong password.
    fn check(&self, checks: &mut Checks) {
        checks.bytes_at_most("email", &self.email, limits::EMAIL_BYTES_MAX);
        checks.bytes_at_most("password", &self.password, limits::PASSWORD_BYTES_MAX);
    }
}

/// The length of a password that is to be set. Whether it is a common one, its service knows.
pub(crate) fn check_new_password(checks: &mut Checks, field: &str, password: &str) {
    if password.chars().count() < limits::PASSWORD_CHARS_MIN {
        let least = limits::PASSWORD_CHARS_MIN;
        checks.error(field, "too_short", format!("must have at least {least} characters"));
    }
    checks.bytes_at_most(field, password, limits::PASSWORD_BYTES_MAX);
}

fn check_email(checks: &mut Checks, email: &str) {
    checks.bytes_at_most("email", email, limits::EMAIL_BYTES_MAX);
    let plain =
        email.parse::<email_address::EmailAddress>().is_ok_and(|address| address.display_part().is_empty());
    if !plain || email.contains(|c: char| c.is_control() || c.is_whitespace()) {
        checks.error("email", "invalid_value", "must be an e-mail address");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_address() {
        let errors = |email: &str| {
            let mut checks = Checks::default();
            check_email(&mut checks, email);
            format!("{checks:?}").matches("FieldError").count()
        };
        for good in ["a@b.org", "first.last+tag@sub.example.org", "ü@example.org"] {
            assert_eq!(errors(good), 0, "{good}");
        }
        for bad in ["", "a", "a@", "@b.org", "a b@c.org", "a@b.org\r\nX: y", "A <a@b.org>", "a@b@c.org"] {
            assert!(errors(bad) > 0, "{bad}");
        }
        assert!(errors(&format!("{}@b.org", "a".repeat(255))) > 0);
    }
}
