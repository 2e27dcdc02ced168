//! The private Postgres of a test process, and a database of its own for each world.

use std::{
    process::Command,
    sync::{Mutex, PoisonError},
};

use host::embedded::{Postgres, PostgresOptions, Search};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::sync::OnceCell;

use crate::{folder::Folder, process};

/// A server that all worlds of this process share, with a migrated database to copy. It ends with the process.
struct Shared {
    postgres: Postgres,
    _folder: Folder,
}

/// Connections for as many worlds as run at a time on a large machine.
const CONNECTIONS_MAX: u32 = 500;
const TEMPLATE: &str = "template_omnichat";

static SHARED: OnceCell<Shared> = OnceCell::const_new();
/// Databases whose worlds are over.
static FINISHED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A database of the program's schema, empty.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    pool: PgPool,
}

impl Database {
    /// A new one; the first of a process takes about 2 s. `binary` is the program, which makes its schema itself.
    pub async fn new(binary: &str) -> Self {
        let shared = SHARED.get_or_init(|| Shared::start(binary)).await;
        let mut connection = shared.connect().await;
        let finished = std::mem::take(&mut *FINISHED.lock().unwrap_or_else(PoisonError::into_inner));
        for name in finished {
            let drop = AssertSqlSafe(format!("drop database \"{name}\" with (force)"));
            connection.execute(drop).await.expect("an old database goes");
        }
        let name = format!("world_{}", uuid::Uuid::new_v4().simple());
        let create = AssertSqlSafe(format!("create database \"{name}\" template {TEMPLATE}"));
        connection.execute(create).await.expect("a copy of the template");
        let _ = connection.close().await;
        let url = shared.postgres.url_of(&name);
        let pool = PgPoolOptions::new().max_connections(2).connect_lazy(&url).unwrap();
        Self { name, url, pool }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A way to look into it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        FINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.name));
    }
}

impl Shared {
    async fn start(binary: &str) -> Self {
        let folder = Folder::new("postgres");
        let home = folder.path().join("home");
        let bin = Search::from_environment().find_postgres(&home).await.expect("a Postgres");
        let options = PostgresOptions { durable: false, ..PostgresOptions::new(bin, home) };
        let options = PostgresOptions { max_connections: CONNECTIONS_MAX, ..options };
        let shared = Self { postgres: Postgres::start(options).await.expect("Postgres"), _folder: folder };
        let create = AssertSqlSafe(format!("create database {TEMPLATE}"));
        shared.connect().await.execute(create).await.expect("a database to be the template");
        let mut migrate = Command::new(binary);
        migrate.arg("migrate").env_clear().current_dir(shared._folder.path());
        migrate.env("DATABASE_URL", shared.postgres.url_of(TEMPLATE));
        process::run(migrate).await;
        shared
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.postgres.url()).await.expect("Postgres takes connections")
    }
}
