//! That a key stands for one turn.

use std::collections::{HashMap, HashSet};

use super::super::{
    evidence::Evidence,
    history::{Ask, Kind, text_hash},
};

#[derive(Default)]
struct Of {
    turns: HashSet<uuid::Uuid>,
    texts: HashSet<u64>,
    outcomes: HashSet<String>,
}

/// I5: all answers to one user and key name the same turn, the same text and the same outcome; in Postgres there is one; and
/// nobody is told that a key was used for another text who has not used it so.
pub fn one_key_one_turn(run: &Evidence) -> Vec<String> {
    let mut keys: HashMap<(usize, &str), Of> = HashMap::new();
    for event in run.events.iter().filter(|event| event.ask == Ask::Send && event.kind == Kind::Ok) {
        let Some(key) = &event.key else { continue };
        let of = keys.entry((event.user, key)).or_default();
        of.turns.extend(event.turn);
        of.texts.insert(event.text);
        of.outcomes.insert(format!("{} {:x}", event.code, event.answer));
    }
    let mut found = Vec::new();
    for ((user, key), of) in &keys {
        if of.turns.len() > 1 || of.texts.len() > 1 || of.outcomes.len() > 1 {
            let (turns, texts) = (of.turns.len(), of.texts.len());
            found.push(format!(
                "user {user}, {key}: {turns} turns, {texts} texts, outcomes {:?}",
                of.outcomes
            ));
        }
    }
    let talks: HashMap<_, _> = run.talks.iter().map(|talk| (talk.id, talk.user)).collect();
    let texts = run.dump.texts_of();
    let mut stored: HashMap<(usize, &str), u64> = HashMap::new();
    for turn in &run.dump.turns {
        let (Some(key), Some(user)) = (&turn.idempotency_key, talks.get(&turn.conversation_id)) else {
            continue;
        };
        let question = texts.get(&turn.id).and_then(|(question, _)| *question).unwrap_or_default();
        if stored.insert((*user, key), text_hash(question)).is_some() {
            found.push(format!("user {user}, {key}: stored twice"));
        }
    }
    let mut sent: HashMap<(usize, &str), HashSet<u64>> = HashMap::new();
    for event in run.events.iter().filter(|event| event.ask == Ask::Send && event.kind == Kind::Invoke) {
        let key = event.key.as_deref().unwrap_or_default();
        sent.entry((event.user, key)).or_default().insert(event.text);
    }
    let refused = run.events.iter().filter(|event| event.code == "idempotency_key_reused");
    for event in refused {
        let key = event.key.as_deref().unwrap_or_default();
        if stored.get(&(event.user, key)) == Some(&event.text) {
            found.push(format!("user {}, {key}: refused with the text it was accepted with", event.user));
        }
        if sent.get(&(event.user, key)).is_none_or(|texts| texts.len() < 2) {
            found.push(format!("user {}, {key}: refused, and there was no other text", event.user));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::{dump, spoiled};
    use crate::faults::{evidence::Evidence, history::Event};

    fn again(run: &mut Evidence, change: impl FnOnce(&mut Event)) {
        let mut event = run.events[1].clone();
        change(&mut event);
        run.events.push(event);
    }

    #[test]
    fn a_second_turn_of_a_key_is_found() {
        spoiled("I5", |run| again(run, |event| event.turn = Some(uuid::Uuid::now_v7())));
        spoiled("I5", |run| {
            let turn = dump(run).turns[0].clone();
            dump(run).turns.push(turn);
        });
    }

    #[test]
    fn another_text_that_was_taken_is_found() {
        spoiled("I5", |run| again(run, |event| event.text += 1));
    }

    #[test]
    fn an_outcome_that_changed_is_found() {
        spoiled("I5", |run| again(run, |event| event.code = "provider_failed".into()));
        spoiled("I5", |run| again(run, |event| event.answer += 1));
    }

    #[test]
    fn a_key_that_was_refused_as_it_is_somebody_elses_is_found() {
        spoiled("I5", |run| {
            again(run, |event| (event.code, event.text) = ("idempotency_key_reused".into(), event.text + 1));
        });
    }

    #[test]
    fn a_repeat_that_was_refused_is_found() {
        spoiled("I5", |run| again(run, |event| event.code = "idempotency_key_reused".into()));
    }
}
