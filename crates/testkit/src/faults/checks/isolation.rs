//! That nobody hears, learns or does what is not theirs.

use std::collections::{HashMap, HashSet};

use super::super::{
    evidence::{Evidence, micros},
    history::{Ask, Kind},
};

/// I9: no canary of anybody else in anything received; what is somebody else's looks like what never was.
pub fn nobody_hears_others(run: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut lengths: HashMap<u8, HashSet<usize>> = HashMap::new();
    for event in &run.events {
        for other in event.canaries.iter().filter(|other| **other != event.user) {
            let (user, request) = (event.user, event.request);
            found.push(format!("user {user} received a text of user {other} in answer to request {request}"));
        }
        let Ask::Probe { door, .. } = event.ask else { continue };
        match event.kind {
            Kind::Fail if event.code.ends_with("_not_found") => {
                _ = lengths.entry(door).or_default().insert(event.bytes)
            }
            Kind::Fail | Kind::Ok => found
                .push(format!("probe {} of user {} was answered {}", event.request, event.user, event.code)),
            Kind::Invoke | Kind::Info => {}
        }
    }
    for (door, lengths) in lengths.into_iter().filter(|(_, lengths)| lengths.len() > 1) {
        found
            .push(format!("door {door}: what is there can be told by the length of the answer: {lengths:?}"));
    }
    found
}

/// I19: logs are without secrets and texts.
pub fn logs_are_clean(run: &Evidence) -> Vec<String> {
    run.leaks.iter().map(|(log, what)| format!("{log} holds {what}")).collect()
}

/// I20: what is asked with a forged credential is not even looked at.
pub fn forged_is_refused(run: &Evidence) -> Vec<String> {
    let forged = run.events.iter().filter(|event| event.ask == Ask::Forged);
    let taken = forged.filter(|event| matches!(event.kind, Kind::Ok | Kind::Fail));
    taken
        .map(|event| {
            format!("request {} with a forged credential was answered {}", event.request, event.code)
        })
        .collect()
}

/// I21: after a deletion was acknowledged, nothing of it is read, answered or accepted.
pub fn deleted_is_gone(run: &Evidence) -> Vec<String> {
    let mut gone: HashMap<usize, i64> = HashMap::new();
    for event in run.events.iter().filter(|event| event.ask == Ask::Delete && event.kind == Kind::Ok) {
        gone.entry(event.talk).or_insert(event.at);
    }
    let mut late = HashSet::new();
    let mut found = Vec::new();
    for event in run.events.iter().filter(|event| matches!(event.ask, Ask::Send | Ask::Read)) {
        match event.kind {
            Kind::Invoke if gone.get(&event.talk).is_some_and(|gone| event.at > *gone) => {
                late.insert(event.request);
            }
            Kind::Ok if late.contains(&event.request) => found.push(format!(
                "request {} into conversation {}, which was deleted before, was answered {}",
                event.request, event.talk, event.code
            )),
            _ => {}
        }
    }
    let talks: HashMap<_, _> = run.talks.iter().enumerate().map(|(number, talk)| (talk.id, number)).collect();
    for turn in &run.dump.turns {
        let deleted = talks.get(&turn.conversation_id).and_then(|talk| gone.get(talk));
        if deleted.is_some_and(|deleted| micros(turn.created_at) > *deleted) {
            found.push(format!("turn {} was accepted after its conversation was deleted", turn.id));
        }
    }
    let read = run.reads.iter().filter(|read| gone.contains_key(&read.talk) && read.status != 404);
    found.extend(
        read.map(|read| format!("conversation {} was deleted and is read: {}", read.talk, read.status)),
    );
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::spoiled;
    use crate::faults::{
        evidence::Evidence,
        history::{Ask, Event, Kind},
    };

    fn add(run: &mut Evidence, change: impl FnOnce(&mut Event)) {
        let mut event = run.events[1].clone();
        change(&mut event);
        run.events.push(event);
    }

    fn probe(run: &mut Evidence, kind: Kind, code: &str, bytes: usize) {
        add(run, |event| {
            event.ask = Ask::Probe { nowhere: bytes == 100, door: 1 };
            (event.kind, event.code, event.bytes) = (kind, code.into(), bytes);
        });
    }

    #[test]
    fn a_text_of_somebody_else_is_found() {
        spoiled("I9", |run| run.events[1].canaries.push(1));
    }

    #[test]
    fn a_probe_that_learns_something_is_found() {
        spoiled("I9", |run| probe(run, Kind::Ok, "ok", 0));
        spoiled("I9", |run| probe(run, Kind::Fail, "conversation_busy", 0));
        spoiled("I9", |run| {
            probe(run, Kind::Fail, "conversation_not_found", 100);
            probe(run, Kind::Fail, "conversation_not_found", 101);
        });
    }

    #[test]
    fn a_secret_in_a_log_is_found() {
        spoiled("I19", |run| run.leaks.push(("chat-0.log".into(), "a password".into())));
    }

    #[test]
    fn a_forged_credential_that_is_good_is_found() {
        for kind in [Kind::Ok, Kind::Fail] {
            spoiled("I20", |run| add(run, |event| (event.ask, event.kind) = (Ask::Forged, kind)));
        }
    }

    fn delete(run: &mut Evidence, at: i64) {
        run.reads.retain(|read| read.talk != 0);
        add(run, |event| (event.ask, event.at, event.turn) = (Ask::Delete, at, None));
    }

    #[test]
    fn a_send_into_what_is_deleted_is_found() {
        spoiled("I21", |run| delete(run, run.events[0].at - 1));
    }

    #[test]
    fn a_turn_accepted_into_what_is_deleted_is_found() {
        spoiled("I21", |run| {
            delete(run, run.events[0].at + 1);
            run.events.retain(|event| event.ask == Ask::Delete);
        });
    }

    #[test]
    fn what_is_deleted_and_read_is_found() {
        spoiled("I21", |run| add(run, |event| (event.ask, event.at) = (Ask::Delete, i64::MAX)));
    }
}
