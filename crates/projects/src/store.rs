//! The tables `projects`, `prompts` and `prompt_versions`. Every statement has the owner in its `where`.
//!
//! Each method is one statement: a future that is dropped half-way leaves no open transaction behind.

use identity::Principal;
use sqlx::{PgPool, Result};
use wire::{Project, ProjectId, Prompt, PromptId, UpdateProject, limits};

use crate::Error;

/// Entries of a list.
const PAGE_ENTRIES_MAX: i64 = limits::PAGE_ENTRIES_MAX as i64;
/// Bytes of a list of prompts as JSON: a thousand of them may have 32 MiB, and a reply must fit in one message.
const PAGE_BYTES_MAX: i64 = limits::PAYLOAD_BYTES_MAX as i64;
/// Bytes of a prompt as JSON, without its name and content.
const PROMPT_FRAME_BYTES: i32 = 300;

/// Reads and writes them.
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// In this database.
    pub fn new(pool: PgPool) -> Self {
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

    /// The first page of the caller's projects.
    pub async fn projects(&self, caller: Principal) -> Result<Vec<Project>> {
        sqlx::query_as!(
            Project,
            "select id, user_id, name, description, created_at, updated_at from projects
             where user_id = $1 order by id limit $2",
            caller.user().uuid(),
            PAGE_ENTRIES_MAX,
        )
        .fetch_all(&self.pool)
        .await
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

    /// Inserts a prompt with its first version; false if its project is not the caller's. The lock holds off a deletion
    /// of the project meanwhile.
    pub async fn insert_prompt(&self, caller: Principal, prompt: &Prompt) -> Result<bool> {
        let inserted = sqlx::query!(
            "with prompt as (
                 insert into prompts (id, project_id, name, current_version, created_at, updated_at)
                 select $3, id, $4, $5, $7, $8 from projects where user_id = $1 and id = $2 for key share
                 returning id, current_version, created_at
             )
             insert into prompt_versions (prompt_id, version, content, created_at)
             select id, current_version, $6, created_at from prompt",
            caller.user().uuid(),
            prompt.project_id.uuid(),
            prompt.id.uuid(),
            prompt.name,
            prompt.version,
            prompt.content,
            prompt.created_at,
            prompt.updated_at,
        )
        .execute(&self.pool)
        .await?;
        Ok(inserted.rows_affected() > 0)
    }

    /// The first page of a project's prompts; none if the project is not the caller's. What is sure not to fit is not
    /// measured, as that costs more than all the rest.
    pub async fn prompts(&self, caller: Principal, project: ProjectId) -> Result<Vec<Prompt>> {
        sqlx::query_as!(
            Prompt,
            "select id, project_id, name, content, version, created_at, updated_at from (
                 select *, sum(
                     octet_length(to_json(name)::text) + octet_length(to_json(content)::text) + $5
                 ) over (order by id) as bytes
                 from (
                     select prompts.id, project_id, prompts.name, content, version,
                         prompts.created_at, prompts.updated_at,
                         sum(octet_length(content)) over (order by prompts.id) as content_bytes
                     from projects
                     join prompts on prompts.project_id = projects.id
                     join prompt_versions on prompt_id = prompts.id and version = current_version
                     where projects.user_id = $1 and projects.id = $2
                     order by prompts.id limit $3
                 ) as listed
                 where content_bytes <= $4
             ) as measured
             where bytes <= $4 order by id",
            caller.user().uuid(),
            project.uuid(),
            PAGE_ENTRIES_MAX,
            PAGE_BYTES_MAX,
            PROMPT_FRAME_BYTES,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// A prompt at its current version.
    pub async fn prompt(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
    ) -> Result<Option<Prompt>> {
        sqlx::query_as!(
            Prompt,
            "select prompts.id, project_id, prompts.name, content, version, prompts.created_at, prompts.updated_at
             from projects
             join prompts on prompts.project_id = projects.id
             join prompt_versions on prompt_id = prompts.id and version = current_version
             where projects.user_id = $1 and projects.id = $2 and prompts.id = $3",
            caller.user().uuid(),
            project.uuid(),
            id.uuid(),
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Makes the next version current, and returns the prompt at it. Of two at a time the second waits for the first's
    /// row, and counts on from there.
    pub async fn add_version(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        name: Option<String>,
        content: String,
    ) -> Result<Option<Prompt>> {
        sqlx::query_as!(
            Prompt,
            "with prompt as (
                 update prompts set
                     name = coalesce($4, prompts.name),
                     current_version = prompts.current_version + 1,
                     updated_at = $6
                 from projects
                 where projects.user_id = $1 and projects.id = $2
                     and prompts.project_id = projects.id and prompts.id = $3
                 returning prompts.*
             ), added as (
                 insert into prompt_versions (prompt_id, version, content, created_at)
                 select id, current_version, $5, updated_at from prompt
                 returning prompt_id, version, content
             )
             select id, project_id, name, content, version, created_at, updated_at
             from prompt join added on prompt_id = id",
            caller.user().uuid(),
            project.uuid(),
            id.uuid(),
            name,
            content,
            wire::now(),
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Gives a prompt another name, if it is there.
    pub async fn rename_prompt(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        name: &str,
    ) -> Result<()> {
        sqlx::query!(
            "update prompts set name = $4, updated_at = $5
             from projects
             where projects.user_id = $1 and projects.id = $2
                 and prompts.project_id = projects.id and prompts.id = $3",
            caller.user().uuid(),
            project.uuid(),
            id.uuid(),
            name,
            wire::now(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes a prompt with its versions; false if there is none.
    pub async fn delete_prompt(&self, caller: Principal, project: ProjectId, id: PromptId) -> Result<bool> {
        let deleted = sqlx::query!(
            "delete from prompts using projects
             where projects.user_id = $1 and projects.id = $2
                 and prompts.project_id = projects.id and prompts.id = $3",
            caller.user().uuid(),
            project.uuid(),
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
