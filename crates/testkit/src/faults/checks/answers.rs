//! That what was answered is kept, once, and is what the provider said.

use std::collections::{HashMap, HashSet};

use llm::simulator::signed_answer;
use uuid::Uuid;

use super::super::{
    evidence::Evidence,
    history::{Ask, Kind, text_hash},
    prompts::prompts,
};

/// The conversations that somebody tried to delete.
pub(super) fn deleted(run: &Evidence) -> HashSet<usize> {
    run.events.iter().filter(|event| event.ask == Ask::Delete).map(|event| event.talk).collect()
}

/// I1: an answered turn is in every later read, and in the last one with its text and with the answer that was told.
pub fn accepted_is_kept(run: &Evidence) -> Vec<String> {
    let deleted = deleted(run);
    let mut found = Vec::new();
    let mut asked_at = HashMap::new();
    // Of each conversation: when an answer was known, and of which turn.
    let mut answered: HashMap<usize, Vec<(i64, Uuid)>> = HashMap::new();
    let reads: HashMap<_, _> = run.reads.iter().map(|read| (read.talk, read)).collect();
    for event in run.events.iter().filter(|event| !deleted.contains(&event.talk)) {
        match (event.kind, event.ask, event.turn) {
            (Kind::Invoke, Ask::Read, _) => drop(asked_at.insert(event.request, event.at)),
            (Kind::Ok, Ask::Send, Some(turn)) => {
                let messages =
                    reads.get(&event.talk).map(|read| read.messages.as_slice()).unwrap_or_default();
                let text =
                    |by_user| messages.iter().find(|it| it.0 == turn && it.1 == by_user).map(|it| it.2);
                if event.code == "answered" {
                    answered.entry(event.talk).or_default().push((event.at, turn));
                    if text(false) != Some(event.answer) {
                        found
                            .push(format!("the answer of turn {turn} is not read in the end as it was told"));
                    }
                }
                if text(true) != Some(event.text) {
                    found.push(format!("turn {turn} of conversation {} is not read in the end", event.talk));
                }
            }
            (Kind::Ok, Ask::Read, _) => {
                let since = asked_at.get(&event.request).copied().unwrap_or_default();
                let before = answered.get(&event.talk).into_iter().flatten().filter(|(at, _)| *at < since);
                for (_, turn) in before.filter(|(_, turn)| !event.read.contains(turn)) {
                    found.push(format!("read {} misses turn {turn}, answered before", event.request));
                }
            }
            _ => {}
        }
    }
    found
}

/// I2: what is stored was sent, by its owner, into that conversation, with that key.
pub fn nothing_from_nowhere(run: &Evidence) -> Vec<String> {
    let sent: HashSet<_> = run
        .events
        .iter()
        .filter(|event| event.kind == Kind::Invoke && event.ask == Ask::Send)
        .map(|event| (event.talk, event.key.as_deref(), event.text))
        .collect();
    let talks: HashMap<_, _> = run.talks.iter().enumerate().map(|(number, talk)| (talk.id, number)).collect();
    let texts = run.dump.texts_of();
    let strange = run.dump.turns.iter().filter(|turn| {
        let Some((Some(question), _)) = texts.get(&turn.id) else { return true };
        let talk = talks.get(&turn.conversation_id);
        // One that was sent without a key may have been given one at the door.
        let keys = [turn.idempotency_key.as_deref(), None];
        talk.is_none_or(|talk| !keys.iter().any(|key| sent.contains(&(*talk, *key, text_hash(question)))))
    });
    strange.map(|turn| format!("turn {} was never sent", turn.id)).collect()
}

/// I3: each turn's outcome was written exactly once.
pub fn one_outcome(run: &Evidence) -> Vec<String> {
    let mut written: HashMap<Uuid, usize> = run.dump.turns.iter().map(|turn| (turn.id, 0)).collect();
    for turn in run.dump.writes.iter().filter(|write| write.kind == "outcome").filter_map(|write| write.turn)
    {
        *written.entry(turn).or_default() += 1;
    }
    let wrong = written.into_iter().filter(|(_, times)| *times != 1);
    wrong.map(|(turn, times)| format!("turn {turn} has {times} outcomes")).collect()
}

/// I4: a completed turn has the answer of exactly one attempt.
pub fn one_answer(run: &Evidence) -> Vec<String> {
    let (prompts, outcomes) = (prompts(run), run.dump.outcome_of());
    let mut answers: HashMap<Uuid, Vec<&str>> = HashMap::new();
    for message in run.dump.messages.iter().filter(|message| message.role == "assistant") {
        answers.entry(message.turn_id).or_default().push(&message.content);
    }
    let mut attempts: HashMap<Uuid, HashSet<i16>> = HashMap::new();
    for call in &run.calls {
        attempts.entry(call.turn).or_default().insert(call.attempt);
    }
    let mut found = Vec::new();
    for turn in &run.dump.turns {
        let status = outcomes.get(&turn.id).map_or("open", |outcome| &outcome.status);
        let answers = answers.remove(&turn.id).unwrap_or_default();
        match (status, answers.as_slice()) {
            ("completed", [answer]) => {
                let prompt = &prompts[&turn.id];
                let attempts = attempts.get(&turn.id).into_iter().flatten();
                let of =
                    attempts.filter(|attempt| signed_answer(prompt, &attempt.to_string()) == *answer).count();
                if of != 1 {
                    found.push(format!("turn {} has an answer that is that of {of} attempts", turn.id));
                }
            }
            ("completed", answers) => {
                found.push(format!("turn {} is completed with {} answers", turn.id, answers.len()))
            }
            (_, []) => {}
            (status, answers) => {
                found.push(format!("turn {} is {status} with {} answers", turn.id, answers.len()))
            }
        }
    }
    found.extend(answers.keys().map(|turn| format!("an answer belongs to turn {turn}, which is not there")));
    found
}

/// I18: the attempt that a stored answer names was finished explicitly by the provider.
pub fn finished_explicitly(run: &Evidence) -> Vec<String> {
    let finished: HashSet<_> =
        run.calls.iter().filter(|call| call.finish_sent).map(|call| (call.turn, call.attempt)).collect();
    let texts = run.dump.texts_of();
    let completed = run.dump.outcomes.iter().filter(|outcome| outcome.status == "completed");
    let unfinished = completed.filter(|outcome| {
        let answer = texts.get(&outcome.turn_id).and_then(|(_, answer)| *answer).unwrap_or_default();
        let attempt = answer.rsplit_once(' ').and_then(|(_, last)| last.trim_end_matches(']').parse().ok());
        !finished.contains(&(outcome.turn_id, attempt.unwrap_or(0)))
    });
    unfinished.map(|outcome| format!("turn {} is completed without a finish", outcome.turn_id)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{dump, spoiled};
    use crate::faults::history::{Ask, Kind};

    #[test]
    fn a_lost_turn_is_found() {
        spoiled("I1", |run| _ = run.reads[0].messages.remove(0));
        spoiled("I1", |run| run.reads[0].messages[0].2 += 1);
    }

    #[test]
    fn an_answer_that_is_kept_otherwise_than_it_was_told_is_found() {
        spoiled("I1", |run| run.reads[0].messages[1].2 += 1);
        spoiled("I1", |run| run.events[1].answer += 1);
    }

    #[test]
    fn an_answer_that_a_later_read_misses_is_found() {
        spoiled("I1", |run| {
            let last = run.events.last().unwrap().clone();
            let invoke = crate::faults::history::Event {
                kind: Kind::Invoke,
                ask: Ask::Read,
                at: last.at + 1,
                request: 10_000,
                turn: None,
                ..last
            };
            run.events.push(invoke.clone());
            run.events.push(crate::faults::history::Event { kind: Kind::Ok, at: invoke.at + 1, ..invoke });
        });
    }

    #[test]
    fn a_turn_that_nobody_sent_is_found() {
        spoiled("I2", |run| run.events.retain(|event| event.send != Some(3)));
        spoiled("I2", |run| dump(run).turns[0].idempotency_key = Some("another".into()));
    }

    #[test]
    fn a_second_outcome_and_a_missing_one_are_found() {
        spoiled("I3", |run| {
            let outcome = dump(run).writes.iter().find(|write| write.kind == "outcome").cloned();
            dump(run).writes.extend(outcome);
        });
        spoiled("I3", |run| dump(run).writes.retain(|write| write.kind != "outcome"));
    }

    #[test]
    fn two_answers_none_and_a_strange_one_are_found() {
        spoiled("I4", |run| {
            let answer = dump(run).messages[1].clone();
            dump(run).messages.push(answer);
        });
        spoiled("I4", |run| drop(dump(run).messages.remove(1)));
        spoiled("I4", |run| dump(run).messages[1].content.push('x'));
        spoiled("I4", |run| dump(run).outcomes[0].status = "failed".into());
    }

    #[test]
    fn an_answer_of_an_attempt_that_never_was_is_found() {
        spoiled("I4", |run| run.calls[0].attempt = 2);
    }

    #[test]
    fn a_cut_answer_that_was_kept_is_found() {
        spoiled("I18", |run| run.calls[0].finish_sent = false);
    }
}
