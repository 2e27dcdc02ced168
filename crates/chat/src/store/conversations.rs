//! Conversations themselves: made, shown, changed, deleted. Their turns are elsewhere.

use identity::Principal;
use serde_json::{Map, Value};
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;
use wire::{Conversation, ConversationId, NewConversation, PromptChoice, Settings, UpdateConversation};

use super::{FRAME_BYTES, Found, PAGE_BYTES_MAX, Store};

struct Row {
    id: Uuid,
    project_id: Uuid,
    title: Option<String>,
    model: Option<String>,
    prompt_id: Option<Uuid>,
    prompt_version: Option<i32>,
    prompt_label: Option<String>,
    variables: Json<Map<String, Value>>,
    settings: Json<Settings>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl From<Row> for Conversation {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            project_id: row.project_id.into(),
            title: row.title,
            model: row.model,
            prompt_id: row.prompt_id.map(Into::into),
            prompt_version: row.prompt_version,
            prompt_label: row.prompt_label,
            variables: row.variables.0,
            settings: row.settings.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Store {
    /// Makes a conversation, if its project is the caller's.
    pub async fn create_conversation(
        &self,
        caller: Principal,
        new: NewConversation,
    ) -> sqlx::Result<Option<Conversation>> {
        let row = sqlx::query_as!(
            Row,
            r#"insert into conversations (id, user_id, project_id, title, model, prompt_id, prompt_version, prompt_label,
                                          variables, settings, created_at, updated_at)
               select $1, p.user_id, p.id, $4, $5, $6, $7, $8, $9, $10, $11, $11
               from projects p where p.id = $2 and p.user_id = $3
               returning id, project_id, title, model, prompt_id, prompt_version, prompt_label,
                         variables as "variables: _", settings as "settings: _", created_at, updated_at"#,
            ConversationId::new().uuid(),
            new.project_id.uuid(),
            caller.user().uuid(),
            new.title,
            new.model,
            new.prompt_id.map(|id| id.uuid()),
            new.prompt_version,
            new.prompt_label,
            Json(new.variables.unwrap_or_default()) as _,
            Json(new.settings.unwrap_or_default()) as _,
            wire::now(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(Into::into))
    }

    /// A conversation of the caller.
    pub async fn find_conversation(
        &self,
        caller: Principal,
        id: ConversationId,
    ) -> sqlx::Result<Option<Conversation>> {
        let row = sqlx::query_as!(
            Row,
            r#"select c.id, c.project_id, c.title, c.model, c.prompt_id, c.prompt_version, c.prompt_label,
                      c.variables as "variables: _", c.settings as "settings: _", c.created_at,
                      greatest(c.updated_at, (select t.created_at from turns t where t.conversation_id = c.id
                                              order by t.seq desc limit 1)) as "updated_at!"
               from conversations c where c.id = $1 and c.user_id = $2 and c.deleted_at is null"#,
            id.uuid(),
            caller.user().uuid(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(Into::into))
    }

    /// The conversations of a project of the caller behind `after`, oldest first: at most `limit`, and no more than fit into
    /// a reply.
    pub async fn list_conversations(
        &self,
        caller: Principal,
        project: wire::ProjectId,
        after: Option<Uuid>,
        limit: i64,
    ) -> sqlx::Result<Found<Conversation>> {
        let rows = sqlx::query!(
            r#"with found as (
                   select c.*, sum(octet_length(c.variables::text) + octet_length(c.settings::text)
                                   + octet_length(to_json(coalesce(c.title, ''))::text) + $6) over (order by c.id) as bytes
                   from conversations c
                   where c.project_id = $1 and c.user_id = $2 and c.deleted_at is null
                       and ($3::uuid is null or c.id > $3)
                   order by c.id limit $4
               )
               select c.id, c.project_id, c.title, c.model, c.prompt_id, c.prompt_version, c.prompt_label,
                      c.variables as "variables: Json<Map<String, Value>>", c.settings as "settings: Json<Settings>",
                      c.created_at,
                      greatest(c.updated_at, (select t.created_at from turns t where t.conversation_id = c.id
                                              order by t.seq desc limit 1)) as "updated_at!",
                      (select count(*) from found) as "found!"
               from found c where bytes <= $5 order by c.id"#,
            project.uuid(),
            caller.user().uuid(),
            after,
            limit + 1,
            PAGE_BYTES_MAX,
            FRAME_BYTES,
        )
        .fetch_all(&self.pool)
        .await?;
        let found = rows.first().map_or(0, |row| row.found);
        let conversations = rows.into_iter().map(|row| Conversation {
            id: row.id.into(),
            project_id: row.project_id.into(),
            title: row.title,
            model: row.model,
            prompt_id: row.prompt_id.map(Into::into),
            prompt_version: row.prompt_version,
            prompt_label: row.prompt_label,
            variables: row.variables.0,
            settings: row.settings.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
        });
        Ok(Found::new(conversations, found, limit))
    }

    /// Whether a project is the caller's.
    pub(crate) async fn owns_project(
        &self,
        caller: Principal,
        project: wire::ProjectId,
    ) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"select exists (select from projects where id = $1 and user_id = $2) as "exists!""#,
            project.uuid(),
            caller.user().uuid(),
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Changes what is given; the prompt as a whole.
    pub async fn update_conversation(
        &self,
        caller: Principal,
        id: ConversationId,
        change: UpdateConversation,
        prompt: Option<PromptChoice>,
    ) -> sqlx::Result<bool> {
        let (new_prompt, prompt) = (prompt.is_some(), prompt.unwrap_or_default());
        let done = sqlx::query!(
            r#"update conversations set
                   title = case when $3 then $4 else title end,
                   model = case when $5 then $6 else model end,
                   settings = coalesce($7, settings),
                   variables = coalesce($8, variables),
                   prompt_id = case when $9 then $10 else prompt_id end,
                   prompt_version = case when $9 then $11 else prompt_version end,
                   prompt_label = case when $9 then $12 else prompt_label end,
                   updated_at = $13
               where id = $1 and user_id = $2 and deleted_at is null"#,
            id.uuid(),
            caller.user().uuid(),
            change.title.is_some(),
            change.title.flatten(),
            change.model.is_some(),
            change.model.flatten(),
            change.settings.map(Json) as _,
            change.variables.map(Json) as _,
            new_prompt,
            prompt.prompt_id.map(|id| id.uuid()),
            prompt.version,
            prompt.label,
            wire::now(),
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes a conversation: from now on nothing of it can be read or sent.
    pub async fn delete_conversation(&self, caller: Principal, id: ConversationId) -> sqlx::Result<bool> {
        let done = sqlx::query!(
            "update conversations set deleted_at = $3 where id = $1 and user_id = $2 and deleted_at is null",
            id.uuid(),
            caller.user().uuid(),
            wire::now(),
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
