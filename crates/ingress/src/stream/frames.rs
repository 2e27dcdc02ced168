//! What a reader is shown of what is heard of a turn: pure, events in, frames out. What is heard may have gaps, come twice, or
//! be an old owner's; what is shown is one text without a gap, and at last one outcome.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use wire::{Answer, Message, Problem, Role, Turn, TurnEvent, TurnId, TurnStatus, limits::ANSWER_BYTES_MAX};

use super::position::Position;

/// A stored text is shown in pieces of at most so many bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// An event with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub at: Position,
    pub event: TurnEvent,
}

/// The reader of one turn.
#[derive(Debug)]
pub(crate) struct Frames {
    turn: TurnId,
    /// Of the last frame.
    at: Position,
    /// Whose text the reader has; 0 while there is none.
    attempt: i16,
    /// How much of it, in bytes.
    shown: usize,
    /// Something was heard.
    heard: bool,
    /// The reader lacks something that was told before.
    behind: bool,
    /// The turn has ended.
    over: bool,
    ready: VecDeque<Frame>,
}

/// A reader says that it has seen what was never told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NeverTold;

impl Frames {
    /// For a reader who is at `from`.
    pub fn new(turn: TurnId, from: Position) -> Self {
        let (attempt, shown) = from.text();
        Self {
            turn,
            at: from,
            attempt,
            shown,
            heard: false,
            behind: false,
            over: false,
            ready: VecDeque::new(),
        }
    }

    /// The next frame for the reader.
    pub fn next(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    /// The last frame was made.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the reader lacks what was told before; to be asked for once.
    pub const fn take_behind(&mut self) -> bool {
        std::mem::replace(&mut self.behind, false)
    }

    /// Something may have been told that was not heard.
    pub const fn miss(&mut self) {
        self.behind = true;
    }

    /// An event was heard. True: the turn has ended, and the record says how.
    pub fn hear(&mut self, event: TurnEvent) -> bool {
        self.heard = true;
        match event {
            // It has no number, and is shown before there are frames.
            TurnEvent::Queued => {}
            TurnEvent::Accepted { .. } => {
                if self.at < Position::ACCEPTED {
                    self.show(Position::ACCEPTED, event);
                }
            }
            TurnEvent::Started { attempt, .. } | TurnEvent::Restarted { attempt, .. } => {
                if attempt > self.attempt {
                    (self.attempt, self.shown) = (attempt, 0);
                    self.show(Position::of_text(attempt, 0), event);
                }
            }
            // How it began is told with what was said before.
            TurnEvent::Delta { offset: 1.., .. } if self.attempt == 0 => self.miss(),
            TurnEvent::Delta { text, attempt, offset } => {
                self.begin(attempt);
                if attempt == self.attempt {
                    self.go_on(&text, offset as usize);
                }
            }
            TurnEvent::Completed(_) | TurnEvent::Failed(_) | TurnEvent::Cancelled { .. } => return true,
        }
        false
    }

    /// Whether the reader can have seen what it says, as far as the record tells.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(&self, turn: &Turn) -> Result<(), NeverTold> {
        let (running, all_seen) = (turn.status.is_open(), self.at.is_end());
        let same = self.attempt == turn.attempt && !all_seen;
        let longer = same && stored(turn).is_some_and(|answer| answer.content.get(self.shown..).is_none());
        let never = self.attempt > turn.attempt || (running && all_seen) || longer;
        if never { Err(NeverTold) } else { Ok(()) }
    }

    /// The record of the turn: while it runs, it tells no more than that; when it has ended, all that the reader lacks.
    pub fn learn(&mut self, turn: &Turn) {
        if self.at < Position::ACCEPTED {
            self.show(Position::ACCEPTED, TurnEvent::Accepted { turn_id: self.turn, queue_position: None });
        }
        if turn.status.is_open() {
            // It has begun before anything could be heard.
            self.behind |= turn.attempt > 0 && !self.heard;
            // While nothing is shown, `started` is still to come.
            if self.attempt > 0 {
                self.begin(turn.attempt);
            }
            return;
        }
        let said = stored(turn).map(|answer| &answer.content).or(turn.partial.as_ref());
        if let Some(said) = said.filter(|_| !self.at.is_end()) {
            self.begin(turn.attempt);
            self.catch_up(said.get(self.shown..).unwrap_or_default());
        }
        self.show(Position::of_end(turn.attempt.max(self.attempt), self.at), outcome(turn));
        self.over = true;
    }

    /// The turn is gone, and its record with it.
    pub fn lose(&mut self, problem: Problem) {
        let end = Position::of_end(self.attempt.max(1), self.at);
        self.show(end, TurnEvent::Failed(Box::new(problem)));
        self.over = true;
    }

    /// Another call's answer begins, if it is a later one's: the text of the one before is void.
    fn begin(&mut self, attempt: i16) {
        if attempt > self.attempt {
            let void = self.attempt > 0;
            (self.attempt, self.shown) = (attempt, 0);
            if void {
                self.show(
                    Position::of_text(attempt, 0),
                    TurnEvent::Restarted { turn_id: self.turn, attempt },
                );
            }
        }
    }

    /// Shows what goes on where the reader is; what was seen is left out, and what is beyond a gap comes again when the gap is
    /// filled.
    fn go_on(&mut self, text: &str, offset: usize) {
        let Some(known) = self.shown.checked_sub(offset) else { return self.miss() };
        let Some(text) = text.get(known..) else { return };
        // An answer that is longer fails, and numbers end there.
        if !text.is_empty() && self.shown + text.len() <= ANSWER_BYTES_MAX {
            self.say(text.to_owned());
        }
    }

    /// Shows all of this text, in pieces.
    fn catch_up(&mut self, mut rest: &str) {
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
            self.say(piece.to_owned());
            rest = others;
        }
    }

    fn say(&mut self, text: String) {
        let offset = u32::try_from(self.shown).unwrap_or(u32::MAX);
        self.shown += text.len();
        let (at, attempt) = (Position::of_text(self.attempt, self.shown), self.attempt);
        self.show(at, TurnEvent::Delta { text, attempt, offset });
    }

    fn show(&mut self, at: Position, event: TurnEvent) {
        self.at = at;
        self.ready.push_back(Frame { at, event });
    }
}

/// The answer of a turn, when it has one.
fn stored(turn: &Turn) -> Option<&Message> {
    turn.messages.iter().find(|message| message.role == Role::Assistant)
}

/// The last event of a turn that has ended.
fn outcome(turn: &Turn) -> TurnEvent {
    match (turn.status, stored(turn)) {
        (TurnStatus::Completed, Some(message)) => TurnEvent::Completed(Box::new(Answer {
            message_id: message.id,
            response: message.content.clone(),
            created_at: message.created_at,
            turn_id: turn.id,
            message: message.clone(),
            usage: turn.usage,
            truncated: turn.finish_reason.as_deref() == Some("length"),
            altered: turn.altered.unwrap_or_default(),
            finish_reason: turn.finish_reason.clone().unwrap_or_default(),
            model: turn.answered_by.clone().unwrap_or_default(),
        })),
        (TurnStatus::Cancelled, _) => TurnEvent::Cancelled { turn_id: turn.id },
        _ => {
            let unknown = || Problem::of(&wire::FaultCode::Internal.into(), None);
            TurnEvent::Failed(Box::new(turn.fault.clone().unwrap_or_else(unknown)))
        }
    }
}
