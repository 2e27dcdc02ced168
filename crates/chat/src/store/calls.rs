//! Calls to providers, as far as the outcome of their turn does not tell of them.

use serde::Deserialize;
use serde_json::Value;
use wire::{Call, CallStatus, TurnId};

use super::Store;
use crate::model::CallMade;

/// A row of `calls`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct StoredCall {
    number: i16,
    told_by: String,
    status: CallStatus,
    fault_code: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    estimated: bool,
    cost_micros: Option<u64>,
    timings: Option<StoredTimings>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct StoredTimings {
    queue_ms: Option<u64>,
    connect_ms: Option<u64>,
    response_ms: Option<u64>,
    first_token_ms: Option<u64>,
    total_ms: Option<u64>,
}

/// What a turn's outcome says of the call that gave the answer.
pub(super) struct AnswerCall {
    pub attempt: i16,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub prompt_tokens: Option<u32>,
    pub completion_tokens: Option<u32>,
    pub cost_micros: Option<u64>,
    pub timings: Option<Value>,
}

/// All calls of a turn in order: of each the account that knows most.
pub(super) fn calls(told: Vec<StoredCall>, answer: Option<AnswerCall>) -> Vec<Call> {
    // Beside the outcome the caller tells only what the provider had not counted then.
    let rank = |told_by: &str| match told_by {
        "provider" => 0,
        "caller" => 1,
        _ => 3,
    };
    // A call of which its provider knows nothing was never made.
    let never: Vec<_> = told.iter().filter(|call| call.was_never_made()).map(|call| call.number).collect();
    let told = told.into_iter().filter(|call| !never.contains(&call.number));
    let mut all: Vec<(u8, Call)> = told.map(|call| (rank(&call.told_by), call.into())).collect();
    all.extend(answer.map(|answer| (2, answer.into())));
    all.sort_by_key(|(rank, call)| (call.attempt, *rank));
    all.dedup_by(|(_, less), (_, more)| {
        let same = less.attempt == more.attempt;
        if same {
            complete(more, less);
        }
        same
    });
    all.into_iter().map(|(_, call)| call).collect()
}

/// What they cost together, if all is known.
pub(super) fn cost_micros(calls: &[Call]) -> Option<u64> {
    let costs = calls.iter().map(|call| call.cost_micros);
    if calls.is_empty() { None } else { costs.sum() }
}

/// The provider tells what it counted, and not how the call went here.
fn complete(call: &mut Call, less: &mut Call) {
    if call.status == CallStatus::Unknown {
        call.status = less.status;
    }
    call.fault = call.fault.take().or(less.fault.take());
    call.provider = call.provider.take().or(less.provider.take());
    call.model = call.model.take().or(less.model.take());
    call.queue_ms = call.queue_ms.or(less.queue_ms);
    call.connect_ms = call.connect_ms.or(less.connect_ms);
    call.response_ms = call.response_ms.or(less.response_ms);
    call.first_token_ms = call.first_token_ms.or(less.first_token_ms);
    call.total_ms = call.total_ms.or(less.total_ms);
}

impl StoredCall {
    fn was_never_made(&self) -> bool {
        self.told_by == "provider" && self.provider.is_none()
    }
}

impl From<StoredCall> for Call {
    fn from(call: StoredCall) -> Self {
        let timings = call.timings.unwrap_or_default();
        Self {
            attempt: call.number,
            status: call.status,
            fault: call.fault_code,
            provider: call.provider,
            model: call.model,
            prompt_tokens: call.prompt_tokens,
            completion_tokens: call.completion_tokens,
            estimated: call.estimated,
            cost_micros: call.cost_micros,
            queue_ms: timings.queue_ms,
            connect_ms: timings.connect_ms,
            response_ms: timings.response_ms,
            first_token_ms: timings.first_token_ms,
            total_ms: timings.total_ms,
        }
    }
}

impl From<AnswerCall> for Call {
    fn from(answer: AnswerCall) -> Self {
        StoredCall {
            number: answer.attempt,
            told_by: String::new(),
            status: CallStatus::Completed,
            fault_code: None,
            provider: answer.provider,
            model: answer.model,
            estimated: answer.prompt_tokens.is_none(),
            prompt_tokens: answer.prompt_tokens,
            completion_tokens: answer.completion_tokens,
            cost_micros: answer.cost_micros,
            timings: answer.timings.and_then(|timings| serde_json::from_value(timings).ok()),
        }
        .into()
    }
}

/// A call that its provider is to be asked about.
#[derive(Debug, Clone)]
pub struct Unsettled {
    /// Its turn.
    pub turn: TurnId,
    /// Counts from 1.
    pub attempt: i16,
    /// The model that was asked for, as it is configured.
    pub model: String,
    /// The provider that was asked, where it is known.
    pub provider: Option<String>,
    /// What it calls the call.
    pub generation_id: Option<String>,
    /// How long ago it ended, or its end was noticed, in seconds.
    pub age_s: i64,
}

/// Which calls are to be settled.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of conversations in these partitions.
    pub partitions: Vec<i16>,
    /// That ended so many seconds ago at least.
    pub older_s: i32,
    /// And at most.
    pub younger_s: i32,
    /// Of providers that can be asked by their own id of a call.
    pub by_own_id: Vec<String>,
    /// And of those that can be asked by ours.
    pub by_call_id: Vec<String>,
    /// Where the provider is not known: of models that such a one serves.
    pub models: Vec<String>,
    /// Not more than these.
    pub most: i64,
}

impl Store {
    /// Notes a call, as whoever made it knows it.
    pub async fn record_call(&self, call: &CallMade) -> sqlx::Result<()> {
        let report = &call.report;
        let tokens = |count: fn(&llm::Usage) -> u32| {
            report.usage.as_ref().map(|usage| i32::try_from(count(usage)).unwrap_or(i32::MAX))
        };
        // What consumed nothing is known exactly.
        let nothing = report.usage.is_none().then_some(0);
        sqlx::query!(
            "insert into calls (turn_id, number, told_by, status, fault_code, provider, model, generation_id, prompt_tokens,
                                completion_tokens, estimated, cost_micros, timings, created_at)
             values ($1, $2, 'caller', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now())
             on conflict do nothing",
            call.turn.uuid(),
            call.attempt,
            call.status.name(),
            call.fault.map(|code| code.as_str()),
            report.provider,
            report.model,
            report.generation_id,
            tokens(|usage| usage.prompt_tokens).or(nothing),
            tokens(|usage| usage.completion_tokens).or(nothing),
            report.estimated,
            report.cost_micros.map(|cost| i64::try_from(cost).unwrap_or(i64::MAX)),
            serde_json::to_value(report.timings).unwrap_or_default(),
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// Notes what a provider calls a call that runs.
    pub async fn record_generation(
        &self,
        turn: TurnId,
        attempt: i16,
        provider: &str,
        generation_id: &str,
    ) -> sqlx::Result<()> {
        sqlx::query!(
            "insert into generations (turn_id, number, provider, generation_id, created_at)
             values ($1, $2, $3, $4, now())
             on conflict do nothing",
            turn.uuid(),
            attempt,
            provider,
            generation_id,
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// Calls of which only an estimate is known, or less, and whose providers can be asked about them; in no order, so that
    /// those of which nobody will ever tell do not stand before the others.
    pub async fn unsettled(&self, wanted: &Wanted) -> sqlx::Result<Vec<Unsettled>> {
        let rows = sqlx::query!(
            r#"with untold as (
                   select c.turn_id, c.number, c.created_at, t.model, coalesce(c.provider, g.provider) as provider,
                          coalesce(c.generation_id, g.generation_id) as generation_id
                   from calls c
                   join turns t on t.id = c.turn_id
                   left join generations g on g.turn_id = c.turn_id and g.number = c.number
                   where c.estimated and c.told_by <> 'provider' and t.partition = any ($1)
                     and c.created_at <= now() - make_interval(secs => $2)
                     and c.created_at > now() - make_interval(secs => $3)
                     and not exists (select from calls p
                                     where p.turn_id = c.turn_id and p.number = c.number and p.told_by <> c.told_by
                                       and p.told_by <> 'successor')
               )
               select turn_id, number, model, provider, generation_id,
                      extract(epoch from now() - created_at)::bigint as "age_s!"
               from untold
               where (provider = any ($4) and generation_id is not null)
                  or provider = any ($5) or (provider is null and model = any ($6))
               order by random()
               limit $7"#,
            &wanted.partitions,
            f64::from(wanted.older_s),
            f64::from(wanted.younger_s),
            &wanted.by_own_id,
            &wanted.by_call_id,
            &wanted.models,
            wanted.most,
        )
        .fetch_all(&self.pool)
        .await?;
        let unsettled = rows.into_iter().map(|row| Unsettled {
            turn: row.turn_id.into(),
            attempt: row.number,
            model: row.model,
            provider: row.provider,
            generation_id: row.generation_id,
            age_s: row.age_s,
        });
        Ok(unsettled.collect())
    }

    /// Notes what a provider says of a call; nothing: that it knows of none.
    pub async fn settle(&self, call: &Unsettled, account: Option<&llm::Account>) -> sqlx::Result<()> {
        let tokens = |count: fn(&llm::Usage) -> u32| {
            account.map_or(0, |account| i32::try_from(count(&account.usage)).unwrap_or(i32::MAX))
        };
        let cost = account.map_or(Some(0), |account| account.cost_micros);
        sqlx::query!(
            "insert into calls (turn_id, number, told_by, status, provider, model, generation_id, prompt_tokens,
                                completion_tokens, estimated, cost_micros, created_at)
             values ($1, $2, 'provider', 'unknown', $3, $4, $5, $6, $7, false, $8, now())
             on conflict do nothing",
            call.turn.uuid(),
            call.attempt,
            account.map(|account| account.provider.as_str()),
            account.map(|account| account.model.as_str()),
            account.map(|account| account.generation_id.as_str()),
            tokens(|usage| usage.prompt_tokens),
            tokens(|usage| usage.completion_tokens),
            cost.map(|cost| i64::try_from(cost).unwrap_or(i64::MAX)),
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }
}
