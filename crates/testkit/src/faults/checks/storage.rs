//! That what is stored fits together, where no foreign key sees to it.

use std::collections::HashSet;

use super::super::evidence::Evidence;

/// I22: questions, answers, outcomes and attempts belong to turns, and each turn has its question.
pub fn rows_fit(run: &Evidence) -> Vec<String> {
    let dump = &run.dump;
    let turns: HashSet<_> = dump.turns.iter().map(|turn| turn.id).collect();
    let questions: HashSet<_> = dump
        .messages
        .iter()
        .filter(|it| it.role == "user")
        .map(|it| (it.id, it.turn_id, it.conversation_id))
        .collect();
    let mut found = Vec::new();
    for turn in &dump.turns {
        if !questions.contains(&(turn.user_message_id, turn.id, turn.conversation_id)) {
            found.push(format!("turn {} has no question", turn.id));
        }
    }
    let owners = dump.outcomes.iter().map(|outcome| ("outcome", outcome.turn_id));
    let owners = owners.chain(dump.messages.iter().map(|message| ("message", message.turn_id)));
    let owners = owners.chain(dump.attempts.iter().map(|(turn, _)| ("attempt", *turn)));
    let lost = owners.filter(|(_, turn)| !turns.contains(turn));
    found.extend(lost.map(|(what, turn)| format!("an {what} belongs to turn {turn}, which is not there")));
    found
}

/// I22: two dumps, taken two seconds apart when nothing runs, are the same.
pub fn rows_rest(run: &Evidence) -> Vec<String> {
    if run.settled { Vec::new() } else { vec!["something still writes though nothing runs".to_owned()] }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{dump, spoiled};

    #[test]
    fn rows_without_their_turn_are_found() {
        spoiled("I22a", |run| drop(dump(run).turns.pop()));
        spoiled("I22a", |run| drop(dump(run).messages.remove(0)));
        spoiled("I22a", |run| dump(run).attempts.push((uuid::Uuid::now_v7(), 2)));
    }

    #[test]
    fn rows_that_do_not_rest_are_found() {
        spoiled("I22b", |run| run.settled = false);
    }
}
