//! The table `prompts`, with the current versions of `prompt_versions`.

use identity::Principal;
use sqlx::Result;
use uuid::Uuid;
use wire::{ProjectId, Prompt, PromptId, UpdatePrompt};

use super::{FRAME_BYTES, PAGE_BYTES_MAX, Rows, Store};

/// What became of a change.
pub enum Changed {
    /// The prompt as it is now.
    To(Prompt),
    /// There is no such prompt, or it has another version than the change was made from.
    Nothing,
}

impl Store {
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

    /// The prompts of a project behind `after`, at their current versions, oldest first: at most `limit`, and no more than
    /// fit into a reply. What is sure not to fit is not measured, as that costs more than all the rest.
    pub async fn prompts(
        &self,
        caller: Principal,
        project: ProjectId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Rows<Prompt>> {
        let rows = sqlx::query!(
            r#"with found as (
                 select prompts.id, project_id, prompts.name, content, version,
                     prompts.created_at, prompts.updated_at,
                     sum(octet_length(content)) over (order by prompts.id) as content_bytes
                 from projects
                 join prompts on prompts.project_id = projects.id
                 join prompt_versions on prompt_id = prompts.id and version = current_version
                 where projects.user_id = $1 and projects.id = $2 and ($3::uuid is null or prompts.id > $3)
                 order by prompts.id limit $4
             ), measured as (
                 select *, sum(
                     octet_length(to_json(name)::text) + octet_length(to_json(content)::text) + $6
                 ) over (order by id) as bytes
                 from found where content_bytes <= $5
             )
             select id, project_id, name, content, version, created_at, updated_at,
                    (select count(*) from found) as "found!"
             from measured where bytes <= $5 order by id"#,
            caller.user().uuid(),
            project.uuid(),
            after,
            limit + 1,
            PAGE_BYTES_MAX,
            FRAME_BYTES,
        )
        .fetch_all(&self.pool)
        .await?;
        let found = rows.first().map_or(0, |row| row.found);
        Ok(Rows::new(
            rows.into_iter().map(|row| Prompt {
                id: row.id.into(),
                project_id: row.project_id.into(),
                name: row.name,
                content: row.content,
                version: row.version,
                created_at: row.created_at,
                updated_at: row.updated_at,
            }),
            found,
            limit,
        ))
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
    /// row, and counts on from there. `if_version` must be the version so far.
    pub async fn add_version(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        change: UpdatePrompt,
    ) -> Result<Changed> {
        let prompt = sqlx::query_as!(
            Prompt,
            "with prompt as (
                 update prompts set
                     name = coalesce($4, prompts.name),
                     current_version = prompts.current_version + 1,
                     updated_at = $6
                 from projects
                 where projects.user_id = $1 and projects.id = $2
                     and prompts.project_id = projects.id and prompts.id = $3
                     and ($7::integer is null or prompts.current_version = $7)
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
            change.name,
            change.content,
            wire::now(),
            change.if_version,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(prompt.map_or(Changed::Nothing, Changed::To))
    }

    /// Makes the next version of the content of an old one.
    pub async fn roll_back(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        to: i32,
    ) -> Result<Option<Prompt>> {
        sqlx::query_as!(
            Prompt,
            "with old as (
                 select content from prompt_versions where prompt_id = $3 and version = $4
             ), prompt as (
                 update prompts set current_version = prompts.current_version + 1, updated_at = $5
                 from projects
                 where projects.user_id = $1 and projects.id = $2
                     and prompts.project_id = projects.id and prompts.id = $3 and exists (select from old)
                 returning prompts.*
             ), added as (
                 insert into prompt_versions (prompt_id, version, content, created_at)
                 select prompt.id, current_version, old.content, updated_at from prompt cross join old
                 returning prompt_id, version, content
             )
             select id, project_id, name, content, version, created_at, updated_at
             from prompt join added on prompt_id = id",
            caller.user().uuid(),
            project.uuid(),
            id.uuid(),
            to,
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
        change: &UpdatePrompt,
    ) -> Result<()> {
        sqlx::query!(
            "update prompts set name = $4, updated_at = $5
             from projects
             where projects.user_id = $1 and projects.id = $2
                 and prompts.project_id = projects.id and prompts.id = $3
                 and ($6::integer is null or prompts.current_version = $6)",
            caller.user().uuid(),
            project.uuid(),
            id.uuid(),
            change.name,
            wire::now(),
            change.if_version,
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
