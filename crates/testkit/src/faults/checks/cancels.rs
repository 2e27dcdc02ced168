//! That a turn which has ended, above all one that was cancelled, is left alone.

use std::collections::HashMap;

use super::{
    super::{
        evidence::{Evidence, micros},
        history::{Ask, Kind},
    },
    calls::AFTERMATH,
};

/// A call that was about to be made may still be made for so long, in microseconds.
const TOO_LATE: i64 = 1_000_000;
/// The word that a turn is cancelled may be lost with a connection. Then its owner finds out within so long, in microseconds.
const FOUND_OUT: i64 = 3_000_000;

/// I13: a turn that somebody cancelled ended as was answered then; once a turn has ended, no call begins for it, or, where a
/// fault came between, it is soon stopped. What a proxy held back, and lets the provider see when its caller has gone, was
/// no new call.
pub fn cancelled_is_final(run: &Evidence) -> Vec<String> {
    let outcomes = run.dump.outcome_of();
    let mut found = Vec::new();
    let mut over: HashMap<_, i64> =
        outcomes.iter().map(|(turn, outcome)| (*turn, micros(outcome.finished_at))).collect();
    for event in run.events.iter().filter(|event| event.ask == Ask::Cancel && event.kind == Kind::Ok) {
        let Some(turn) = event.turn else { continue };
        let ended = outcomes.get(&turn).map_or("open", |outcome| &outcome.status);
        if ended != event.code {
            found.push(format!("who cancelled turn {turn} was answered {}, and it is {ended}", event.code));
        }
        let at = over.entry(turn).or_insert(event.at);
        *at = event.at.min(*at);
    }
    for call in run.calls.iter().filter(|call| !call.abandoned) {
        let (turn, attempt) = (call.turn, call.attempt);
        let Some(over) = over.get(&turn) else { continue };
        let late = call.began - over;
        let near = run.faults.iter().any(|it| it.began <= call.began && *over <= it.healed + AFTERMATH);
        if late > TOO_LATE && !(near && call.ended - call.began <= FOUND_OUT) {
            found.push(format!("call {turn}:{attempt} was made {} ms after the turn had ended", late / 1000));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::{S, dump, spoiled};
    use crate::faults::{evidence::Evidence, history::Ask};

    fn cancelled(run: &Evidence) -> usize {
        run.events.iter().rposition(|event| event.ask == Ask::Cancel).expect("somebody cancels")
    }

    #[test]
    fn a_cancel_that_was_answered_and_is_not_so_is_found() {
        spoiled("I13", |run| {
            let cancelled = cancelled(run);
            run.events[cancelled].code = "cancelled".into();
        });
        spoiled("I13", |run| dump(run).outcomes.retain(|outcome| outcome.turn_id.as_u128() != 1));
    }

    #[test]
    fn a_call_for_what_was_cancelled_is_found() {
        spoiled("I13", |run| {
            let cancelled = run.events[cancelled(run)].clone();
            let call = run.calls.iter().find(|call| Some(call.turn) == cancelled.turn).unwrap().clone();
            run.calls.push(crate::faults::evidence::Asked {
                attempt: 2,
                began: cancelled.at + 2 * S,
                ..call
            });
        });
    }

    #[test]
    fn a_call_for_what_has_ended_is_found_and_after_a_fault_one_that_is_not_stopped() {
        spoiled("I13", |run| run.calls[3].began += 5 * S);
        spoiled("I13", |run| {
            (run.faults[0].began, run.faults[0].healed) = (run.calls[3].ended, run.calls[3].ended);
            run.calls[3].began += 5 * S;
            run.calls[3].ended += 9 * S;
        });
    }
}
