//! What stands for anything of its kind.

use std::time::Duration;

use llm::{Report, Timings};
use time::OffsetDateTime;
use wire::{FaultCode, Turn, TurnStatus};

use super::super::{Call, Ended};
use crate::model::{Accepted, Completion, Ending, NewTurn, Outcome};

pub fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH
}

pub fn ended(call: &Call, luck: u8) -> Ended {
    match luck % 8 {
        4 => Ended::Passing(FaultCode::ProviderFailed.into(), Duration::ZERO),
        5 if luck > 191 => {
            Ended::Waiting(FaultCode::ProviderFailed.into(), Duration::from_secs(u64::from(luck % 16) * 4))
        }
        5 if luck > 127 => Ended::Refused(FaultCode::PromptNotFound.into()),
        5 => Ended::Failed(FaultCode::ProviderFailed.into()),
        6 => Ended::NotMade,
        7 => Ended::Died("panic".into()),
        _ => Ended::Completed(Completion {
            text: format!("answer {} of {}", call.attempt, call.turn).into(),
            finish_reason: "stop",
            report: Report {
                provider: "p".into(),
                model: "m".into(),
                generation_id: None,
                usage: None,
                estimated: false,
                cost_micros: None,
                altered: false,
                timings: Timings::default(),
            },
        }),
    }
}

pub fn accepted() -> Accepted {
    Accepted { model: "m".into(), settings: wire::Settings::default(), opening: None }
}

pub fn outcome_of(turn: &NewTurn, ending: Ending) -> Outcome {
    Outcome {
        turn: turn.id,
        conversation: turn.conversation,
        ownership: turn.ownership,
        seq: turn.seq,
        user_message: turn.user_message,
        attempts: 1,
        ending,
        finished_at: now(),
    }
}

pub fn view(turn: &NewTurn) -> Turn {
    Turn {
        finish_reason: None,
        altered: None,
        answered_by: None,
        id: turn.id,
        conversation_id: turn.conversation,
        kind: turn.kind,
        status: TurnStatus::Running,
        queue_position: None,
        wait_ms: None,
        attempt: 1,
        seq: turn.seq,
        idempotency_key: turn.idempotency_key.clone(),
        model: "m".into(),
        prompt_id: None,
        prompt_version: None,
        created_at: now(),
        finished_at: None,
        usage: None,
        fault: None,
        partial: None,
        cost_micros: None,
        calls: Vec::new(),
        messages: Vec::new(),
    }
}
