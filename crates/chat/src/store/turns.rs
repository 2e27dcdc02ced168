//! A turn as it stands, with its outcome when it has one.

use identity::Principal;
use serde_json::Value;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;
use wire::{
    Answer, Call, ConversationId, Fault, FaultCode, Image, Message, MessageId, Problem, Role, Turn, TurnId,
    TurnStatus, Usage, UserId,
};

use super::{
    Store,
    calls::{self, AnswerCall, StoredCall},
    history::OPEN_TURNS_MAX,
};
use crate::model::{Accepted, AnswerParts, BodyHash, NewTurn, Opening, answer};

/// A turn from the database.
#[derive(Debug)]
pub struct StoredTurn {
    /// Its id.
    pub id: TurnId,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// The hash of its body.
    pub body_hash: BodyHash,
    /// Its outcome as a reply; absent while it is open.
    pub outcome: Option<Result<Answer, Fault>>,
    /// What Postgres made of it when it accepted it.
    pub accepted: Accepted,
    /// As its owner sees it.
    pub view: Turn,
}

/// What a send turned out to be.
#[derive(Debug)]
pub enum Sent {
    /// This turn.
    Turn(Box<StoredTurn>),
    /// A turn of a conversation that is deleted.
    ElsewhereAndGone,
    /// Not there, and neither is its conversation.
    NoConversation,
    /// It was written at this place, and its conversation was deleted since.
    WrittenAndGone {
        /// Counts the conversation's turns from 0.
        seq: i64,
    },
    /// Not there; the conversation's next turn has this place.
    Nothing {
        /// Counts the conversation's turns from 0.
        next_seq: i64,
    },
}

struct Row {
    id: Uuid,
    conversation_id: Uuid,
    seq: i64,
    kind: String,
    idempotency_key: Option<String>,
    body_hash: Vec<u8>,
    user_message_id: Uuid,
    model: String,
    settings: Option<Value>,
    prompt_id: Option<Uuid>,
    prompt_version: Option<i32>,
    variables: Option<Value>,
    created_at: OffsetDateTime,
    question: String,
    question_parent: Option<Uuid>,
    question_at: OffsetDateTime,
    question_turn: Uuid,
    question_seq: i64,
    question_images: Option<Json<Vec<Image>>>,
    attempts: i16,
    status: Option<String>,
    finish_reason: Option<String>,
    altered: Option<bool>,
    answered_by: Option<String>,
    prompt_tokens: Option<i32>,
    completion_tokens: Option<i32>,
    fault: Option<Json<StoredFault>>,
    finished_at: Option<OffsetDateTime>,
    answered_at_attempt: Option<i16>,
    provider: Option<String>,
    cost_micros: Option<i64>,
    timings: Option<Value>,
    calls: Option<Json<Vec<StoredCall>>>,
    answer: Option<String>,
    partial: Option<String>,
    before: Option<i64>,
}

#[derive(serde::Deserialize)]
struct StoredFault {
    code: FaultCode,
    message: String,
}

impl Store {
    /// A turn of the caller, unless its conversation is deleted.
    pub async fn find_turn(&self, caller: Principal, id: TurnId) -> sqlx::Result<Option<StoredTurn>> {
        self.find(caller.user(), Some(id), None).await
    }

    /// The turn that a user sent with this key.
    pub async fn find_turn_by_key(&self, user: UserId, key: &str) -> sqlx::Result<Option<StoredTurn>> {
        self.find(user, None, Some(key)).await
    }

    /// What is known of a send that could not be accepted as a new turn.
    pub async fn look_up(&self, sent: &NewTurn) -> sqlx::Result<Sent> {
        let found = sqlx::query!(
            r#"select (select t.id from turns t where t.user_id = $2 and t.idempotency_key = $4) as by_key,
                      (select t.conversation_id from turns t where t.user_id = $2 and t.idempotency_key = $4)
                          as key_of,
                      (select t.id from turns t where t.id = $3) as by_id,
                      (select t.seq from turns t where t.id = $3) as own_seq,
                      (select c.id from conversations c
                       where c.id = $1 and c.user_id = $2 and c.deleted_at is null) as conversation,
                      (select t.seq from turns t where t.conversation_id = $1 order by t.seq desc limit 1) as seq"#,
            sent.conversation.uuid(),
            sent.user.uuid(),
            sent.id.uuid(),
            sent.idempotency_key,
        )
        .fetch_one(&self.pool)
        .await?;
        let elsewhere = found.key_of.is_some_and(|conversation| conversation != sent.conversation.uuid());
        match (found.by_key.or(found.by_id), found.conversation) {
            (_, None) if let Some(seq) = found.own_seq => Ok(Sent::WrittenAndGone { seq }),
            (_, None) if !elsewhere => Ok(Sent::NoConversation),
            (Some(id), _) => {
                let turn = self.find(sent.user, Some(id.into()), None).await?;
                // Gone since the look above: that of another conversation, or this one.
                let gone = if elsewhere { Sent::ElsewhereAndGone } else { Sent::NoConversation };
                Ok(turn.map_or(gone, |turn| Sent::Turn(Box::new(turn))))
            }
            (None, _) => Ok(Sent::Nothing { next_seq: found.seq.map_or(0, |seq| seq + 1) }),
        }
    }

    async fn find(
        &self,
        user: UserId,
        id: Option<TurnId>,
        key: Option<&str>,
    ) -> sqlx::Result<Option<StoredTurn>> {
        let row = sqlx::query_as!(
            Row,
            r#"with wanted as (
                   select * from turns where id = $2 and user_id = $1
                   union all
                   select * from turns where idempotency_key = $3 and user_id = $1
               )
               select t.id as "id!", t.conversation_id as "conversation_id!", t.seq as "seq!", t.kind as "kind!",
                      t.idempotency_key, t.body_hash as "body_hash!", t.user_message_id as "user_message_id!", t.model as "model!",
                      t.settings, t.prompt_id, t.prompt_version,
                      case when t.prompt_id is not null then c.variables end as variables,
                      t.created_at as "created_at!",
                      q.content as "question!", q.parent_id as question_parent, q.created_at as "question_at!",
                      q.turn_id as "question_turn!", q.seq as "question_seq!",
                      q.images as "question_images: Json<Vec<Image>>",
                      coalesce((select max(a.number) from attempts a where a.turn_id = t.id), 1::smallint) as "attempts!",
                      o.status as "status?", o.finish_reason, o.altered, o.model as "answered_by?", o.prompt_tokens,
                      o.completion_tokens,
                      case when o.fault_code is not null
                           then jsonb_build_object('code', o.fault_code, 'message', o.fault_message) end
                          as "fault: Json<StoredFault>",
                      o.finished_at as "finished_at?", o.attempt as answered_at_attempt, o.provider, o.cost_micros, o.timings,
                      (select jsonb_agg(to_jsonb(d)) from calls d where d.turn_id = t.id) as "calls: Json<Vec<StoredCall>>",
                      (select m.content from messages m where m.id = t.id) as answer,
                      (select p.content from partial_answers p where p.turn_id = t.id) as partial,
                      case when o.turn_id is null then
                          (select count(*) from turns b
                           where b.conversation_id = t.conversation_id and b.seq < t.seq and b.seq >= t.seq - $4::bigint
                             and (select bo.turn_id from outcomes bo where bo.turn_id = b.id) is null) end as before
               from wanted t
               join conversations c on c.id = t.conversation_id and c.deleted_at is null
               join messages q on q.id = t.user_message_id
               left join outcomes o on o.turn_id = t.id"#,
            user.uuid(),
            id.map(|id| id.uuid()),
            key,
            OPEN_TURNS_MAX,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(Into::into))
    }
}

impl Row {
    /// The calls to providers that have ended.
    fn calls(&mut self) -> Vec<Call> {
        let tokens = |count: Option<i32>| count.and_then(|count| u32::try_from(count).ok());
        let answer = self.answered_at_attempt.map(|attempt| AnswerCall {
            attempt,
            provider: self.provider.take(),
            model: self.answered_by.clone(),
            prompt_tokens: tokens(self.prompt_tokens),
            completion_tokens: tokens(self.completion_tokens),
            cost_micros: self.cost_micros.and_then(|cost| u64::try_from(cost).ok()),
            timings: self.timings.take(),
        });
        calls::calls(self.calls.take().map(|calls| calls.0).unwrap_or_default(), answer)
    }

    fn question(&mut self) -> Message {
        Message {
            id: self.user_message_id.into(),
            conversation_id: self.conversation_id.into(),
            parent_id: self.question_parent.map(Into::into),
            turn_id: self.question_turn.into(),
            seq: self.question_seq,
            role: Role::User,
            content: std::mem::take(&mut self.question),
            images: self.question_images.take().map(|images| images.0).unwrap_or_default(),
            created_at: self.question_at,
        }
    }
}

impl From<Row> for StoredTurn {
    fn from(mut row: Row) -> Self {
        let calls = row.calls();
        let (id, conversation) = (TurnId::from(row.id), ConversationId::from(row.conversation_id));
        let question = row.question();
        let usage = usage(row.prompt_tokens, row.completion_tokens);
        let fault = row.fault.map(|fault| Fault::because(fault.0.code, fault.0.message).of_turn(id));
        let user_message = MessageId::from(row.user_message_id);
        let answer = row.answer.zip(row.finished_at).map(|(text, finished_at)| {
            answer(AnswerParts {
                turn: id,
                conversation,
                user_message,
                answer_seq: 2 * row.seq + 1,
                text,
                finished_at,
                usage,
                finish_reason: row.finish_reason.unwrap_or_default(),
                altered: row.altered.unwrap_or_default(),
                model: row.answered_by.unwrap_or_default(),
            })
        });
        let queue_position =
            row.before.and_then(|before| u32::try_from(before).ok()).filter(|before| *before > 0);
        let status = status(row.status.as_deref(), queue_position.is_some());
        let messages =
            std::iter::once(question).chain(answer.as_ref().map(|answer| answer.message.clone())).collect();
        let accepted = Accepted {
            model: row.model.clone(),
            settings: super::settings_from(row.settings),
            opening: Opening::of(row.prompt_id, row.prompt_version, row.variables),
        };
        let view = Turn {
            id,
            conversation_id: conversation,
            kind: super::kind_from(&row.kind),
            status,
            queue_position,
            wait_ms: None,
            attempt: row.attempts,
            seq: row.seq,
            idempotency_key: row.idempotency_key,
            model: row.model,
            prompt_id: row.prompt_id.map(Into::into),
            prompt_version: row.prompt_version,
            created_at: row.created_at,
            finished_at: row.finished_at,
            usage,
            finish_reason: answer.as_ref().map(|answer| answer.finish_reason.clone()),
            altered: answer.as_ref().map(|answer| answer.altered),
            answered_by: answer.as_ref().map(|answer| answer.model.clone()),
            fault: fault.as_ref().map(|fault| Problem::of(fault, None)),
            partial: row.partial,
            cost_micros: calls::cost_micros(&calls),
            calls,
            messages,
        };
        let outcome = match (answer, fault) {
            _ if status == TurnStatus::Cancelled => {
                Some(Err(Fault::new(FaultCode::TurnCancelled).of_turn(id)))
            }
            (_, Some(fault)) => Some(Err(fault)),
            (Some(answer), None) => Some(Ok(answer)),
            (None, None) => None,
        };
        let body_hash = BodyHash(row.body_hash.try_into().unwrap_or_default());
        Self { id, conversation, body_hash, outcome, accepted, view }
    }
}

fn status(of_outcome: Option<&str>, waits: bool) -> TurnStatus {
    match of_outcome {
        None if waits => TurnStatus::Queued,
        None => TurnStatus::Running,
        Some("completed") => TurnStatus::Completed,
        Some("cancelled") => TurnStatus::Cancelled,
        Some(_) => TurnStatus::Failed,
    }
}

fn usage(prompt: Option<i32>, completion: Option<i32>) -> Option<Usage> {
    let (prompt_tokens, completion_tokens) = (u32::try_from(prompt?).ok()?, u32::try_from(completion?).ok()?);
    Some(Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens })
}
