//! Accounts: who may log in, and the tokens that prove it afterwards.
//!
//! - [`model`]: addresses, accounts, refresh tokens
//! - [`service`]: one method per request
//! - [`store`]: the tables `users` and `refresh_tokens`
//! - [`password`]: hashing, on threads of its own
//! - [`error`]: what can go wrong, and the fault it becomes

use std::sync::Arc;

use bus::{Bus, Endpoints, SubscribeError};
use host::telemetry::Metric;
use identity::{Secret, Signer};
use sqlx::PgPool;
use wire::operations::{GET_ACCOUNT, LOG_IN, REGISTER, VALIDATE_ACCOUNT};

pub mod error;
pub mod model;
pub mod password;
pub mod service;
pub mod store;

pub use error::Error;
pub use service::Accounts;

use crate::password::Passwords;

/// The lives of tokens, and what password hashing may take.
#[derive(Debug, Clone, confique::Config)]
pub struct Config {
    /// How long an access token is good, in minutes.
    #[config(default = 30, validate((1..=43_200).contains(access_token_minutes), "must be between 1 and 43200"))]
    pub access_token_minutes: u32,

    /// How long a session can be renewed without the password, in days.
    #[config(default = 30, validate((1..=365).contains(refresh_token_days), "must be between 1 and 365"))]
    pub refresh_token_days: u32,

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

/// Answers the operations of this service until the process drains; access tokens are signed with `secret`.
///
/// # Errors
/// There is no thread to hash on, or the connection is closed.
pub async fn start(bus: &Bus, pool: PgPool, secret: &Secret, config: &Config) -> Result<(), StartError> {
    let passwords = Passwords::start(config.hash_threads, config.hash_queue)?;
    let signer = Signer::new(secret, config.access_token_minutes * 60);
    let session_life = time::Duration::days(config.refresh_token_days.into());
    let service = Arc::new(Accounts::new(pool, passwords, signer, session_life));
    Endpoints::new(bus, &service)
        .open(REGISTER, async |s, new| s.register(new).await)
        .await?
        .open(LOG_IN, async |s, given| s.log_in(given).await)
        .await?
        .guarded(GET_ACCOUNT, async |s, caller, _, _| s.get(caller).await)
        .await?
        .guarded(VALIDATE_ACCOUNT, async |s, caller, _, _| s.validate(caller).await)
        .await?;
    Ok(())
}

/// Describes the metrics of this crate.
pub fn describe_metrics() {
    host::telemetry::describe(&[
        Metric::counter("omnichat_logins_total", "Logins, by result"),
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
