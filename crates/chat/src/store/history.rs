//! A conversation as its owner loads it: what was said, and which turns are still open.

use std::sync::Arc;

use identity::Principal;
use serde_json::{Map, Value};
use sqlx::types::Json;
use wire::{ConversationId, MessageId, NewConversation, PromptId, Settings, TurnId, UserId};

use super::Store;
use crate::model::{BodyHash, PromptVersion};

/// A conversation that exists, or of which there are turns.
#[derive(Debug)]
pub struct History {
    /// Its owner.
    pub user: UserId,
    /// Nothing of it may be read or added any more; what is open needs an outcome all the same.
    pub deleted: bool,
    /// Its prompt.
    pub prompt: Option<PromptId>,
    /// It follows a label of the prompt.
    pub follows_label: bool,
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
    /// The version of the prompt.
    pub prompt_version: Option<i32>,
    /// Calls to the provider that were, or may have been, made.
    pub attempts: i16,
}

impl Store {
    /// Loads a conversation with the newest `turns_max` turns of its active path. The cost does not grow with the length
    /// of the conversation. None if there never was one.
    pub async fn load_history(&self, id: ConversationId, turns_max: i32) -> sqlx::Result<Option<History>> {
        let found = sqlx::query!(
            r#"select c.user_id as "owner?", c.prompt_id, c.prompt_label, c.deleted_at, t.user_id as "sender?", t.seq as "seq?"
               from (select 1) one
               left join conversations c on c.id = $1
               left join lateral (select user_id, seq from turns where conversation_id = $1 order by seq desc limit 1) t
                   on true"#,
            id.uuid(),
        )
        .fetch_one(&self.pool)
        .await?;
        let Some(user) = found.owner.or(found.sender) else { return Ok(None) };
        let turns = if found.seq.is_some() { self.load_path(id, turns_max).await? } else { Vec::new() };
        Ok(Some(History {
            user: user.into(),
            deleted: found.owner.is_none() || found.deleted_at.is_some(),
            prompt: found.prompt_id.map(Into::into),
            follows_label: found.prompt_label.is_some(),
            next_seq: found.seq.map_or(0, |seq| seq + 1),
            turns,
        }))
    }

    async fn load_path(&self, id: ConversationId, turns_max: i32) -> sqlx::Result<Vec<PastTurn>> {
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
                      t.prompt_version,
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
                prompt_version: row.prompt_version,
                attempts: row.attempts,
            }),
        });
        Ok(turns.collect())
    }

    /// The content of a prompt's version, and the values that a conversation has for its variables. The owner was proven when
    /// the conversation's turn was accepted.
    pub async fn load_prompt(
        &self,
        conversation: ConversationId,
        of: PromptVersion,
    ) -> sqlx::Result<Option<(String, Map<String, Value>)>> {
        let found = sqlx::query!(
            r#"select v.content, c.variables as "variables: Json<Map<String, Value>>"
               from prompt_versions v, conversations c where v.prompt_id = $1 and v.version = $2 and c.id = $3"#,
            of.prompt.uuid(),
            of.version,
            conversation.uuid(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.map(|found| (found.content, found.variables.0)))
    }

    /// The content of the version that a new conversation would begin with.
    pub async fn chosen_prompt(
        &self,
        caller: Principal,
        new: &NewConversation,
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
            new.project_id.uuid(),
            new.prompt_id.map(|id| id.uuid()),
            new.prompt_version,
            new.prompt_label,
        )
        .fetch_optional(&self.pool)
        .await
    }
}

/// Settings as stored; one that this version does not know is left to the provider.
pub(crate) fn settings_from(stored: Option<Value>) -> Settings {
    stored.and_then(|stored| serde_json::from_value(stored).ok()).unwrap_or_default()
}
