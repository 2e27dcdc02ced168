//! That turns come one after the other, each told what came before it, and written by who may.

use std::collections::HashMap;

use llm::simulator::digest;
use uuid::Uuid;

use super::super::{
    evidence::{Evidence, micros},
    history::{Ask, Kind, text_hash},
    prompts::prompts,
};

/// I6: places are 0, 1, 2, …; a turn that was known before another was sent has the lower place.
pub fn numbered_in_order(run: &Evidence) -> Vec<String> {
    let talks: HashMap<_, _> = run.talks.iter().enumerate().map(|(number, talk)| (talk.id, number)).collect();
    let mut sent: HashMap<(usize, u64), i64> = HashMap::new();
    let mut known: HashMap<Uuid, i64> = HashMap::new();
    for event in run.events.iter().filter(|event| event.ask == Ask::Send) {
        match (event.kind, event.turn) {
            (Kind::Invoke, _) => _ = sent.entry((event.talk, event.text)).or_insert(event.at),
            (Kind::Ok, Some(turn)) => _ = known.entry(turn).or_insert(event.at),
            _ => {}
        }
    }
    let texts = run.dump.texts_of();
    let mut found = Vec::new();
    let (mut conversation, mut next, mut latest) = (None, 0, i64::MIN);
    for turn in &run.dump.turns {
        if conversation != Some(turn.conversation_id) {
            (conversation, next, latest) = (Some(turn.conversation_id), 0, i64::MIN);
        }
        if turn.seq != next {
            found.push(format!("turn {} has place {}, not {next}", turn.id, turn.seq));
        }
        next = turn.seq + 1;
        if known.get(&turn.id).is_some_and(|known| *known < latest) {
            found.push(format!("turn {} was known before an earlier one was sent", turn.id));
        }
        let question = texts.get(&turn.id).and_then(|(question, _)| *question).map(text_hash);
        let talk = talks.get(&turn.conversation_id);
        let sent = talk.zip(question).and_then(|(talk, question)| sent.get(&(*talk, question)));
        latest = latest.max(sent.copied().unwrap_or(i64::MIN));
    }
    found
}

/// I7: each call's prompt is what is stored before its turn, and the turn before has ended when it is made.
pub fn prompts_are_prefixes(run: &Evidence) -> Vec<String> {
    let digests: HashMap<_, _> =
        prompts(run).into_iter().map(|(turn, prompt)| (turn, digest(&prompt))).collect();
    let outcomes = run.dump.outcome_of();
    let mut ended_before: HashMap<Uuid, i64> = HashMap::new();
    for pair in run.dump.turns.windows(2) {
        if pair[0].conversation_id == pair[1].conversation_id {
            let ended = outcomes.get(&pair[0].id).map_or(i64::MAX, |outcome| micros(outcome.finished_at));
            ended_before.insert(pair[1].id, ended);
        }
    }
    let mut found = Vec::new();
    for call in &run.calls {
        let (turn, attempt) = (call.turn, call.attempt);
        match digests.get(&turn) {
            None => found.push(format!("call {turn}:{attempt} is for a turn that is not stored")),
            Some(digest) if *digest != call.digest => {
                found.push(format!("call {turn}:{attempt} was told something else than what is stored"))
            }
            Some(_) => {}
        }
        if ended_before.get(&turn).is_some_and(|ended| call.began < *ended) {
            found.push(format!("call {turn}:{attempt} was made before the turn before had ended"));
        }
    }
    found
}

/// I8: whoever writes a turn, its outcome or an attempt is the newest owner of its partition at that moment. That a turn is
/// cancelled may be written by whoever was asked for it.
pub fn only_owners_write(run: &Evidence) -> Vec<String> {
    let mut owners: HashMap<i16, (&str, i64)> = HashMap::new();
    let outcomes = run.dump.outcome_of();
    let is_cancelled = |turn: &Uuid| outcomes.get(turn).is_some_and(|outcome| outcome.status == "cancelled");
    let partitions: HashMap<_, _> = run.dump.turns.iter().map(|turn| (turn.id, turn.partition)).collect();
    let mut found = Vec::new();
    for write in &run.dump.writes {
        if let (Some(partition), Some(epoch)) = (write.partition, write.epoch) {
            let before = owners.insert(partition, (&write.writer, epoch));
            if before.is_some_and(|(_, before)| before >= epoch) {
                found.push(format!("partition {partition}: epoch {epoch} does not rise"));
            }
            continue;
        }
        let Some(turn) = write.turn.filter(|turn| write.kind != "outcome" || !is_cancelled(turn)) else {
            continue;
        };
        let partition = write.partition.or_else(|| partitions.get(&turn).copied());
        let owner = partition.and_then(|partition| owners.get(&partition));
        if owner.is_none_or(|(owner, _)| *owner != write.writer) {
            let (kind, writer) = (&write.kind, &write.writer);
            found.push(format!("{kind} of {turn} was written by {writer}; the owner is {owner:?}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::{BEGAN, S, dump, owner, spoiled};

    #[test]
    fn a_gap_and_a_place_twice_are_found() {
        spoiled("I6", |run| dump(run).turns[1].seq = 2);
        spoiled("I6", |run| dump(run).turns[1].seq = 0);
    }

    #[test]
    fn turns_against_real_time_are_found() {
        spoiled("I6", |run| {
            let turns = &mut dump(run).turns;
            (turns[0].seq, turns[1].seq) = (1, 0);
            turns.swap(0, 1);
        });
    }

    #[test]
    fn another_prompt_is_found() {
        spoiled("I7", |run| run.calls[2].digest += 1);
        spoiled("I7", |run| run.calls[2].turn = uuid::Uuid::now_v7());
    }

    #[test]
    fn a_call_that_does_not_wait_is_found() {
        spoiled("I7", |run| run.calls[1].began = run.calls[0].began);
    }

    #[test]
    fn a_stale_owner_that_writes_is_found() {
        spoiled("I8", |run| dump(run).writes.insert(1, owner(2, "process_2", BEGAN + S)));
        spoiled("I8", |run| dump(run).writes.push(owner(1, "process_1", BEGAN + 900 * S)));
        spoiled("I8", |run| drop(dump(run).writes.remove(0)));
    }
}
