//! Cases 98 to 101: a schema that is not this program's, and migrations that meet others.

use std::time::Duration;

use host::embedded::{Postgres, PostgresOptions, Search};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use testkit::folder::Folder;
use tokio::sync::OnceCell;

use crate::{
    Table,
    program::{Ended, SECRET, end, omnichat},
};

/// A server with a database of its own for each test.
struct Server {
    postgres: Postgres,
    _folder: Folder,
}

impl Server {
    async fn start() -> Self {
        let folder = Folder::new("schema");
        let home = folder.path().join("home");
        let bin = Search::from_environment().find_postgres(&home).await.expect("a Postgres");
        let options = PostgresOptions { durable: false, ..PostgresOptions::new(bin, home) };
        Self { postgres: Postgres::start(options).await.expect("Postgres"), _folder: folder }
    }

    /// The URL of a new, empty database.
    async fn database(&self, name: &str) -> String {
        execute(&self.postgres.url(), &format!("create database {name}")).await;
        self.postgres.url_of(name)
    }
}

async fn server() -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER.get_or_init(Server::start).await
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("Postgres takes connections")
}

async fn execute(url: &str, statement: &str) {
    let mut connection = connect(url).await;
    connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

async fn applied(url: &str) -> i64 {
    let mut connection = connect(url).await;
    let row = connection.fetch_one("select count(*) from _sqlx_migrations where success").await.unwrap();
    row.get(0)
}

async fn migrate(url: &str) -> Ended {
    end(omnichat(&["migrate"], &[("DATABASE_URL", url), ("OMNICHAT__POSTGRES__LOCK_TIMEOUT_MS", "300")]))
        .await
}

/// A statement that spoils the schema's ledger, the command that may mend it, and what both say.
const LEDGERS: &[(u16, &str, &str, &str)] = &[
    (
        98,
        "newer",
        "insert into _sqlx_migrations select 9999, description, now(), true, checksum, 1 from _sqlx_migrations limit 1",
        "newer than this program's",
    ),
    (
        98,
        "changed",
        "update _sqlx_migrations set checksum = 'x' where version = 1",
        "migration 1 was changed after it was applied",
    ),
];

#[tokio::test]
async fn a_schema_of_another_program_is_neither_served_nor_migrated() {
    let mut table = Table::default();
    for (case, name, statement, told) in LEDGERS {
        let url = server().await.database(name).await;
        assert_eq!(migrate(&url).await.code, Some(0));
        execute(&url, statement).await;
        let before = applied(&url).await;
        for command in [&["migrate"][..], &["serve", "auth"]] {
            let ended = end(omnichat(command, &[("DATABASE_URL", &url), ("JWT_SECRET", SECRET)])).await;
            let failed =
                if ended.code == Some(1) { ended.says(told) } else { Err(format!("{:?}", ended.code)) };
            table.row(*case, &format!("{name}, {command:?}"), failed);
        }
        assert_eq!(applied(&url).await, before);
    }
}

/// Case 98: an older schema is not served, with both versions told.
#[tokio::test]
async fn an_older_schema_is_told_with_both_versions() {
    let url = server().await.database("older").await;
    let ended = end(omnichat(&["serve", "auth"], &[("DATABASE_URL", &url), ("JWT_SECRET", SECRET)])).await;
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    let told = ended.said.lines().last().unwrap();
    assert!(told.contains("schema is at 0") && told.contains("omnichat migrate"), "{told}");
}

/// Cases 98 and 101: what a migration did before it failed is undone, and the next run goes on from there.
#[tokio::test]
async fn a_migration_that_failed_half_way_is_resumed() {
    let url = server().await.database("half").await;
    // The first migration makes tables before this one.
    execute(&url, "create table messages ()").await;
    let failed = migrate(&url).await;
    assert_eq!(failed.code, Some(1));
    failed.says("migration 1").and_then(|()| failed.says("messages")).unwrap();
    assert_eq!(applied(&url).await, 0);
    let mut connection = connect(&url).await;
    let tables = connection.fetch_one("select count(*) from pg_tables where schemaname = 'public'").await;
    assert_eq!(tables.unwrap().get::<i64, _>(0), 2, "the ledger, and the one that was in the way");
    execute(&url, "drop table messages").await;
    let resumed = migrate(&url).await;
    assert_eq!(resumed.code, Some(0), "{}", resumed.said);
    assert!(resumed.printed.starts_with("applied 0001 "), "{}", resumed.printed);
    assert_eq!(migrate(&url).await.printed.lines().count(), 1, "nothing is left to do");
}

/// Case 99: of two that migrate at once, one works and one waits.
#[tokio::test]
async fn two_that_migrate_at_once_are_one_after_the_other() {
    let url = server().await.database("twins").await;
    let (one, other) = tokio::join!(migrate(&url), migrate(&url));
    assert_eq!((one.code, other.code), (Some(0), Some(0)), "{} {}", one.said, other.said);
    let mut printed = [one.printed, other.printed];
    printed.sort();
    assert!(
        printed[0].starts_with("applied 0001 ") && printed[1].starts_with("nothing to do"),
        "{printed:?}"
    );
}

/// Case 100: a migration does not queue up behind a table's lock, where all that comes after it would wait too.
#[tokio::test]
async fn a_migration_gives_up_on_a_lock_and_is_run_again() {
    let url = server().await.database("locked").await;
    execute(&url, "create table messages ()").await;
    assert_eq!(migrate(&url).await.code, Some(1), "this made the ledger");
    execute(&url, "drop table messages").await;
    let mut holder = connect(&url).await;
    let mut transaction = holder.begin().await.unwrap();
    transaction.execute("lock table _sqlx_migrations in exclusive mode").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), migrate(&url)).await.expect("it gives up");
    assert_eq!(ended.code, Some(1));
    ended.says("lock timeout").unwrap();
    transaction.rollback().await.unwrap();
    let ended = migrate(&url).await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.printed.starts_with("applied 0001 "), "{}", ended.printed);
}
