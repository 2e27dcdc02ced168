//! Accounts: who may log in, and the tokens that prove it afterwards.
//!
//! - [`model`]: addresses and accounts; [`session`]: refresh tokens
//! - [`service`]: one method per request
//! - [`proof`]: whether a credential is good, for the doors
//! - [`guests`]: users who connect to NATS themselves
//! - [`hanging`]: workers whose connection is to be ended
//! - [`store`]: the tables `users`, `refresh_tokens` and `api_keys`
//! - [`password`]: hashing, on threads of its own; [`throttle`]: against guessing
//! - [`error`]: what can go wrong, and the fault it becomes

use std::sync::Arc;

use bus::{Bus, Endpoints, SubscribeError};
use host::{postgres::Pool, telemetry::Metric};
use identity::{Signer, Verifier};
use time::Duration;
use wire::{
    Service,
    operations::{
        CHANGE_PASSWORD, CHECK_API_KEY, CHECK_SESSION, CREATE_API_KEY, DELETE_API_KEY, GET_ACCOUNT,
        LIST_API_KEYS, LOG_IN, LOG_OUT, REFRESH, REGISTER, VALIDATE_ACCOUNT,
    },
};

pub mod error;
pub mod guests;
pub mod hanging;
pub mod model;
pub mod password;
pub mod proof;
pub mod service;
pub mod session;
pub mod store;
pub mod throttle;

pub use error::Error;
pub use service::Accounts;

use crate::{password::Passwords, proof::Prover, session::Lives, store::Store};

/// The lives of tokens, and what password hashing may take.
#[derive(Debug, Clone, confique::Config)]
pub struct Config {
    /// How long an access token is good, in minutes.
    #[config(default = 30, validate((1..=43_200).contains(access_token_minutes), "must be between 1 and 43200"))]
    pub access_token_minutes: u32,

    /// How long a session can be renewed without the password, in days.
    #[config(default = 30, validate((1..=365).contains(refresh_token_days), "must be between 1 and 365"))]
    pub refresh_token_days: u32,

    /// A session that is not renewed for so long is over, in days.
    #[config(default = 7, validate((1..=365).contains(refresh_idle_days), "must be between 1 and 365"))]
    pub refresh_idle_days: u32,

    /// How long a used refresh token brings its successor once more, in seconds; shown later, it ends the session.
    #[config(default = 10, validate((1..=60).contains(refresh_grace_s), "must be between 1 and 60"))]
    pub refresh_grace_s: u32,

    /// How often it is looked whether users who are connected to NATS may stay, in seconds.
    #[config(default = 20, validate((1..=60).contains(recheck_connections_s), "must be between 1 and 60"))]
    pub recheck_connections_s: u32,

    /// Threads that hash passwords. Each is busy for about 30 ms per login, with 19 MiB.
    #[config(default = 1, validate((1..=64).contains(hash_threads), "must be between 1 and 64"))]
    pub hash_threads: usize,

    /// Logins and registrations that may wait for such a thread; more are told to come back later.
    #[config(default = 16, validate((1..=1024).contains(hash_queue), "must be between 1 and 1024"))]
    pub hash_queue: usize,
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gives no thread.
    #[error("cannot start a thread to hash passwords: {0}")]
    Thread(#[from] std::io::Error),
    /// The connection is closed.
    #[error("cannot take requests: {0}")]
    Subscribe(#[from] SubscribeError),
}

impl Config {
    /// The life of an access token, in seconds.
    pub const fn access_token_s(&self) -> u32 {
        self.access_token_minutes * 60
    }

    fn lives(&self) -> Lives {
        Lives {
            session: Duration::days(self.refresh_token_days.into()),
            idle: Duration::days(self.refresh_idle_days.into()),
            grace: Duration::seconds(self.refresh_grace_s.into()),
        }
    }
}

/// Answers the operations of this service until the process drains. Access tokens are made by `signer`; what `verifier`
/// takes is proven.
///
/// # Errors
/// There is no thread to hash on, or the connection is closed.
pub async fn start(
    bus: &Bus,
    pool: Pool,
    signer: Signer,
    verifier: Verifier,
    config: &Config,
) -> Result<Arc<Prover>, StartError> {
    let passwords = Passwords::start(config.hash_threads, config.hash_queue)?;
    let store = Store::new(pool);
    let prover = Arc::new(Prover::new(store.clone(), verifier));
    let service = Arc::new(Accounts::new(store, passwords, signer, config.lives(), prover.clone()));
    serve(bus, &service).await?;
    bus.introduce(Service::Auth).await?;
    Ok(prover)
}

async fn serve(bus: &Bus, service: &Arc<Accounts>) -> Result<(), SubscribeError> {
    Endpoints::new(bus, service)
        .open(REGISTER, async |s, new| s.register(new).await)
        .await?
        .open(LOG_IN, async |s, given| s.log_in(given).await)
        .await?
        .open(REFRESH, async |s, given| s.refresh(given).await)
        .await?
        .open(CHECK_SESSION, async |s, proof| s.check_session(proof).await)
        .await?
        .open(CHECK_API_KEY, async |s, proof| s.check_api_key(proof).await)
        .await?
        .guarded(GET_ACCOUNT, async |s, caller, _, _| s.get(caller).await)
        .await?
        .guarded(VALIDATE_ACCOUNT, async |s, caller, _, _| s.validate(caller).await)
        .await?
        .guarded(LOG_OUT, async |s, caller, _, given| s.log_out(caller, given).await)
        .await?
        .guarded(CHANGE_PASSWORD, async |s, caller, _, change| s.change_password(caller, change).await)
        .await?
        .guarded(CREATE_API_KEY, async |s, caller, _, new| s.create_api_key(caller, new).await)
        .await?
        .guarded(LIST_API_KEYS, async |s, caller, _, page| s.list_api_keys(caller, page).await)
        .await?
        .guarded(DELETE_API_KEY, async |s, caller, at, _| s.delete_api_key(caller, at.id()?).await)
        .await?;
    Ok(())
}

/// Describes the metrics of this crate.
pub fn describe_metrics() {
    host::telemetry::describe(&[
        Metric::counter("omnichat_logins_total", "Logins, by result"),
        Metric::counter("omnichat_refreshes_total", "Sessions renewed, or not, by result"),
        Metric::counter("omnichat_password_hashes_total", "Passwords hashed or verified"),
        Metric::histogram(
            "omnichat_password_hash_seconds",
            "Time to hash or verify a password, without waiting",
        ),
        Metric::counter(
            "omnichat_auth_busy_total",
            "Logins and registrations refused because too many waited",
        ),
    ]);
}

#[cfg(test)]
mod tests {
    use host::config::{Environment, Loader};

    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Config, String> {
        let environment: Environment = variables.iter().copied().collect();
        let loaded = Loader::new("AUTH", &environment).load::<Config>();
        loaded.map(|loaded| loaded.config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_out_of_range_is_refused_by_its_key() {
        let config = load(&[]).unwrap();
        assert_eq!((config.access_token_minutes, config.refresh_token_days), (30, 30));
        assert_eq!((config.hash_threads, config.hash_queue), (1, 16));
        for (key, above) in [
            ("access_token_minutes", "43201"),
            ("refresh_token_days", "366"),
            ("refresh_idle_days", "366"),
            ("refresh_grace_s", "61"),
            ("recheck_connections_s", "61"),
            ("hash_threads", "65"),
            ("hash_queue", "1025"),
        ] {
            for value in ["0", above] {
                let variable = format!("AUTH__{}", key.to_uppercase());
                let error = load(&[(&variable, value)]).unwrap_err();
                assert!(error.contains(key) && error.contains("must be between 1 and"), "{error}");
            }
        }
    }
}
