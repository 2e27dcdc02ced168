//! A conversation as its owner loads it: what was said, and which turns are still open.

use std::sync::Arc;

use identity::Principal;
use serde_json::Value;
use uuid::Uuid;
use wire::{
    ConversationId, MessageId, ProjectId, PromptChoice, PromptId, Settings, TurnId, TurnKind, UserId,
};

use super::Store;
use crate::{
    model::{BodyHash, Opening},
    question::Question,
};

/// A conversation that exists, or of which there are turns.
#[derive(Debug)]
pub struct History {
    /// Its owner.
    pub user: UserId,
    /// Nothing of it may be read or added any more; what is open needs an outcome all the same.
    pub deleted: bool,
    /// The place of the next turn.
    pub next_seq: i64,
    /// The newest turns of the active path, all that are open, and what came before those, by their places.
    pub turns: Vec<PastTurn>,
}

/// A turn of a conversation.
#[derive(Debug, Clone)]
pub struct PastTurn {
    /// Its id.
    pub id: TurnId,
    /// Its place in the conversation.
    pub seq: i64,
    /// What it was asked for by.
    pub kind: TurnKind,
    /// The turn that its message follows.
    pub parent: Option<TurnId>,
    /// The id of the user's message.
    pub user_message: MessageId,
    /// What was said.
    pub question: Question,
    /// What was answered; absent when it failed, or is open.
    pub answer: Option<Arc<str>>,
    /// What is needed to go on with it, if it is open.
    pub open: Option<OpenTurn>,
}

/// A turn without an outcome.
#[derive(Debug, Clone)]
pub struct OpenTurn {
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
    /// Its user wants it no more.
    pub cancelled: bool,
}

/// How much of a conversation a model is told.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Messages.
    pub messages_max: u32,
    /// Bytes of them.
    pub bytes_max: u32,
}

/// More turns than can be open in a conversation: its queue is bounded.
pub(super) const OPEN_TURNS_MAX: i64 = 64;

impl Store {
    /// Loads a conversation with what a turn to come is told of, and what its open turns are told of (see
    /// [`Store::load_path`]). The cost does not grow with the length of the conversation. None if there never was one.
    pub async fn load_history(&self, id: ConversationId, bounds: Bounds) -> sqlx::Result<Option<History>> {
        let found = sqlx::query!(
            r#"select c.user_id as "owner?", c.deleted_at, t.user_id as "sender?", t.seq as "seq?",
                      (select t.id from turns t
                       where t.conversation_id = $1
                         and (t.kind <> 'regenerate'
                              or (select o.status from outcomes o where o.turn_id = t.id) = 'completed')
                       order by t.seq desc limit 1) as leaf,
                      array(select r.id
                            from (select id, seq from turns where conversation_id = $1 order by seq desc limit $2) r
                            where (select o.turn_id from outcomes o where o.turn_id = r.id) is null
                            order by r.seq desc) as "open!: Vec<Uuid>"
               from (select 1) one
               left join conversations c on c.id = $1
               left join lateral (select user_id, seq from turns where conversation_id = $1 order by seq desc limit 1) t
                   on true"#,
            id.uuid(),
            OPEN_TURNS_MAX,
        )
        .fetch_one(&self.pool)
        .await?;
        let Some(user) = found.owner.or(found.sender) else { return Ok(None) };
        let mut turns: Vec<PastTurn> = Vec::new();
        for end in found.leaf.into_iter().chain(found.open).map(TurnId::from) {
            if turns.iter().all(|turn| turn.id != end) {
                let path = self.load_path(id, end, bounds).await?;
                let new: Vec<_> =
                    path.into_iter().filter(|turn| turns.iter().all(|known| known.id != turn.id)).collect();
                turns.extend(new);
            }
        }
        turns.sort_unstable_by_key(|turn| turn.seq);
        Ok(Some(History {
            user: user.into(),
            deleted: found.owner.is_none() || found.deleted_at.is_some(),
            next_seq: found.seq.map_or(0, |seq| seq + 1),
            turns,
        }))
    }

    /// A turn of a conversation and what came before it, oldest first, as far back as one is told of it that follows the turn,
    /// or the turn before it, or an open turn between; nothing if it is not there.
    ///
    /// Each row is reached by key from the one after it: a join could be planned as a scan while the tables are empty.
    pub async fn load_path(
        &self,
        conversation: ConversationId,
        end: TurnId,
        bounds: Bounds,
    ) -> sqlx::Result<Vec<PastTurn>> {
        let rows = sqlx::query_file!(
            "src/store/path.sql",
            conversation.uuid(),
            end.uuid(),
            i64::from(bounds.messages_max),
            i64::from(bounds.bytes_max),
        )
        .fetch_all(&self.pool)
        .await?;
        let turns = rows.into_iter().map(|row| PastTurn {
            id: row.id.into(),
            seq: row.seq,
            kind: super::kind_from(&row.kind),
            parent: row.parent.map(Into::into),
            user_message: row.user_message_id.into(),
            question: Question::stored(row.question, row.images),
            answer: row.answer.map(Into::into),
            open: (!row.closed).then(|| OpenTurn {
                idempotency_key: row.idempotency_key,
                body_hash: BodyHash(row.body_hash.try_into().unwrap_or_default()),
                model: row.model,
                settings: settings_from(row.settings),
                opening: Opening::of(row.prompt_id, row.prompt_version, row.variables),
                attempts: row.attempts,
                cancelled: row.cancelled,
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
