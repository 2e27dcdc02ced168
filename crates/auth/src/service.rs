//! The rules of accounts: one method per request.

use identity::{Principal, Signer};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use time::Duration;
use wire::{LogIn, Register, Session, User, UserId, Validity};

use crate::{
    Error,
    model::{self, Account, Email, RefreshToken, Refusal},
    password::{self, Passwords},
    store::Store,
};

/// Keeps accounts and opens sessions.
pub struct Accounts {
    store: Store,
    passwords: Passwords,
    signer: Signer,
    session_life: Duration,
}

impl Accounts {
    /// Keeps them in this database. A session can be renewed for `session_life`.
    pub fn new(pool: PgPool, passwords: Passwords, signer: Signer, session_life: Duration) -> Self {
        Self { store: Store::new(pool), passwords, signer, session_life }
    }

    /// Makes an account.
    pub async fn register(&self, new: Register) -> Result<User, Error> {
        let hash = self.passwords.hash(new.password.into()).await?;
        let email = Email::folded(&new.email).into();
        let user = User { id: UserId::new(), email, created_at: wire::now() };
        if !self.store.insert_user(&user, &hash).await? {
            return Err(Error::EmailTaken);
        }
        tracing::info!(user_id = %user.id, "an account was made");
        Ok(user)
    }

    /// Opens a session. Every refusal reads the same and takes the same time.
    pub async fn log_in(&self, given: LogIn) -> Result<Session, Error> {
        let password = SecretString::from(given.password);
        let found = self.store.account(&Email::folded(&given.email)).await?;
        let user = found.as_ref().map(|account| account.id);
        let hash = found.as_ref().map(|account| account.password_hash.clone());
        let is_right = self.passwords.verify(password.clone(), hash).await?;
        let opened = match model::admit(found, is_right) {
            Ok(account) => self.open_session(account, password).await,
            Err(refusal) => Err(Error::InvalidCredentials(refusal)),
        };
        report_login(user, opened.as_ref().err());
        opened
    }

    /// The caller's account.
    pub async fn get(&self, caller: Principal) -> Result<User, Error> {
        self.store.user(caller).await?.ok_or(Error::AccountDisabled)
    }

    /// That the caller's account is active.
    pub async fn validate(&self, caller: Principal) -> Result<Validity, Error> {
        let user = self.get(caller).await?;
        Ok(Validity { user_id: user.id, valid: true })
    }

    async fn open_session(&self, account: Account, password: SecretString) -> Result<Session, Error> {
        let (token, secret) = RefreshToken::first(account.id, wire::now(), self.session_life);
        if !self.store.insert_refresh_token(&token).await? {
            return Err(Error::InvalidCredentials(Refusal::Disabled));
        }
        if password::is_outdated(&account.password_hash)
            && let Err(error) = self.renew_hash(&account, password).await
        {
            tracing::warn!(user_id = %account.id, %error, "an outdated password hash stays until the next login");
        }
        Ok(Session {
            access_token: self.signer.sign(account.id).map_err(Error::Sign)?,
            token_type: "bearer".into(),
            expires_in: self.signer.life_s().into(),
            refresh_token: secret.expose_secret().to_owned(),
        })
    }

    async fn renew_hash(&self, account: &Account, password: SecretString) -> Result<(), Error> {
        let hash = self.passwords.hash(password).await?;
        Ok(self.store.replace_hash(account, &hash).await?)
    }
}

/// Tells who logged in, or why not, without address and password.
fn report_login(user: Option<UserId>, error: Option<&Error>) {
    let result = match error {
        None => "success",
        Some(Error::InvalidCredentials(refusal)) => refusal.as_str(),
        Some(_) => "failed",
    };
    metrics::counter!("omnichat_logins_total", "result" => result).increment(1);
    tracing::info!(user_id = user.map(tracing::field::display), result, "login");
}
