//! What stands for anything of its kind.

use time::OffsetDateTime;
use wire::{FaultCode, Turn, TurnStatus};

use super::super::{Call, Ended};
use crate::model::{Accepted, Completion, Ending, NewTurn, Outcome};

pub fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH
}

pub fn ended(call: &Call, luck: u8) -> Ended {
    match luck % 8 {
        5 => Ended::Failed(FaultCode::ProviderFailed.into()),
        6 => Ended::NotMade,
        7 => Ended::Died("panic".into()),
        _ => Ended::Completed(Completion {
            text: format!("answer {} of {}", call.attempt, call.turn).into(),
            finish_reason: "stop",
            provider: "p".into(),
            model: "m".into(),
            usage: None,
            first_token_ms: 0,
            total_ms: 0,
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
        ending,
        finished_at: now(),
    }
}

pub fn view(turn: &NewTurn) -> Turn {
    Turn {
        finish_reason: None,
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
        messages: Vec::new(),
    }
}
