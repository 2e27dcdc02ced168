//! Sessions: a family of refresh tokens, each good for one use.
//!
//! Who refreshes twice at a time, or never saw the first answer, shows the same token again: for a short grace they get the
//! same successor. It need not be stored for that, as it follows from what they show, and from an id that they never see.
//! A token that is shown later was stolen, from them or by them: the session ends.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// What a refresh token is worth: 256 random bits. It cannot be printed.
#[derive(Clone)]
pub struct RefreshSecret([u8; 32]);

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub struct Lives {
    /// A session, from its login.
    pub session: Duration,
    /// A session that is not renewed.
    pub idle: Duration,
    /// A used refresh token, for those who show it again in good faith.
    pub grace: Duration,
}

/// A refresh token, as it is stored: without the secret itself.
#[derive(Debug, Clone)]
pub struct RefreshToken {
    /// Its id; that of a session's first token is the session's.
    pub id: Uuid,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
}

/// What Postgres knew of a token that was shown, when it was.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Whose session it renews.
    pub user: Uuid,
    /// The session.
    pub session: Uuid,
    /// Its successor, if it has been used before.
    pub replaced_by: Option<Uuid>,
    /// When it was.
    pub used_at: Option<OffsetDateTime>,
    /// It was used for the first time now.
    pub rotated: bool,
    /// The session was ended, or its time is over.
    pub is_over: bool,
}

/// What comes of showing a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// The session goes on with the successor of this id.
    With(Uuid),
    /// Nothing: the session is over.
    Over,
    /// The token was used before, and not just now.
    Reused,
}

impl RefreshSecret {
    /// The first of a session.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads what its holder shows.
    pub fn parse(text: &str) -> Option<Self> {
        BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// What its holder shows.
    pub fn text(&self) -> SecretString {
        BASE64_URL_SAFE_NO_PAD.encode(self.0).into()
    }

    /// The token that is stored under `id`.
    pub fn stored(&self, id: Uuid) -> RefreshToken {
        RefreshToken { id, hash: Sha256::digest(self.0).into() }
    }

    /// SHA-256 of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// The secret that comes after this one, when its token has this id.
    pub fn successor(&self, id: Uuid) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"omnichat refresh token");
        hash.update(self.0);
        hash.update(id.as_bytes());
        Self(hash.finalize().into())
    }
}

impl Shown {
    /// What comes of it; `new` is the id that a successor was given, if it was made now.
    pub fn outcome(&self, new: Uuid, now: OffsetDateTime, grace: Duration) -> Refreshed {
        match (self.replaced_by, self.used_at) {
            _ if self.rotated => Refreshed::With(new),
            _ if self.is_over => Refreshed::Over,
            (Some(successor), Some(used_at)) if now - used_at <= grace => Refreshed::With(successor),
            (Some(_), _) => Refreshed::Reused,
            (None, _) => Refreshed::Over,
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_is_read_back_and_its_successor_is_always_the_same() {
        let secret = RefreshSecret::random();
        let read = RefreshSecret::parse(secret.text().expose_secret()).unwrap();
        assert_eq!(read.hash(), secret.hash());
        let id = Uuid::new_v4();
        assert_eq!(read.successor(id).hash(), secret.successor(id).hash());
        assert_ne!(secret.successor(id).hash(), secret.successor(Uuid::new_v4()).hash());
        assert_ne!(secret.successor(id).hash(), RefreshSecret::random().successor(id).hash());
        for bad in ["", "x", &"A".repeat(42), &"A".repeat(44), "eyJhbGciOiJIUzI1NiJ9.e30.x"] {
            assert!(RefreshSecret::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_used_token_gives_its_successor_for_a_moment_and_then_ends_the_session() {
        let (now, grace) = (wire::now(), Duration::seconds(10));
        let (old, new) = (Uuid::new_v4(), Uuid::new_v4());
        let unused = Shown {
            user: Uuid::nil(),
            session: Uuid::nil(),
            replaced_by: None,
            used_at: None,
            rotated: false,
            is_over: false,
        };
        let used = |ago| Shown { replaced_by: Some(old), used_at: Some(now - ago), ..unused };
        let cases = [
            (Shown { rotated: true, ..unused }, Refreshed::With(new)),
            (used(Duration::seconds(10)), Refreshed::With(old)),
            (used(Duration::seconds(11)), Refreshed::Reused),
            (Shown { is_over: true, ..used(Duration::ZERO) }, Refreshed::Over),
            (unused, Refreshed::Over),
        ];
        for (shown, outcome) in cases {
            assert_eq!(shown.outcome(new, now, grace), outcome, "{shown:?}");
        }
    }
}
