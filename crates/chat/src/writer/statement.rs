//! The one statement that writes turns: new turns with their messages, outcomes with their answers, all conditional on who
//! owns the partition.
//!
//! The form of `statement.sql` keeps the plan good from the first row on: every table is reached by a scalar subquery on a key, or only
//! inserted into. A join against a table could be planned as a scan while the table is empty, and stay one.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;
use wire::{Fault, FaultCode, TurnId};

use super::batch::Batch;
use crate::{
    model::{Accepted, Completion, Ending, Opening, Outcome, Ownership},
    store::settings_from,
};

/// What the statement did.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The ownerships that are good.
    pub held: HashSet<Ownership>,
    /// The turns that are new.
    pub accepted: HashMap<TurnId, Accepted>,
    /// The turns whose outcome is new.
    pub finished: HashSet<TurnId>,
}

pub(crate) async fn execute(
    connection: &mut PgConnection,
    default_model: &str,
    batch: &Batch,
) -> sqlx::Result<Written> {
    let ownerships = batch.ownerships();
    let turns = &batch.turns;
    let outcomes = &batch.outcomes;
    let rows = sqlx::query_file_as!(
        Line,
        "src/writer/statement.sql",
        &ownerships.iter().map(|it| it.partition).collect::<Vec<_>>(),
        &ownerships.iter().map(|it| it.epoch).collect::<Vec<_>>(),
        &turns.iter().map(|it| it.id.uuid()).collect::<Vec<_>>(),
        &turns.iter().map(|it| it.conversation.uuid()).collect::<Vec<_>>(),
        &turns.iter().map(|it| it.user.uuid()).collect::<Vec<_>>(),
        &turns.iter().map(|it| it.ownership.partition).collect::<Vec<_>>(),
        &turns.iter().map(|it| it.seq).collect::<Vec<_>>(),
        &turns.iter().map(|it| it.idempotency_key.as_deref()).collect::<Vec<_>>() as _,
        &turns.iter().map(|it| it.body_hash.0.to_vec()).collect::<Vec<_>>(),
        &turns.iter().map(|it| it.user_message.uuid()).collect::<Vec<_>>(),
        &turns.iter().map(|it| it.parent.map(|id| id.uuid())).collect::<Vec<_>>() as _,
        &turns.iter().map(|it| &*it.content.text).collect::<Vec<_>>() as _,
        &turns.iter().map(|it| it.model.as_deref()).collect::<Vec<_>>() as _,
        &turns
            .iter()
            .map(|it| serde_json::to_value(&it.settings).unwrap_or_default())
            .collect::<Vec<Value>>(),
        &turns.iter().map(|it| it.created_at).collect::<Vec<_>>(),
        default_model,
        &outcomes.iter().map(|it| it.turn.uuid()).collect::<Vec<_>>(),
        &outcomes.iter().map(|it| it.conversation.uuid()).collect::<Vec<_>>(),
        &outcomes.iter().map(|it| it.ownership.partition).collect::<Vec<_>>(),
        &outcomes.iter().map(Outcome::answer_seq).collect::<Vec<_>>(),
        &outcomes.iter().map(|it| it.user_message.uuid()).collect::<Vec<Uuid>>(),
        &outcomes.iter().map(|it| it.ending.status()).collect::<Vec<_>>() as _,
        &outcomes.iter().map(|it| it.completion().map(|it| it.finish_reason)).collect::<Vec<_>>() as _,
        &outcomes.iter().map(|it| it.completion().map(|it| it.report.provider.as_str())).collect::<Vec<_>>()
            as _,
        &outcomes.iter().map(|it| it.completion().map(|it| it.report.model.as_str())).collect::<Vec<_>>()
            as _,
        &outcomes.iter().map(|it| it.tokens(|usage| usage.prompt_tokens)).collect::<Vec<_>>() as _,
        &outcomes.iter().map(|it| it.tokens(|usage| usage.completion_tokens)).collect::<Vec<_>>() as _,
        &outcomes.iter().map(|it| it.ending.fault().map(|it| it.code.as_str())).collect::<Vec<_>>() as _,
        &outcomes.iter().map(|it| it.ending.fault().map(|it| it.message.to_string())).collect::<Vec<_>>()
            as _,
        &outcomes.iter().map(|it| it.completion().map(timings)).collect::<Vec<_>>() as _,
        &outcomes.iter().map(|it| it.finished_at).collect::<Vec<_>>(),
        &outcomes.iter().map(|it| it.completion().map(|it| &*it.text)).collect::<Vec<_>>() as _,
        &turns.iter().map(|it| it.ownership.epoch).collect::<Vec<_>>(),
        &outcomes.iter().map(|it| it.ownership.epoch).collect::<Vec<_>>(),
        &turns.iter().map(|it| it.kind.name()).collect::<Vec<_>>() as _,
        &outcomes.iter().map(|it| it.ending.partial()).collect::<Vec<_>>() as _,
        &outcomes.iter().map(|it| it.ending.given_up()).collect::<Vec<_>>() as _,
        &outcomes.iter().map(Outcome::attempt).collect::<Vec<_>>() as _,
        &outcomes.iter().map(Outcome::cost_micros).collect::<Vec<_>>() as _,
        &outcomes.iter().map(Outcome::calls_untold).collect::<Vec<_>>(),
        &outcomes.iter().map(|it| it.completion().map(|it| it.report.altered)).collect::<Vec<_>>() as _,
        &turns.iter().map(|it| it.content.stored_images()).collect::<Vec<Option<Value>>>() as _,
    )
    .fetch_all(connection)
    .await?;
    Ok(Written::of(rows))
}

/// A line of the answer: an ownership that is good, a turn that is new, or one whose outcome is.
struct Line {
    turn: Option<Uuid>,
    model: Option<String>,
    settings: Option<Value>,
    number: Option<i32>,
    epoch: Option<i64>,
    prompt_id: Option<Uuid>,
    variables: Option<Value>,
}

impl Written {
    fn of(lines: Vec<Line>) -> Self {
        let mut written = Self::default();
        for line in lines {
            match (line.turn, line.model, line.epoch, line.number) {
                (None, _, Some(epoch), Some(partition)) => {
                    let partition = i16::try_from(partition).unwrap_or(-1);
                    written.held.insert(Ownership { partition, epoch });
                }
                (Some(turn), Some(model), _, prompt_version) => {
                    let settings = settings_from(line.settings);
                    let opening = Opening::of(line.prompt_id, prompt_version, line.variables);
                    written.accepted.insert(turn.into(), Accepted { model, settings, opening });
                }
                (Some(turn), None, ..) => {
                    written.finished.insert(turn.into());
                }
                (None, ..) => {}
            }
        }
        written
    }
}

fn timings(completion: &Completion) -> Value {
    serde_json::to_value(completion.report.timings).unwrap_or_default()
}

impl Outcome {
    fn completion(&self) -> Option<&Completion> {
        match &self.ending {
            Ending::Completed(completion) => Some(completion),
            _ => None,
        }
    }

    fn tokens(&self, count: impl Fn(&wire::Usage) -> u32) -> Option<i32> {
        self.completion()?.usage().map(|usage| i32::try_from(count(&usage)).unwrap_or(i32::MAX))
    }

    /// The call that gave the answer.
    fn attempt(&self) -> Option<i16> {
        self.completion().map(|_| self.attempts)
    }

    /// Of that call; an estimate is told by its caller instead.
    fn cost_micros(&self) -> Option<i64> {
        let report = &self.completion()?.report;
        report.cost_micros.filter(|_| !report.estimated).map(|cost| i64::try_from(cost).unwrap_or(i64::MAX))
    }

    /// Calls of which perhaps nobody has told. Of those before an answer somebody has, when the next one was recorded.
    const fn calls_untold(&self) -> i16 {
        match &self.ending {
            Ending::Completed(completion) if !completion.report.estimated => 0,
            _ => self.attempts,
        }
    }
}

impl Ending {
    const fn status(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::Failed(_) | Self::GivenUp(_) => "failed",
            Self::Cancelled(_) => "cancelled",
        }
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            Self::Completed(_) | Self::Cancelled(_) => None,
            Self::Failed(fault) => Some(fault.clone()),
            Self::GivenUp(_) => Some(FaultCode::AttemptsExhausted.into()),
        }
    }

    fn partial(&self) -> Option<&str> {
        match self {
            Self::Cancelled(partial) => partial.as_deref(),
            _ => None,
        }
    }

    fn given_up(&self) -> Option<&str> {
        match self {
            Self::GivenUp(reason) => Some(reason),
            _ => None,
        }
    }
}
