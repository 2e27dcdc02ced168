//! What happens to a turn and in a conversation, told while it happens, on a subject of its own. Only what is stored is durable.

use serde::{Deserialize, Serialize};

use crate::{Answer, MessageId, Problem, TurnId, TurnKind, TurnStatus};

/// One step of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TurnEvent {
    /// The queue has the turn. It is told only to whoever asked for steps, and names no turn: a repeated send is the turn of the
    /// first.
    Queued,
    /// Postgres has the turn: from here on it cannot be lost.
    Accepted {
        /// The turn.
        turn_id: TurnId,
        /// Turns of this conversation before it, at that moment; null for who hears of it later.
        queue_position: Option<u32>,
    },
    /// The model is being called.
    Started {
        /// The turn.
        turn_id: TurnId,
        /// Counts from 1.
        attempt: i16,
        /// The model asked for.
        model: String,
    },
    /// The answer goes on. Attempt and offset say which part of which text it is, whatever else was heard.
    Delta {
        /// What comes next.
        text: String,
        /// The call that it is an answer of, from 1.
        attempt: i16,
        /// Bytes of that answer before it.
        offset: u32,
    },
    /// The model is called again: drop the text so far.
    Restarted {
        /// The turn.
        turn_id: TurnId,
        /// Counts from 1.
        attempt: i16,
    },
    /// The answer is stored.
    Completed(Box<Answer>),
    /// There will be no answer.
    Failed(Box<Problem>),
    /// Stopped on request.
    Cancelled {
        /// The turn.
        turn_id: TurnId,
    },
}

impl TurnEvent {
    /// The part of an attempt's text that begins at the byte `offset`.
    pub fn delta(attempt: i16, text: &str, offset: usize) -> Self {
        let part = text.get(offset..).unwrap_or_default().to_owned();
        // An answer is bounded far below this.
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        Self::Delta { text: part, attempt, offset }
    }

    /// The name of the step, as in the `Oc-Event` header.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Accepted { .. } => "accepted",
            Self::Started { .. } => "started",
            Self::Delta { .. } => "delta",
            Self::Restarted { .. } => "restarted",
            Self::Completed(_) => "completed",
            Self::Failed(_) => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// The turn, where the step names it.
    pub fn turn(&self) -> Option<TurnId> {
        match self {
            Self::Accepted { turn_id, .. }
            | Self::Started { turn_id, .. }
            | Self::Restarted { turn_id, .. }
            | Self::Cancelled { turn_id } => Some(*turn_id),
            Self::Completed(answer) => Some(answer.turn_id),
            Self::Failed(problem) => problem.turn_id,
            Self::Queued | Self::Delta { .. } => None,
        }
    }

    /// Whether nothing comes after it.
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Completed(_) | Self::Failed(_) | Self::Cancelled { .. })
    }
}

/// What happens in a conversation: that there is something to be read, not what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ConversationEvent {
    /// A turn was accepted: its question is among the messages.
    TurnAccepted {
        /// The turn.
        turn_id: TurnId,
        /// What it was asked for by.
        kind: TurnKind,
        /// Its question.
        message_id: MessageId,
        /// Turns of this conversation before it.
        queue_position: u32,
    },
    /// A turn has its outcome; if it is completed, its answer is among the messages.
    TurnEnded {
        /// The turn.
        turn_id: TurnId,
        /// How it ended.
        status: TurnStatus,
    },
    /// Something else of the conversation was changed, such as its title.
    Updated,
    /// The conversation was deleted.
    Deleted,
}

impl ConversationEvent {
    /// The name of the event, as in the `Oc-Event` header.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TurnAccepted { .. } => "turn_accepted",
            Self::TurnEnded { .. } => "turn_ended",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}
