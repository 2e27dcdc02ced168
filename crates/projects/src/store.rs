//! The tables `projects`, `prompts` ([`prompts`]), `prompt_versions` and `prompt_labels` ([`versions`]). Every statement has
//! the owner in its `where`.
//!
//! Each method is one statement: a future that is dropped half-way leaves no open transaction behind.

mod prompts;
mod versions;

use host::postgres::Pool;
use identity::Principal;
use sqlx::Result;
use uuid::Uuid;
use wire::{Project, ProjectId, UpdateProject, limits};

pub use prompts::Changed;

use crate::Error;

/// Bytes of a page as JSON: a thousand prompts may have 32 MiB, and a reply must fit in one message.
const PAGE_BYTES_MAX: i64 = limits::PAYLOAD_BYTES_MAX as i64;
/// Bytes of an entry as JSON, without its free texts.
const FRAME_BYTES: i32 = 400;

/// What a query for a page found.
pub struct Rows<T> {
    /// The entries, as many as were wanted and fit.
    pub entries: Vec<T>,
    /// There are more behind them.
    pub more: bool,
}

impl<T> Rows<T> {
    /// Of a query that looked for one more than `limit`, found `found` in all, and gave those that fit.
    fn new(fitting: impl Iterator<Item = T>, found: i64, limit: i64) -> Self {
        let mut entries: Vec<_> = fitting.collect();
        entries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Self { more: i64::try_from(entries.len()).is_ok_and(|given| given < found), entries }
    }
}

/// Reads and writes them.
pub struct Store {
    pool: Pool,
}

impl Store {
    /// In this database.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Inserts a project of the caller's.
    pub async fn insert_project(&self, caller: Principal, project: &Project) -> Result<(), Error> {
        sqlx::query!(
            "insert into projects (id, user_id, name, description, created_at, updated_at)
             values ($2, $1, $3, $4, $5, $6)",
            caller.user().uuid(),
            project.id.uuid(),
            project.name,
            project.description,
            project.created_at,
            project.updated_at,
        )
        .execute(&self.pool)
        .await
        .map_err(owner_gone)?;
        Ok(())
    }

    /// The caller's projects behind `after`, oldest first: at most `limit`, and no more than fit into a reply.
    pub async fn projects(
        &self,
        caller: Principal,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Rows<Project>> {
        let rows = sqlx::query!(
            r#"with listed as (
                 select *, sum(
                     octet_length(to_json(name)::text) + octet_length(to_json(coalesce(description, ''))::text) + $5
                 ) over (order by id) as bytes
                 from (
                     select * from projects where user_id = $1 and ($2::uuid is null or id > $2)
                     order by id limit $3
                 ) as found
             )
             select id, user_id, name, description, created_at, updated_at,
                    (select count(*) from listed) as "found!"
             from listed where bytes <= $4 order by id"#,
            caller.user().uuid(),
            after,
            limit + 1,
            PAGE_BYTES_MAX,
            FRAME_BYTES,
        )
        .fetch_all(&self.pool)
        .await?;
        let found = rows.first().map_or(0, |row| row.found);
        Ok(Rows::new(
            rows.into_iter().map(|row| Project {
                id: row.id.into(),
                user_id: row.user_id.into(),
                name: row.name,
                description: row.description,
                created_at: row.created_at,
                updated_at: row.updated_at,
            }),
            found,
            limit,
        ))
    }

    /// A project.
    pub async fn project(&self, caller: Principal, id: ProjectId) -> Result<Option<Project>> {
        sqlx::query_as!(
            Project,
            "select id, user_id, name, description, created_at, updated_at from projects
             where user_id = $1 and id = $2",
            caller.user().uuid(),
            id.uuid(),
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Changes what is given, and returns the project as it then is.
    pub async fn update_project(
        &self,
        caller: Principal,
        id: ProjectId,
        changes: UpdateProject,
    ) -> Result<Option<Project>> {
        sqlx::query_as!(
            Project,
            "update projects set
                 name = coalesce($3, name),
                 description = case when $4 then $5 else description end,
                 updated_at = $6
             where user_id = $1 and id = $2
             returning id, user_id, name, description, created_at, updated_at",
            caller.user().uuid(),
            id.uuid(),
            changes.name,
            changes.description.is_some(),
            changes.description.flatten(),
            wire::now(),
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Deletes a project and all that hangs on it; false if there is none.
    pub async fn delete_project(&self, caller: Principal, id: ProjectId) -> Result<bool> {
        let deleted = sqlx::query!(
            "delete from projects where user_id = $1 and id = $2",
            caller.user().uuid(),
            id.uuid(),
        )
        .execute(&self.pool)
        .await?;
        Ok(deleted.rows_affected() > 0)
    }
}

/// The only key that a new project's row refers to is its owner's.
fn owner_gone(error: sqlx::Error) -> Error {
    let gone = error.as_database_error().is_some_and(|error| error.is_foreign_key_violation());
    if gone { Error::AccountGone } else { error.into() }
}
