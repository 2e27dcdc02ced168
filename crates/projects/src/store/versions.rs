//! The tables `prompt_versions`, which are only ever inserted, and `prompt_labels`.

use identity::Principal;
use sqlx::Result;
use wire::{LabelPrompt, ProjectId, PromptId, PromptLabel, PromptVersion};

use super::{FRAME_BYTES, PAGE_BYTES_MAX, Rows, Store};

impl Store {
    /// The versions of a prompt before `before`, newest first: at most `limit`, and no more than fit into a reply.
    pub async fn versions(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        before: Option<i32>,
        limit: i64,
    ) -> Result<Rows<PromptVersion>> {
        let rows = sqlx::query!(
            r#"with found as (
                 select v.*, sum(octet_length(v.content)) over (order by v.version desc) as content_bytes
                 from projects p
                 join prompts r on r.project_id = p.id
                 join prompt_versions v on v.prompt_id = r.id
                 where p.user_id = $1 and p.id = $2 and r.id = $3 and ($4::integer is null or v.version < $4)
                 order by v.version desc limit $5
             ), measured as (
                 select *, sum(octet_length(to_json(content)::text) + $7) over (order by version desc) as bytes
                 from found where content_bytes <= $6
             )
             select prompt_id, version, content, created_at,
                    array(select label from prompt_labels l
                          where l.prompt_id = measured.prompt_id and l.version = measured.version
                          order by label) as "labels!",
                    (select count(*) from found) as "found!"
             from measured where bytes <= $6 order by version desc"#,
            caller.user().uuid(),
            project.uuid(),
            id.uuid(),
            before,
            limit + 1,
            PAGE_BYTES_MAX,
            // With its labels.
            FRAME_BYTES * 10,
        )
        .fetch_all(&self.pool)
        .await?;
        let found = rows.first().map_or(0, |row| row.found);
        let versions = rows.into_iter().map(|row| PromptVersion {
            prompt_id: row.prompt_id.into(),
            version: row.version,
            content: row.content,
            labels: row.labels,
            created_at: row.created_at,
        });
        Ok(Rows::new(versions, found, limit))
    }

    /// One version of a prompt: the one of this number, the one with this label, or the current one.
    pub async fn version(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        version: Option<i32>,
        label: Option<&str>,
    ) -> Result<Option<PromptVersion>> {
        sqlx::query_as!(
            PromptVersion,
            r#"select v.prompt_id, v.version, v.content, v.created_at,
                    array(select label from prompt_labels l
                          where l.prompt_id = v.prompt_id and l.version = v.version order by label) as "labels!"
             from projects p
             join prompts r on r.project_id = p.id
             join prompt_versions v on v.prompt_id = r.id
             where p.user_id = $1 and p.id = $2 and r.id = $3 and v.version = case
                 when $4::integer is not null then $4
                 when $5::text is not null then
                     (select l.version from prompt_labels l where l.prompt_id = r.id and l.label = $5)
                 else r.current_version end"#,
            caller.user().uuid(),
            project.uuid(),
            id.uuid(),
            version,
            label,
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// The labels of a prompt, by name.
    pub async fn labels(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
    ) -> Result<Vec<PromptLabel>> {
        sqlx::query_as!(
            PromptLabel,
            "select l.prompt_id, l.label, l.version
             from projects p
             join prompts r on r.project_id = p.id
             join prompt_labels l on l.prompt_id = r.id
             where p.user_id = $1 and p.id = $2 and r.id = $3 order by l.label",
            caller.user().uuid(),
            project.uuid(),
            id.uuid(),
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Puts a label on a version; false if the prompt has no such version, or too many labels.
    pub async fn set_label(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        label: &LabelPrompt,
        labels_max: i64,
    ) -> Result<bool> {
        let set = sqlx::query!(
            "insert into prompt_labels (prompt_id, label, version)
             select v.prompt_id, $4, v.version
             from projects p
             join prompts r on r.project_id = p.id
             join prompt_versions v on v.prompt_id = r.id
             where p.user_id = $1 and p.id = $2 and r.id = $3 and v.version = $5
                 and (select count(*) from prompt_labels l where l.prompt_id = r.id and l.label <> $4) < $6
             for key share of r
             on conflict (prompt_id, label) do update set version = excluded.version",
            caller.user().uuid(),
            project.uuid(),
            id.uuid(),
            label.label,
            label.version,
            labels_max,
        )
        .execute(&self.pool)
        .await?;
        Ok(set.rows_affected() > 0)
    }

    /// Takes a label away; false if the prompt does not have it.
    pub async fn remove_label(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        label: &str,
    ) -> Result<bool> {
        let removed = sqlx::query!(
            "delete from prompt_labels l using prompts r, projects p
             where p.user_id = $1 and p.id = $2 and r.project_id = p.id and r.id = $3
                 and l.prompt_id = r.id and l.label = $4",
            caller.user().uuid(),
            project.uuid(),
            id.uuid(),
            label,
        )
        .execute(&self.pool)
        .await?;
        Ok(removed.rows_affected() > 0)
    }
}
