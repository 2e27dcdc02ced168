//! That the provider is not called more than need be.

use std::collections::HashMap;

use super::super::evidence::{Evidence, micros};

/// Calls for one turn at most.
const CALLS_MAX: usize = 3;
/// A fault may have consequences for so long after its cause is over, in microseconds: somebody has to take over.
pub(super) const AFTERMATH: i64 = 10_000_000;

/// I12: three calls at most, each of another attempt; one where no fault came near, unless the provider did not finish it; few in
/// all.
pub fn few_calls(run: &Evidence) -> Vec<String> {
    let mut calls: HashMap<_, Vec<i16>> = HashMap::new();
    let mut unfinished: HashMap<_, usize> = HashMap::new();
    for call in &run.calls {
        calls.entry(call.turn).or_default().push(call.attempt);
        *unfinished.entry(call.turn).or_default() += usize::from(!call.finish_sent);
    }
    let outcomes = run.dump.outcome_of();
    let (mut found, mut touched) = (Vec::new(), 0);
    for turn in &run.dump.turns {
        let mut attempts = calls.get(&turn.id).cloned().unwrap_or_default();
        let ended = outcomes.get(&turn.id).map_or(i64::MAX, |outcome| micros(outcome.finished_at));
        let began = micros(turn.created_at);
        let near = run.faults.iter().any(|fault| fault.began <= ended && began <= fault.healed + AFTERMATH);
        touched += usize::from(near);
        let count = attempts.len();
        attempts.sort_unstable();
        attempts.dedup();
        if count > CALLS_MAX || attempts.len() < count {
            found.push(format!("turn {} was called for {count} times, as attempts {attempts:?}", turn.id));
        } else if !near && count > 1 + unfinished.get(&turn.id).copied().unwrap_or_default() {
            found.push(format!("turn {} was called for {count} times without any fault", turn.id));
        }
    }
    let (all, turns) = (run.calls.len(), run.dump.turns.len());
    if all > turns + 2 * touched + unfinished.values().sum::<usize>() {
        found.push(format!("{all} calls for {turns} turns, {touched} of them touched by faults"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::{BEGAN, S, spoiled};
    use crate::faults::evidence::{Asked, Evidence};

    /// Calls once more for the first turn of the run.
    fn call(run: &mut Evidence, attempt: i16) {
        let call = Asked { attempt, ..run.calls[0].clone() };
        run.calls.push(call);
    }

    #[test]
    fn a_second_call_without_a_fault_is_found() {
        spoiled("I12", |run| call(run, 2));
    }

    #[test]
    fn a_fourth_call_is_found_whatever_happened() {
        spoiled("I12", |run| {
            run.faults[0].began = BEGAN;
            (2..=4).for_each(|attempt| call(run, attempt));
        });
    }

    #[test]
    fn an_attempt_that_was_made_twice_is_found() {
        spoiled("I12", |run| {
            (run.faults[0].began, run.faults[0].healed) = (BEGAN, BEGAN + 900 * S);
            call(run, 1);
        });
    }
}
