//! Addresses, accounts and refresh tokens.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use wire::UserId;

/// An e-mail address in lower case: the one form that is stored and looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// The address, whatever case it is written in.
    pub fn folded(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    /// The folded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

/// What a login needs to know of an account. It has no `Debug`: the hash must not reach a log.
#[derive(Clone)]
pub struct Account {
    /// Whose it is.
    pub id: UserId,
    /// A PHC string, or one of passlib's.
    pub password_hash: String,
    /// False once it was disabled.
    pub is_active: bool,
}

/// Why nobody was logged in; for the log alone, as clients must not learn which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody has this address.
    UnknownEmail,
    /// The account has another password.
    WrongPassword,
    /// The password is right, but the account is disabled.
    Disabled,
}

impl Refusal {
    /// Its name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownEmail => "unknown_email",
            Self::WrongPassword => "wrong_password",
            Self::Disabled => "disabled",
        }
    }
}

/// The account that was found by its address, if it may be logged in to.
pub fn admit(found: Option<Account>, password_is_right: bool) -> Result<Account, Refusal> {
    match found {
        None => Err(Refusal::UnknownEmail),
        Some(_) if !password_is_right => Err(Refusal::WrongPassword),
        Some(account) if !account.is_active => Err(Refusal::Disabled),
        Some(account) => Ok(account),
    }
}

/// A refresh token, as it is stored: without the secret itself.
#[derive(Debug, Clone)]
pub struct RefreshToken {
    /// Its id.
    pub id: Uuid,
    /// Whose session it renews.
    pub user: UserId,
    /// The session's first token, shared by all that come of it.
    pub family: Uuid,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// When it is good no more.
    pub expires_at: OffsetDateTime,
}

impl RefreshToken {
    /// The first token of a session, and what its holder shows: 256 random bits.
    pub fn first(user: UserId, now: OffsetDateTime, life: Duration) -> (Self, SecretString) {
        let (id, bits) = (Uuid::now_v7(), rand::random::<[u8; 32]>());
        let hash = Sha256::digest(bits).into();
        let token = Self { id, user, family: id, hash, expires_at: now + life };
        (token, BASE64_URL_SAFE_NO_PAD.encode(bits).into())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn account(is_active: bool) -> Option<Account> {
        Some(Account { id: UserId::new(), password_hash: String::new(), is_active })
    }

    #[test]
    fn the_case_of_an_address_does_not_matter() {
        assert_eq!(Email::folded("Ana.ÖZ@Example.ORG"), Email::folded("ana.öz@example.org"));
    }

    #[test]
    fn only_the_right_password_of_an_active_account_is_admitted() {
        assert!(admit(account(true), true).is_ok());
        let refusals = [
            (None, false, Refusal::UnknownEmail),
            (None, true, Refusal::UnknownEmail),
            (account(true), false, Refusal::WrongPassword),
            (account(false), false, Refusal::WrongPassword),
            (account(false), true, Refusal::Disabled),
        ];
        for (found, password_is_right, refusal) in refusals {
            assert_eq!(admit(found, password_is_right).err(), Some(refusal));
        }
    }

    #[test]
    fn a_refresh_token_is_stored_as_the_hash_of_what_its_holder_shows() {
        let (user, now) = (UserId::new(), wire::now());
        let (token, secret) = RefreshToken::first(user, now, Duration::days(30));
        let bits = BASE64_URL_SAFE_NO_PAD.decode(secret.expose_secret()).unwrap();
        assert_eq!(bits.len(), 32);
        assert_eq!(token.hash, <[u8; 32]>::from(Sha256::digest(&bits)));
        assert_eq!((token.user, token.family), (user, token.id));
        assert_eq!(token.expires_at, now + Duration::days(30));
        let (other, _) = RefreshToken::first(user, now, Duration::days(30));
        assert_ne!(token.hash, other.hash);
    }
}
