//! A conversation as its owner loads it: what was said, and which turns are still open.

use std::sync::Arc;

use identity::Principal;
use serde_json::Value;
use wire::{ConversationId, MessageId, ProjectId, PromptChoice, PromptId, Settings, TurnId, UserId};

use super::Store;
use crate::model::{BodyHash, Opening};

/// A conversation that exists, or of which there are turns.
#[derive(Debug)]
pub struct History {
    /// Its owner.
    pub user: UserId,
    /// Nothing of it may be read or added any more; what is open needs an outcome all the same.
    pub deleted: bool,
    /// The place of the next turn.
    pub next_seq: i64,
    /// The newest turns of the active path, oldest first, the open ones included.
    pub turns: Vec<PastTurn>,
}

/// A turn of the active path.
#[derive(Debug)]
pub struct PastTurn {
    /// Its id.
    pub id: TurnId,
    /// What was said.
    pub question: Arc<str>,
    /// What was answered; absent when it failed, or is open.
    pub answer: Option<Arc<str>>,
    /// What is needed to go on with it, if it is open.
    pub open: Option<OpenTurn>,
}

/// A turn without an outcome.
#[derive(Debug)]
pub struct OpenTurn {
    /// Its place in the conversation.
    pub seq: i64,
    /// The id of the user's message.
    pub user_message: MessageId,
    /// The key it was sent with.
    pub idempotency_key: Option<String>,
    /// The hash of its body.
    pub body_hash: BodyHash,
    /// The model to call.
    pub model: String,
    /// How to call it.
    pub settings: Settings,
    /// The prompt that goes first.
    pub opening: Option<Opening>,
    /// Calls to the provider that were, or may have been, made.
    pub attempts: i16,
}

impl Store {
    /// Loads a conversation with the newest `turns_max` turns of its active path. The cost does not grow with the length
    /// of the conversation. None if there never was one.
    pub async fn load_history(&self, id: ConversationId, turns_max: i32) -> sqlx::Result<Option<History>> {
        let found = sqlx::query!(
            r#"select c.user_id as "owner?", c.variables as "variables?", c.deleted_at, t.user_id as "sender?", t.seq as "seq?"
               from (select 1) one
               left join conversations c on c.id = $1
               left join lateral (select user_id, seq from turns where conversation_id = $1 order by seq desc limit 1) t
                   on true"#,
            id.uuid(),
        )
        .fetch_one(&self.pool)
        .await?;
        let Some(user) = found.owner.or(found.sender) else { return Ok(None) };
        let turns = if found.seq.is_some() {
            self.load_path(id, turns_max, found.variables).await?
        } else {
            Vec::new()
        };
        Ok(Some(History {
            user: user.into(),
            deleted: found.owner.is_none() || found.deleted_at.is_some(),
            next_seq: found.seq.map_or(0, |seq| seq + 1),
            turns,
        }))
    }

    async fn load_path(
        &self,
        id: ConversationId,
        turns_max: i32,
        variables: Option<Value>,
    ) -> sqlx::Result<Vec<PastTurn>> {
        let rows = sqlx::query!(
            r#"with recursive path (turn_id, user_message_id, depth) as (
                   (select t.id, t.user_message_id, 1 from turns t where t.conversation_id = $1 order by t.seq desc limit 1)
                   union all
                   select t.id, t.user_message_id, p.depth + 1
                   from path p
                   join messages m on m.id = p.user_message_id
                   join turns t on t.id = m.parent_id
                   where p.depth < $2
               )
               select t.id as "id!", t.seq as "seq!", t.user_message_id as "user_message_id!", t.idempotency_key,
                      t.body_hash as "body_hash!", t.model as "model!", t.settings,
                      t.prompt_id, t.prompt_version,
                      (select m.content from messages m where m.id = p.user_message_id) as "question!",
                      (select m.content from messages m where m.id = p.turn_id) as answer,
                      exists (select from outcomes o where o.turn_id = p.turn_id) as "closed!",
                      coalesce((select max(a.number) from attempts a where a.turn_id = p.turn_id), 1::smallint) as "attempts!"
               from path p join turns t on t.id = p.turn_id
               order by p.depth desc"#,
            id.uuid(),
            turns_max,
        )
        .fetch_all(&self.pool)
        .await?;
        let turns = rows.into_iter().map(|row| PastTurn {
            id: row.id.into(),
            question: row.question.into(),
            answer: row.answer.map(Into::into),
            open: (!row.closed).then(|| OpenTurn {
                seq: row.seq,
                user_message: row.user_message_id.into(),
                idempotency_key: row.idempotency_key,
                body_hash: BodyHash(row.body_hash.try_into().unwrap_or_default()),
                model: row.model,
                settings: settings_from(row.settings),
                opening: Opening::of(row.prompt_id, row.prompt_version, variables.clone()),
                attempts: row.attempts,
            }),
        });
        Ok(turns.collect())
    }

    /// The content of a prompt's version. That the prompt may be used was proven when the conversation was told so.
    pub async fn load_prompt(&self, prompt: PromptId, version: i32) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar!(
            "select content from prompt_versions where prompt_id = $1 and version = $2",
            prompt.uuid(),
            version,
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// The content of the prompt that a conversation in this project would open with now; the choice names a prompt.
    pub async fn chosen_prompt(
        &self,
        caller: Principal,
        project: ProjectId,
        choice: &PromptChoice,
    ) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar!(
            "select v.content
             from projects p
             join prompts r on r.project_id = p.id
             join prompt_versions v on v.prompt_id = r.id
             where p.user_id = $1 and p.id = $2 and r.id = $3 and v.version = case
                 when $4::integer is not null then $4
                 when $5::text is not null then
                     (select l.version from prompt_labels l where l.prompt_id = r.id and l.label = $5)
                 else r.current_version end",
            caller.user().uuid(),
            project.uuid(),
            choice.prompt_id.map(|id| id.uuid()),
            choice.version,
            choice.label,
        )
        .fetch_optional(&self.pool)
        .await
    }
}

/// Settings as stored; one that this version does not know is left to the provider.
pub(crate) fn settings_from(stored: Option<Value>) -> Settings {
    stored.and_then(|stored| serde_json::from_value(stored).ok()).unwrap_or_default()
}
