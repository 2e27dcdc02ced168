//! Entries on their way through one statement, and who is told what became of them.

use super::{Done, Entry, WriteError, statement::Written};
use crate::model::{Accepted, NewTurn, Outcome, Ownership};

/// What is written at once.
pub(crate) struct Batch {
    pub turns: Vec<NewTurn>,
    pub outcomes: Vec<Outcome>,
    accepted: Vec<Done<Accepted>>,
    finished: Vec<Done<()>>,
}

impl Batch {
    pub fn new(entries: Vec<Entry>) -> Self {
        let mut batch =
            Self { turns: Vec::new(), outcomes: Vec::new(), accepted: Vec::new(), finished: Vec::new() };
        for entry in entries {
            match entry {
                Entry::Accept(turn, done) => {
                    batch.turns.push(*turn);
                    batch.accepted.push(done);
                }
                Entry::Finish(outcome, done) => {
                    batch.outcomes.push(*outcome);
                    batch.finished.push(done);
                }
            }
        }
        batch
    }

    pub fn len(&self) -> usize {
        self.turns.len() + self.outcomes.len()
    }

    /// Each partition by whose right something is written.
    pub fn ownerships(&self) -> Vec<Ownership> {
        let turns = self.turns.iter().map(|turn| turn.ownership);
        let mut all: Vec<_> = turns.chain(self.outcomes.iter().map(|outcome| outcome.ownership)).collect();
        all.sort_unstable_by_key(|ownership| (ownership.partition, ownership.epoch));
        all.dedup();
        all
    }

    /// One batch per entry.
    pub fn split(self) -> impl Iterator<Item = Self> {
        let accepts =
            self.turns.into_iter().zip(self.accepted).map(|(turn, done)| Entry::Accept(Box::new(turn), done));
        let finishes = self
            .outcomes
            .into_iter()
            .zip(self.finished)
            .map(|(outcome, done)| Entry::Finish(Box::new(outcome), done));
        accepts.chain(finishes).map(|entry| Self::new(vec![entry]))
    }

    /// Tells everybody that nothing was written.
    pub fn fail(self, error: WriteError) {
        self.accepted.into_iter().for_each(|done| done(Err(error)));
        self.finished.into_iter().for_each(|done| done(Err(error)));
    }

    /// Tells each what became of its entry.
    pub fn settle(self, written: &Written) {
        let nothing = |ownership: Ownership| {
            if written.held.contains(&ownership) {
                return WriteError::Nothing;
            }
            metrics::counter!("omnichat_fenced_writes_total").increment(1);
            WriteError::Fenced
        };
        for (turn, done) in self.turns.into_iter().zip(self.accepted) {
            done(written.accepted.get(&turn.id).cloned().ok_or_else(|| nothing(turn.ownership)));
        }
        for (outcome, done) in self.outcomes.into_iter().zip(self.finished) {
            let there = written.finished.contains(&outcome.turn);
            done(if there { Ok(()) } else { Err(nothing(outcome.ownership)) });
        }
    }
}
