//! Conversations themselves: made, shown, changed, deleted. Their turns are elsewhere.

use identity::Principal;
use serde_json::{Map, Value};
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;
use wire::{
    Conversation, ConversationId, Message, NewConversation, Role, Settings, UpdateConversation, limits,
};

use super::Store;

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

/// What a new conversation may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    /// The project is there, and the caller's.
    pub project: bool,
    /// The prompt is in it.
    pub prompt: bool,
    /// The prompt has this version or label.
    pub version: bool,
}

impl Store {
    /// Whether what a new conversation refers to exists and is the caller's.
    pub async fn surroundings(&self, caller: Principal, new: &NewConversation) -> sqlx::Result<Surroundings> {
        let prompt = new.prompt_id.map(|id| id.uuid());
        sqlx::query_as!(
            Surroundings,
            r#"select p.id is not null as "project!",
                      $3::uuid is null or r.id is not null as "prompt!",
                      ($4::integer is null or exists (
                          select from prompt_versions v where v.prompt_id = r.id and v.version = $4))
                      and ($5::text is null or exists (
                          select from prompt_labels l where l.prompt_id = r.id and l.label = $5)) as "version!"
               from (select 1) one
               left join projects p on p.id = $1 and p.user_id = $2
               left join prompts r on r.id = $3 and r.project_id = p.id"#,
            new.project_id.uuid(),
            caller.user().uuid(),
            prompt,
            new.prompt_version,
            new.prompt_label,
        )
        .fetch_one(&self.pool)
        .await
    }

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

    /// The conversations of a project of the caller, oldest first; None if there is no such project.
    pub async fn list_conversations(
        &self,
        caller: Principal,
        project: wire::ProjectId,
    ) -> sqlx::Result<Option<Vec<Conversation>>> {
        let rows = sqlx::query_as!(
            Row,
            r#"select c.id, c.project_id, c.title, c.model, c.prompt_id, c.prompt_version, c.prompt_label,
                      c.variables as "variables: _", c.settings as "settings: _", c.created_at,
                      greatest(c.updated_at, (select t.created_at from turns t where t.conversation_id = c.id
                                              order by t.seq desc limit 1)) as "updated_at!"
               from conversations c where c.project_id = $1 and c.user_id = $2 and c.deleted_at is null
               order by c.id limit $3"#,
            project.uuid(),
            caller.user().uuid(),
            i64::from(limits::PAGE_ENTRIES_MAX),
        )
        .fetch_all(&self.pool)
        .await?;
        if rows.is_empty() && !self.owns_project(caller, project).await? {
            return Ok(None);
        }
        Ok(Some(rows.into_iter().map(Into::into).collect()))
    }

    async fn owns_project(&self, caller: Principal, project: wire::ProjectId) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"select exists (select from projects where id = $1 and user_id = $2) as "exists!""#,
            project.uuid(),
            caller.user().uuid(),
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Changes what is given.
    pub async fn update_conversation(
        &self,
        caller: Principal,
        id: ConversationId,
        change: UpdateConversation,
    ) -> sqlx::Result<bool> {
        let done = sqlx::query!(
            r#"update conversations set
                   title = case when $3 then $4 else title end,
                   model = case when $5 then $6 else model end,
                   settings = coalesce($7, settings),
                   updated_at = $8
               where id = $1 and user_id = $2 and deleted_at is null"#,
            id.uuid(),
            caller.user().uuid(),
            change.title.is_some(),
            change.title.flatten(),
            change.model.is_some(),
            change.model.flatten(),
            change.settings.map(Json) as _,
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

    /// The messages of the path from the newest turn to the first, oldest first.
    pub async fn active_path(&self, caller: Principal, id: ConversationId) -> sqlx::Result<Vec<Message>> {
        let rows = sqlx::query_as!(
            MessageRow,
            r#"with recursive path (turn_id, user_message_id, depth) as (
                   (select t.id, t.user_message_id, 0
                    from conversations c join turns t on t.conversation_id = c.id
                    where c.id = $1 and c.user_id = $2 and c.deleted_at is null
                    order by t.seq desc limit 1)
                   union all
                   select t.id, t.user_message_id, p.depth + 1
                   from path p
                   join messages m on m.id = p.user_message_id
                   join turns t on t.id = m.parent_id
                   where p.depth < $3
               )
               select m.id as "id!", m.conversation_id as "conversation_id!", m.parent_id, m.turn_id as "turn_id!",
                      m.seq as "seq!", m.role as "role!", m.content as "content!", m.created_at as "created_at!"
               from path p
               cross join lateral (select * from messages where id = p.user_message_id
                                   union all select * from messages where id = p.turn_id) m
               order by p.depth desc, m.role desc"#,
            id.uuid(),
            caller.user().uuid(),
            i32::try_from(limits::PAGE_ENTRIES_MAX / 2).unwrap_or(i32::MAX),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// The newest messages of all branches, in the order they were written.
    pub async fn all_branches(&self, caller: Principal, id: ConversationId) -> sqlx::Result<Vec<Message>> {
        let rows = sqlx::query_as!(
            MessageRow,
            r#"select m.id as "id!", m.conversation_id as "conversation_id!", m.parent_id, m.turn_id as "turn_id!",
                      m.seq as "seq!", m.role as "role!", m.content as "content!", m.created_at as "created_at!"
               from conversations c
               join turns t on t.conversation_id = c.id
               cross join lateral (select * from messages where id = t.user_message_id and turn_id = t.id
                                   union all select * from messages where id = t.id) m
               where c.id = $1 and c.user_id = $2 and c.deleted_at is null
               order by t.seq desc, m.role limit $3"#,
            id.uuid(),
            caller.user().uuid(),
            i64::from(limits::PAGE_ENTRIES_MAX),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().rev().map(Into::into).collect())
    }
}

pub(super) struct MessageRow {
    pub id: Uuid,
    pub conversation_id: Uuid,
    pub parent_id: Option<Uuid>,
    pub turn_id: Uuid,
    pub seq: i64,
    pub role: String,
    pub content: String,
    pub created_at: OffsetDateTime,
}

impl From<MessageRow> for Message {
    fn from(row: MessageRow) -> Self {
        Self {
            id: row.id.into(),
            conversation_id: row.conversation_id.into(),
            parent_id: row.parent_id.map(Into::into),
            turn_id: row.turn_id.into(),
            seq: row.seq,
            role: if row.role == "user" { Role::User } else { Role::Assistant },
            content: row.content,
            created_at: row.created_at,
        }
    }
}
