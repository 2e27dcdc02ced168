//! The rules of accounts, sessions and API keys: one method per request.

mod api_keys;
mod sessions;

use std::{sync::Arc, time::Instant};

use identity::{Principal, Signer};
use secrecy::SecretString;
use wire::{ChangePassword, Done, FieldError, LogIn, Register, Session, User, UserId, Validity};

use crate::{
    Error,
    model::{self, Email, Refusal},
    password::{self, Passwords, most_used},
    proof::Prover,
    session::Lives,
    store::Store,
    throttle::Throttle,
};

/// Keeps accounts, sessions and API keys.
pub struct Accounts {
    store: Store,
    passwords: Passwords,
    signer: Signer,
    lives: Lives,
    throttle: Throttle,
    prover: Arc<Prover>,
}

impl Accounts {
    /// Keeps them in this database.
    pub fn new(
        store: Store,
        passwords: Passwords,
        signer: Signer,
        lives: Lives,
        prover: Arc<Prover>,
    ) -> Self {
        Self { store, passwords, signer, lives, throttle: Throttle::default(), prover }
    }

    /// Makes an account.
    pub async fn register(&self, new: Register) -> Result<User, Error> {
        refuse_common("password", &new.password)?;
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
        let (password, email) = (SecretString::from(given.password), Email::folded(&given.email));
        let attempt = self.throttle.attempt(&email, Instant::now()).map_err(Error::Throttled)?;
        let (user, opened) = self.try_log_in(&email, password).await;
        match &opened {
            Ok(_) => attempt.succeeded(),
            Err(Error::InvalidCredentials(_)) => {}
            Err(_) => attempt.forget(),
        }
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

    /// Changes the caller's password and ends every session.
    pub async fn change_password(&self, caller: Principal, change: ChangePassword) -> Result<Done, Error> {
        refuse_common("new", &change.new)?;
        let account = self.store.account_of(caller).await?.ok_or(Error::AccountDisabled)?;
        let is_right =
            self.passwords.verify(change.current.into(), Some(account.password_hash.clone())).await?;
        let account = model::admit(Some(account), is_right).map_err(Error::InvalidCredentials)?;
        let hash = self.passwords.hash(change.new.into()).await?;
        if !self.store.change_password(caller, &account.password_hash, &hash).await? {
            return Err(Error::InvalidCredentials(Refusal::WrongPassword));
        }
        tracing::info!(user_id = %caller.user(), "a password was changed, and every session ended");
        Ok(Done { message: "Password changed successfully".into() })
    }

    async fn try_log_in(
        &self,
        email: &Email,
        password: SecretString,
    ) -> (Option<UserId>, Result<Session, Error>) {
        let found = match self.store.account(email).await {
            Ok(found) => found,
            Err(error) => return (None, Err(error.into())),
        };
        let user = found.as_ref().map(|account| account.id);
        let hash = found.as_ref().map(|account| account.password_hash.clone());
        let is_right = match self.passwords.verify(password.clone(), hash).await {
            Ok(is_right) => is_right,
            Err(error) => return (user, Err(error)),
        };
        let opened = match model::admit(found, is_right) {
            Ok(account) => {
                let opened = self.begin_session(account.id).await;
                if opened.is_ok() && password::is_outdated(&account.password_hash) {
                    self.renew_hash(&account, password).await;
                }
                opened
            }
            Err(refusal) => Err(Error::InvalidCredentials(refusal)),
        };
        (user, opened)
    }

    async fn renew_hash(&self, account: &model::Account, password: SecretString) {
        let renewed = match self.passwords.hash(password).await {
            Ok(hash) => self.store.replace_hash(account, &hash).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        if let Err(error) = renewed {
            tracing::warn!(user_id = %account.id, %error, "an outdated password hash stays until the next login");
        }
    }
}

fn refuse_common(field: &str, password: &str) -> Result<(), Error> {
    if !most_used::is_common(password) {
        return Ok(());
    }
    let message = "is one of the most common passwords: choose another".into();
    Err(Error::Invalid(FieldError { field: field.into(), code: "too_common".into(), message }))
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
