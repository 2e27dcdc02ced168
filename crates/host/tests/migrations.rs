//! Migrations that meet rows which they cannot keep.

#![cfg(test)]

use host::{
    embedded::{Postgres, PostgresOptions, Search},
    postgres::migrate_with,
};
use sqlx::{
    PgPool, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

fn migration(version: i64, sql: &'static str) -> Migration {
    Migration::new(version, "words".into(), MigrationType::Simple, sql.into_sql_str(), false)
}

/// Case 102: rows that were allowed before a unique index was.
#[tokio::test]
async fn duplicates_stop_a_migration_and_stay() {
    let folder = std::env::temp_dir().join(format!("omnichat-migrations-{}", std::process::id()));
    let bin = Search::from_environment().find_postgres(&folder).await.unwrap();
    let options = PostgresOptions { durable: false, ..PostgresOptions::new(bin, folder.join("home")) };
    let postgres = Postgres::start(options).await.unwrap();
    let pool = PgPool::connect(&postgres.url()).await.unwrap();
    let steps = || {
        vec![
            migration(1, "create table people (id int primary key, email text)"),
            migration(2, "create table other (); create unique index people_email on people (email)"),
        ]
    };
    migrate_with(&pool, &Migrator::with_migrations(steps()[..1].to_vec())).await.unwrap();
    sqlx::query("insert into people values (1, 'a@b.c'), (2, 'a@b.c'), (3, 'd@e.f')")
        .execute(&pool)
        .await
        .unwrap();

    let all = Migrator::with_migrations(steps());
    let error = migrate_with(&pool, &all).await.unwrap_err().to_string();
    assert!(
        error.starts_with("migration 2 (words) failed:") && error.contains("(a@b.c) is duplicated"),
        "{error}"
    );
    let left: i64 = sqlx::query_scalar("select count(*) from people").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 3, "nothing was deleted");
    assert!(sqlx::query("select from other").execute(&pool).await.is_err(), "nothing was done by half");

    sqlx::query("update people set email = 'a2@b.c' where id = 2").execute(&pool).await.unwrap();
    let applied = migrate_with(&pool, &all).await.unwrap();
    assert_eq!(applied.iter().map(|step| step.version).collect::<Vec<_>>(), [2], "mended, it goes on");
    pool.close().await;
    postgres.stop().await;
    let _ = std::fs::remove_dir_all(folder);
}
