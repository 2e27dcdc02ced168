//! All that the checks look at: what clients saw, what the provider saw, what Postgres holds, what was done.

use std::collections::HashMap;

use llm::simulator::{Call, Ended};
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    driver::{Reading, Sent, Talk},
    fault::Injected,
    history::{Event, Micros},
};

/// Everything of a run.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What clients did and were told.
    pub events: Vec<Event>,
    /// Every conversation.
    pub talks: Vec<Talk>,
    /// Every message that clients sent.
    pub sent: Vec<Sent>,
    /// What readers of turns were told.
    pub readings: Vec<Reading>,
    /// Every call to the provider.
    pub calls: Vec<Asked>,
    /// What Postgres holds in the end.
    pub dump: Dump,
    /// Whether it held the same two seconds later.
    pub settled: bool,
    /// What every owner reads in the end.
    pub reads: Vec<Read>,
    /// What was done.
    pub faults: Vec<Injected>,
    /// What processes were seen to use, once a second.
    pub samples: Vec<Sample>,
    /// What was found in logs that may not be there: which log, and what.
    pub leaks: Vec<(String, String)>,
    /// When the fresh turns at the end began, and when they had ended.
    pub tail: (Micros, Micros),
    /// Messages left in the stream at the end, and unacknowledged ones.
    pub left: (u64, u64),
    /// Names of the processes that run at the end, as in the record of writes, of workers alone.
    pub workers: Vec<String>,
    /// How long a turn may take, the time of faults not counted, in microseconds.
    pub turn_max: Micros,
    /// The bound of the histories that the provider is told.
    pub history_messages_max: usize,
}

/// A call to the provider.
#[derive(Debug, Clone)]
pub struct Asked {
    /// For which turn.
    pub turn: Uuid,
    /// Which attempt.
    pub attempt: i16,
    /// The digest of its prompt.
    pub digest: u64,
    /// When it had come.
    pub began: Micros,
    /// When it was over.
    pub ended: Micros,
    /// Whether an explicit finish was sent.
    pub finish_sent: bool,
    /// Whether the provider refused or broke it.
    pub broken: bool,
    /// What it is billed for: tokens of the prompt, and of what was said.
    pub tokens: [i64; 2],
    /// Whether its caller had gone before anything was said: it was held on its way for too long.
    pub abandoned: bool,
}

/// What Postgres holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dump {
    /// Turns, by conversation and place.
    pub turns: Vec<Turn>,
    /// Outcomes.
    pub outcomes: Vec<Outcome>,
    /// Messages.
    pub messages: Vec<Stored>,
    /// Repeated calls that were recorded: the turn, and the number.
    pub attempts: Vec<(Uuid, i16)>,
    /// Who wrote what, in order.
    pub writes: Vec<Write>,
    /// What is known of every call to the provider.
    pub accounts: Vec<Account>,
}

/// What is known of a call, by whoever knows most.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Account {
    /// For which turn.
    pub turn_id: Uuid,
    /// Which attempt.
    pub number: i16,
    /// Tokens of the prompt.
    pub prompt_tokens: Option<i32>,
    /// Tokens of the answer.
    pub completion_tokens: Option<i32>,
    /// What they cost.
    pub cost_micros: Option<i64>,
    /// Whether that is a guess.
    pub estimated: bool,
    /// Who knows so.
    pub told_by: String,
    /// Which provider was asked.
    pub provider: Option<String>,
}

/// Of what is known of a call, what counts: the provider's word, then its caller's, then the outcome's.
const ACCOUNTS: &str = "
    select distinct on (turn_id, number) turn_id, number, prompt_tokens, completion_tokens, cost_micros, estimated, told_by,
           provider
    from (select turn_id, number, prompt_tokens, completion_tokens, cost_micros, estimated, told_by, provider,
                 array_position(array['provider', 'caller', 'outcome', 'successor'], told_by) as place
          from calls
          union all
          select turn_id, attempt, prompt_tokens, completion_tokens, cost_micros, prompt_tokens is null,
                 'outcome', provider, 3
          from outcomes where attempt is not null) told
    order by turn_id, number, place";

/// A row of `turns`.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Turn {
    /// Its id.
    pub id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// Its user.
    pub user_id: Uuid,
    /// Its partition.
    pub partition: i16,
    /// Its place.
    pub seq: i64,
    /// Its key.
    pub idempotency_key: Option<String>,
    /// Its question.
    pub user_message_id: Uuid,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// A row of `outcomes`.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Outcome {
    /// Of which turn.
    pub turn_id: Uuid,
    /// `completed`, `failed` or `cancelled`.
    pub status: String,
    /// Why it failed.
    pub fault_code: Option<String>,
    /// When.
    pub finished_at: OffsetDateTime,
}

/// A row of `messages`.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Stored {
    /// Its id.
    pub id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// Its turn.
    pub turn_id: Uuid,
    /// `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A row of the record of writes.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Write {
    /// `turn`, `outcome`, `attempt` or `owner`.
    pub kind: String,
    /// The turn.
    pub turn: Option<Uuid>,
    /// The partition, of turns and owners.
    pub partition: Option<i16>,
    /// The epoch, of owners.
    pub epoch: Option<i64>,
    /// The process.
    pub writer: String,
    /// When.
    pub at: OffsetDateTime,
}

/// What an owner reads of a conversation in the end.
#[derive(Debug, Clone)]
pub struct Read {
    /// Which.
    pub talk: usize,
    /// The status of the answer.
    pub status: u16,
    /// The messages: turn, whether the user said it, and the hash of the text.
    pub messages: Vec<(Uuid, bool, u64)>,
}

/// What a process was seen to use.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When.
    pub at: Micros,
    /// Which process: its place and its start.
    pub process: String,
    /// Memory in KiB.
    pub rss_kib: u64,
    /// Open files.
    pub files: u64,
    /// Writes that were refused as its epoch was old.
    pub fenced: u64,
}

/// Microseconds since 1970.
pub fn micros(time: OffsetDateTime) -> Micros {
    i64::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}

impl Dump {
    /// Of the database at this URL.
    pub async fn take(url: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.expect("Postgres takes connections");
        let turns = "select id, conversation_id, user_id, partition, seq, idempotency_key, user_message_id, created_at
                     from turns order by conversation_id, seq";
        let outcomes = "select turn_id, status, fault_code, finished_at from outcomes order by turn_id";
        let messages = "select id, conversation_id, turn_id, role, content from messages order by id";
        let attempts = "select turn_id, number from attempts order by turn_id, number";
        let writes = "select kind, turn, partition, epoch, writer, at from faults.writes order by serial";
        Self {
            turns: sqlx::query_as(turns).fetch_all(&mut connection).await.unwrap(),
            outcomes: sqlx::query_as(outcomes).fetch_all(&mut connection).await.unwrap(),
            messages: sqlx::query_as(messages).fetch_all(&mut connection).await.unwrap(),
            attempts: sqlx::query_as(attempts).fetch_all(&mut connection).await.unwrap(),
            writes: sqlx::query_as(writes).fetch_all(&mut connection).await.unwrap(),
            accounts: sqlx::query_as(ACCOUNTS).fetch_all(&mut connection).await.unwrap(),
        }
    }

    /// How many calls there are of which only an estimate is known, or less. None if the database does not say.
    pub async fn unsettled(url: &str) -> Option<i64> {
        let mut connection = PgConnection::connect(url).await.ok()?;
        let sql = format!("select count(*) from ({ACCOUNTS}) known where estimated");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.ok()
    }

    /// The outcome of each turn.
    pub fn outcome_of(&self) -> HashMap<Uuid, &Outcome> {
        self.outcomes.iter().map(|outcome| (outcome.turn_id, outcome)).collect()
    }

    /// The question and the answer of each turn.
    pub fn texts_of(&self) -> HashMap<Uuid, (Option<&str>, Option<&str>)> {
        let mut texts: HashMap<Uuid, (Option<&str>, Option<&str>)> = HashMap::new();
        for message in &self.messages {
            let entry = texts.entry(message.turn_id).or_default();
            let side = if message.role == "user" { &mut entry.0 } else { &mut entry.1 };
            *side = Some(&message.content);
        }
        texts
    }
}

impl Asked {
    /// From the provider's log. None for calls that are for no turn.
    pub fn of(call: &Call) -> Option<Self> {
        let (turn, attempt) = call.call_id.rsplit_once(':')?;
        let began = micros(call.started_at);
        Some(Self {
            turn: turn.parse().ok()?,
            attempt: attempt.parse().ok()?,
            digest: call.digest,
            began,
            ended: call.ended_at.map_or(Micros::MAX, micros),
            finish_sent: call.finish_sent,
            broken: matches!(call.ended, Some(Ended::Error(_) | Ended::Cut)),
            tokens: call.tokens,
            abandoned: call.ended == Some(Ended::ClientGone) && call.chunks == 0,
        })
    }
}
