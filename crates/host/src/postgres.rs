//! The connection pool, the version floor and the schema's migrations.

mod error;
mod pool;
mod schema;
mod server;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{Instant, sleep_until, timeout};

pub use self::{
    error::{Error, is_away},
    pool::{METRICS, Patience, Pool},
    schema::{Applied, Pending, check, migrate, migrate_with, pending},
    server::Server,
};
use crate::config::ConfigError;

/// How to reach PostgreSQL, and the bounds of every connection.
#[derive(Debug, Clone, confique::Config)]
pub struct Config {
    /// `postgres://user:password@host/database`; a socket folder goes into `?host=`.
    pub url: Option<SecretString>,

    /// Connections of one process at most.
    #[config(default = 16, validate(*pool_size > 0, "must be at least 1"))]
    pub pool_size: u32,

    /// How long to wait for a free connection.
    #[config(default = 2000, validate(*acquire_timeout_ms > 0, "must be at least 1"))]
    pub acquire_timeout_ms: u64,

    /// The server cancels a statement that takes longer, and its answer is waited for a second more; 0 turns both off.
    #[config(default = 5000)]
    pub statement_timeout_ms: u32,

    /// The server gives up on a lock after this; 0 turns this off.
    #[config(default = 2000)]
    pub lock_timeout_ms: u32,

    /// The server ends a connection that holds a transaction and does nothing; 0 turns this off.
    #[config(default = 5000)]
    pub idle_in_transaction_timeout_ms: u32,
}

/// A connection this old is replaced, so that load follows a server that came back.
const LIFETIME_MAX: Duration = Duration::from_secs(600);
/// A connection unused for longer is asked whether it lives before it is handed out.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// One attempt to reach the server.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Opens a pool whose connections show as `application_name` in `pg_stat_activity`. A server that is not there yet is
/// waited for, with growing pauses, until `deadline`; without one, for as long as it takes.
///
/// # Errors
/// [`Error::Config`] if the URL is absent, is none, or leads to a server older than 15, a standby, or a database that is
/// not UTF-8; [`Error::Unreachable`] after the deadline, or at once when waiting cannot help (wrong password, no such
/// database).
pub async fn connect(
    config: &Config,
    application_name: &str,
    deadline: impl Into<Option<Instant>>,
) -> Result<Pool, Error> {
    let options = options(config, application_name)?;
    let server = reach(&options, deadline.into()).await?;
    server.suits()?;
    tracing::info!(version = server.version, pool_size = config.pool_size, "connected to PostgreSQL");
    for setting in server.weak_settings() {
        tracing::warn!(setting, "PostgreSQL may lose what it has committed");
    }
    let pool = PgPoolOptions::new()
        .max_connections(config.pool_size)
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        .max_lifetime(LIFETIME_MAX)
        .test_before_acquire(false)
        .before_acquire(|connection, usage| {
            Box::pin(async move {
                if usage.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| Box::pin(server::refuse_standby(connection)));
    let patience = Patience::over(config.statement_timeout_ms);
    Ok(Pool::new(pool.connect_lazy_with(options), patience))
}

fn options(config: &Config, application_name: &str) -> Result<PgConnectOptions, Error> {
    let wrong = |problem| {
        ConfigError::new("postgres.url", problem).advice("give it as postgres://user:password@host/database")
    };
    let url = config.url.as_ref().ok_or_else(|| wrong("is required"))?.expose_secret();
    // sqlx takes any scheme.
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let options: Option<PgConnectOptions> = url.parse().ok().filter(|_| is_postgres);
    let options = options.ok_or_else(|| wrong("is not the URL of a PostgreSQL database"))?;
    Ok(options.application_name(application_name).options([
        ("statement_timeout", config.statement_timeout_ms),
        ("lock_timeout", config.lock_timeout_ms),
        ("idle_in_transaction_session_timeout", config.idle_in_transaction_timeout_ms),
    ]))
}

async fn reach(options: &PgConnectOptions, deadline: Option<Instant>) -> Result<Server, Error> {
    let mut pause = BACKOFF_MIN;
    loop {
        let refused = match timeout(ATTEMPT_TIMEOUT, look(options)).await {
            Ok(Ok(server)) => return Ok(server),
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
        };
        let error = Error::unreachable(options, refused);
        let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if over || !error.may_pass() {
            return Err(error);
        }
        tracing::warn!(%error, retry_ms = pause.as_millis() as u64, "waiting for PostgreSQL");
        let next = Instant::now() + pause;
        sleep_until(deadline.map_or(next, |deadline| deadline.min(next))).await;
        pause = BACKOFF_MAX.min(pause * 2);
    }
}

async fn look(options: &PgConnectOptions) -> Result<Server, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let server = Server::look(&mut connection).await?;
    connection.close().await?;
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: Option<&str>) -> Config {
        Config {
            url: url.map(Into::into),
            pool_size: 16,
            acquire_timeout_ms: 2000,
            statement_timeout_ms: 5000,
            lock_timeout_ms: 2000,
            idle_in_transaction_timeout_ms: 5000,
        }
    }

    #[test]
    fn every_connection_carries_its_bounds_and_its_name() {
        let options = options(&config(Some("postgres://me@localhost/db")), "omnichat-chat").unwrap();
        assert_eq!(options.get_application_name(), Some("omnichat-chat"));
        let sent = options.get_options().unwrap();
        for bound in
            ["statement_timeout=5000", "lock_timeout=2000", "idle_in_transaction_session_timeout=5000"]
        {
            assert!(sent.contains(bound), "{bound} is missing in {sent}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_shown() {
        for url in [
            "postgres//me:hunter22@host",
            "mysql://me:hunter22@host/db",
            "postgres://me:hunter22@host:port/db",
        ] {
            let error = options(&config(Some(url)), "test").unwrap_err();
            assert_eq!(
                error.to_string(),
                "postgres.url is not the URL of a PostgreSQL database; \
                 give it as postgres://user:password@host/database"
            );
        }
        let error = options(&config(None), "test").unwrap_err();
        assert!(error.to_string().starts_with("postgres.url is required"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_waited_for_until_the_deadline() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("postgres://me:hunter22@127.0.0.1:{port}/db");
        let deadline = Instant::now() + Duration::from_millis(150);
        let error = connect(&config(Some(&url)), "test", deadline).await.unwrap_err();
        assert!(Instant::now() >= deadline, "it gave up early");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port} cannot be used")), "{error}");
        assert!(!error.to_string().contains("hunter22"));
    }
}
