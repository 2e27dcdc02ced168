use std::io::ErrorKind;

use sqlx::{
    migrate::MigrateError,
    postgres::{PgConnectOptions, PgDatabaseError},
};

use crate::config::ConfigError;

/// What went wrong with PostgreSQL, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration must change.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nobody answers, or we are turned away.
    #[error("PostgreSQL at {address} cannot be used: {}", words(source))]
    Unreachable {
        /// Host and port, or the socket's folder.
        address: String,
        /// The reason.
        source: sqlx::Error,
    },
    /// The schema must be migrated first.
    #[error(
        "the database's schema is at {database}, older than this program's {program}: run `omnichat migrate`"
    )]
    SchemaOlder {
        /// The newest migration that the database has seen; 0 is an empty database.
        database: i64,
        /// The newest migration that the program knows.
        program: i64,
    },
    /// The program must be updated.
    #[error(
        "the database's schema is at {database}, newer than this program's {program}: run a newer omnichat"
    )]
    SchemaNewer {
        /// The newest migration that the database has seen.
        database: i64,
        /// The newest migration that the program knows.
        program: i64,
    },
    /// An applied migration differs from the one in this program.
    #[error(
        "migration {version} was changed after it was applied: restore its file, and put the change into a new one"
    )]
    SchemaChanged {
        /// The migration.
        version: i64,
    },
    /// A migration failed; what it did was rolled back, earlier ones stay.
    #[error("migration {version} ({description}) failed: {}", explained(source))]
    Migration {
        /// The migration.
        version: i64,
        /// The words of its file name.
        description: String,
        /// The reason.
        source: MigrateError,
    },
    /// A statement of this module failed.
    #[error("PostgreSQL: {}", words(.0))]
    Query(#[from] sqlx::Error),
}

/// The server is starting up, is shutting down, or has no connection to spare.
const TRANSIENT: [&str; 4] = ["57P03", "57P01", "57P02", "53300"];

impl Error {
    /// Another server or database is needed, so the address must change.
    pub(super) fn unsuitable(problem: &str) -> Self {
        ConfigError::new("postgres.url", format!("leads to a PostgreSQL that does not suit: {problem}"))
            .into()
    }

    pub(super) fn unreachable(options: &PgConnectOptions, source: sqlx::Error) -> Self {
        let address = match options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Self::Unreachable { address, source }
    }

    /// Whether waiting may help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { source: sqlx::Error::Io(error), .. } => {
                error.kind() != ErrorKind::PermissionDenied
            }
            Self::Unreachable { source: sqlx::Error::Database(error), .. } => {
                error.code().is_some_and(|code| TRANSIENT.contains(&code.as_ref()))
            }
            _ => false,
        }
    }
}

/// Whether Postgres could not be asked, or did not get to it: trying again later may help. All else is a bug.
pub fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
            true
        }
        // Classes of SQLSTATE: 08 connection, 53 out of resources, 57 stopping or cancelled, 58 a failing system.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))),
        _ => false,
    }
}

/// What Postgres says of a failed migration, with the rows that it names: they are to be mended by hand.
fn explained(error: &MigrateError) -> String {
    let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = error else {
        return error.to_string();
    };
    let database = cause.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    match database.and_then(PgDatabaseError::detail) {
        Some(detail) => format!("{}: {detail}", words(cause)),
        None => words(cause),
    }
}

/// sqlx appends the line of the server's own C source.
fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}
