use sqlx::{
    Connection, PgConnection, PgPool,
    migrate::{Migrate, Migration, Migrator},
};

use super::{Error, Pool, Server};

/// The migrations, compiled in.
static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// sqlx's ledger of what was applied.
const LEDGER: &str = "_sqlx_migrations";

/// A migration that the database has not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The number of its file.
    pub version: i64,
    /// The words of its file name.
    pub description: String,
}

/// A migration that was applied just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The number of its file.
    pub version: i64,
    /// The words of its file name.
    pub description: String,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// Applies what is pending and says what that was. Of two processes that migrate at once, one works and one waits.
///
/// # Errors
/// [`Error::SchemaNewer`], [`Error::SchemaChanged`], [`Error::Migration`]. What was applied before the failure stays;
/// the next call goes on from there.
pub async fn migrate(pool: &PgPool) -> Result<Vec<Applied>, Error> {
    migrate_with(pool, &MIGRATIONS).await
}

/// As [`migrate`], by other migrations than this program's.
///
/// # Errors
/// The same.
pub async fn migrate_with(pool: &PgPool, migrations: &Migrator) -> Result<Vec<Applied>, Error> {
    // Detached, because these settings must not come back into the pool.
    let mut connection = pool.acquire().await?.detach();
    let outcome = migrate_alone(&mut connection, migrations).await;
    // Closing also gives the advisory lock back.
    connection.close().await?;
    outcome
}

async fn migrate_alone(connection: &mut PgConnection, migrations: &Migrator) -> Result<Vec<Applied>, Error> {
    // To wait for another migrator or for a long migration is right. To wait for a table's lock is not: every other
    // statement on that table would queue up behind this one, so the pool's lock_timeout holds for the migrations.
    sqlx::raw_sql("set statement_timeout = 0; set lock_timeout = 0").execute(&mut *connection).await?;
    connection.lock().await.map_err(sqlx::Error::from)?;
    sqlx::raw_sql("reset lock_timeout").execute(&mut *connection).await?;
    connection.ensure_migrations_table(LEDGER).await.map_err(sqlx::Error::from)?;

    let mut applied = Vec::new();
    for migration in missing(migrations, &ledger(connection).await?)? {
        let Migration { version, description, .. } = migration;
        let elapsed = connection.apply(LEDGER, migration).await.map_err(|source| Error::Migration {
            version: *version,
            description: description.to_string(),
            source,
        })?;
        let ms = elapsed.as_millis().try_into().unwrap_or(u64::MAX);
        tracing::info!(version, %description, ms, "migrated");
        applied.push(Applied { version: *version, description: description.to_string(), ms });
    }
    Ok(applied)
}

/// What [`migrate`] would apply.
///
/// # Errors
/// [`Error::SchemaNewer`], [`Error::SchemaChanged`].
pub async fn pending(pool: &Pool) -> Result<Vec<Pending>, Error> {
    let ledger = pool.lend(async |on| ledger(on).await).await?;
    let describe = |migration: &Migration| Pending {
        version: migration.version,
        description: migration.description.to_string(),
    };
    Ok(missing(&MIGRATIONS, &ledger)?.into_iter().map(describe).collect())
}

/// For readiness: the server answers, takes writes, and has the schema of this program. Says the versions of both.
///
/// # Errors
/// As [`pending`], and [`Error::SchemaOlder`], [`Error::Config`] for a server that does not suit.
pub async fn check(pool: &Pool) -> Result<String, Error> {
    let look = async |on: &mut PgConnection| {
        let server = Server::look(on).await?;
        server.suits()?;
        Ok::<_, Error>((server, ledger(on).await?))
    };
    let (server, ledger) = pool.lend(look).await?;
    let (database, program) = (newest(&ledger), program_version(&MIGRATIONS));
    match missing(&MIGRATIONS, &ledger)?.as_slice() {
        [] => Ok(format!("PostgreSQL {}, schema {database}", server.version)),
        _ => Err(Error::SchemaOlder { database, program }),
    }
}

/// A migration's version and checksum.
type Entry = (i64, Vec<u8>);

/// What the database has seen, oldest first; nothing if it was never migrated.
async fn ledger(connection: &mut PgConnection) -> Result<Vec<Entry>, Error> {
    const NO_SUCH_TABLE: &str = "42P01";
    let rows = sqlx::query_as("select version, checksum from _sqlx_migrations order by version");
    match rows.fetch_all(connection).await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NO_SUCH_TABLE) => Ok(Vec::new()),
        rows => Ok(rows?),
    }
}

fn newest(ledger: &[Entry]) -> i64 {
    ledger.last().map_or(0, |(version, _)| *version)
}

fn program_version(known: &Migrator) -> i64 {
    known.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The known migrations that are not in the ledger, oldest first.
fn missing<'a>(known: &'a Migrator, ledger: &[Entry]) -> Result<Vec<&'a Migration>, Error> {
    for (version, checksum) in ledger {
        match known.iter().find(|migration| migration.version == *version) {
            None => {
                return Err(Error::SchemaNewer { database: newest(ledger), program: program_version(known) });
            }
            Some(migration) if migration.checksum != *checksum => {
                return Err(Error::SchemaChanged { version: *version });
            }
            Some(_) => {}
        }
    }
    let seen = |migration: &&Migration| ledger.iter().any(|(version, _)| *version == migration.version);
    Ok(known.iter().filter(|migration| !seen(migration)).collect())
}

#[cfg(test)]
mod tests {
    use sqlx::{SqlSafeStr, migrate::MigrationType};

    use super::*;

    fn known() -> Migrator {
        let migration = |version, sql: &'static str| {
            Migration::new(version, "words".into(), MigrationType::Simple, sql.into_sql_str(), false)
        };
        Migrator::with_migrations(vec![migration(1, "create table a ()"), migration(2, "create table b ()")])
    }

    fn entries(known: &Migrator) -> Vec<Entry> {
        known.iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect()
    }

    #[test]
    fn an_empty_database_lacks_every_migration_and_a_full_one_none() {
        let known = known();
        let versions = |ledger: &[Entry]| -> Vec<i64> {
            missing(&known, ledger).unwrap().iter().map(|migration| migration.version).collect()
        };
        assert_eq!(versions(&[]), [1, 2]);
        assert_eq!(versions(&entries(&known)[..1]), [2]);
        assert!(versions(&entries(&known)).is_empty());
    }

    #[test]
    fn a_newer_database_is_refused_with_both_versions() {
        let known = known();
        let ledger = [entries(&known), vec![(7, vec![0])]].concat();
        let error = missing(&known, &ledger).unwrap_err();
        assert!(matches!(error, Error::SchemaNewer { database: 7, program: 2 }), "{error}");
    }

    #[test]
    fn a_migration_changed_after_it_was_applied_is_named() {
        let known = known();
        let mut ledger = entries(&known);
        ledger[1].1[0] ^= 1;
        let error = missing(&known, &ledger).unwrap_err();
        assert!(matches!(error, Error::SchemaChanged { version: 2 }), "{error}");
    }

    #[test]
    fn the_migrations_of_this_program_are_compiled_in() {
        assert!(program_version(&MIGRATIONS) > 0);
    }
}
