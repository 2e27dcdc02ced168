//! That the events of a turn, told over however many connections, are one story that ends.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{
    super::{driver::Reading, evidence::Evidence, evidence::micros},
    answers::deleted,
    liveness::overlap,
};

/// A reader hears of the end so soon, the time of faults not counted, in microseconds.
const END_MAX: i64 = 30_000_000;

/// I10: the numbers of events grow, whoever tells them; each delta begins where the one before ended; an answer is begun anew
/// only for an attempt that was made; and what was told in the end is what is stored.
pub fn told_without_a_gap(run: &Evidence) -> Vec<String> {
    let attempts: HashSet<_> = run.dump.attempts.iter().copied().collect();
    let stored = Stored { run, texts: run.dump.texts_of(), deleted: deleted(run) };
    let mut found = Vec::new();
    for reading in &run.readings {
        found.extend(story(reading, &attempts).err().or_else(|| stored.ending(reading).err()).map(|wrong| {
            let (turn, connections) = (reading.turn, reading.connections);
            format!("a reader of turn {turn}, over {connections} connections: {wrong}")
        }));
    }
    found
}

/// One reader's events, by themselves.
fn story(reading: &Reading, attempts: &HashSet<(Uuid, i16)>) -> Result<(), String> {
    let (mut last, mut attempt, mut text, mut over) = (0, 0, String::new(), false);
    for told in &reading.told {
        let number = told.id.split_once(':').filter(|(turn, _)| *turn == reading.turn.to_string());
        let number: u64 = number.and_then(|(_, number)| number.parse().ok()).unwrap_or_default();
        let (name, connection) = (&told.name, told.connection);
        if over || number <= last {
            return Err(format!("{name} {number} on connection {connection} came after {last}"));
        }
        (last, over) = (number, told.is_end());
        match &**name {
            "restarted" | "started" if told.attempt <= attempt => {
                return Err(format!("attempt {} came after attempt {attempt}", told.attempt));
            }
            "restarted" if !attempts.contains(&(reading.turn, told.attempt)) => {
                return Err(format!("attempt {} was told, and never made", told.attempt));
            }
            "restarted" | "started" => (attempt, text) = (told.attempt, String::new()),
            // Who comes late is told no start.
            "delta" if attempt == 0 && told.offset == 0 => {
                (attempt, text) = (told.attempt, told.text.clone())
            }
            "delta" if told.attempt != attempt || told.offset != text.len() => {
                let (offset, length) = (told.offset, text.len());
                return Err(format!(
                    "at {length} of attempt {attempt} came {offset} of attempt {}",
                    told.attempt
                ));
            }
            "delta" => text.push_str(&told.text),
            "completed" if told.text != text => return Err("the parts are not the answer".into()),
            _ => {}
        }
    }
    Ok(())
}

struct Stored<'a> {
    run: &'a Evidence,
    texts: HashMap<Uuid, (Option<&'a str>, Option<&'a str>)>,
    deleted: HashSet<usize>,
}

impl Stored<'_> {
    /// Whether the end that a reader was told is the one that is stored. What was deleted ends with that.
    fn ending(&self, reading: &Reading) -> Result<(), String> {
        let Some(end) = reading.end().filter(|_| !self.deleted.contains(&reading.talk)) else {
            return Ok(());
        };
        let outcome = self.run.dump.outcomes.iter().find(|outcome| outcome.turn_id == reading.turn);
        let status = outcome.map_or("open", |outcome| &outcome.status);
        if status != end.name {
            return Err(format!("it was told {}, and the turn is {status}", end.name));
        }
        let answer = self.texts.get(&reading.turn).and_then(|(_, answer)| *answer);
        match answer {
            Some(answer) if answer != end.text => Err("it was told another answer than is stored".into()),
            _ => Ok(()),
        }
    }
}

/// I11: whoever reads is told the end within half a minute of it, faults not counted.
pub fn told_the_end(run: &Evidence) -> Vec<String> {
    let (outcomes, deleted) = (run.dump.outcome_of(), deleted(run));
    let mut found = Vec::new();
    for reading in run.readings.iter().filter(|reading| !deleted.contains(&reading.talk)) {
        let Some(outcome) = outcomes.get(&reading.turn) else { continue };
        let since = micros(outcome.finished_at).max(reading.began);
        let until = reading.end().map_or(reading.until, |end| end.at);
        let waited = until - since - overlap(run, since, until);
        if waited > END_MAX {
            let turn = reading.turn;
            found.push(format!("a reader of turn {turn} waited {} s for its end", waited / 1_000_000));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::{S, dump, spoiled};
    use crate::faults::{driver::Told, evidence::Evidence};

    fn told(run: &mut Evidence) -> &mut Vec<Told> {
        &mut run.readings[0].told
    }

    #[test]
    fn an_event_told_twice_and_one_told_late_are_found() {
        spoiled("I10", |run| {
            let again = told(run)[2].clone();
            told(run).insert(3, again);
        });
        spoiled("I10", |run| told(run).swap(2, 3));
        spoiled("I10", |run| {
            let last = told(run).last().unwrap().clone();
            let id = last.id.replace(":1", ":2");
            told(run).push(Told { id, ..last });
        });
        spoiled("I10", |run| told(run)[0].id = format!("{}:1", uuid::Uuid::nil()));
    }

    #[test]
    fn a_gap_in_the_text_is_found() {
        spoiled("I10", |run| drop(told(run).remove(2)));
        spoiled("I10", |run| _ = told(run)[2].text.pop());
        spoiled("I10", |run| told(run).retain(|told| told.name != "delta"));
    }

    #[test]
    fn an_attempt_that_never_was_is_found() {
        spoiled("I10", |run| (told(run)[1].name, told(run)[1].attempt) = ("restarted".into(), 2));
        spoiled("I10", |run| {
            let mut again = told(run)[1].clone();
            again.id = again.id.replace(":10", ":11");
            told(run).insert(4, again);
        });
    }

    #[test]
    fn another_end_than_is_stored_is_found() {
        spoiled("I10", |run| dump(run).messages[1].content.push('x'));
        spoiled("I10", |run| dump(run).outcomes[0].status = "cancelled".into());
    }

    #[test]
    fn an_end_that_comes_late_or_never_is_found() {
        spoiled("I11", |run| told(run).last_mut().unwrap().at += 40 * S);
        spoiled("I11", |run| {
            told(run).pop();
            run.readings[0].until += 40 * S;
        });
    }
}
