//! That everything comes to its end, and that faults leave nothing behind.

use std::collections::HashMap;

use super::super::{
    evidence::{Evidence, micros},
    history::{Ask, Kind, Via},
};

/// In the end each way and each worker must have done so many turns.
const TAIL_MIN: usize = 5;

/// I16: every turn has an outcome, in time, and whoever can ask again has learned it.
pub fn every_turn_ends(run: &Evidence) -> Vec<String> {
    let outcomes = run.dump.outcome_of();
    let mut found = Vec::new();
    for turn in &run.dump.turns {
        let Some(outcome) = outcomes.get(&turn.id) else {
            found.push(format!("turn {} has no outcome", turn.id));
            continue;
        };
        let (began, ended) = (micros(turn.created_at), micros(outcome.finished_at));
        let took = ended - began - overlap(run, began, ended);
        if took > run.turn_max {
            found.push(format!("turn {} took {} s besides the faults", turn.id, took / 1_000_000));
        }
    }
    let unknown = run.sent.iter().filter(|sent| sent.message.keyed && sent.known.is_none());
    found.extend(
        unknown
            .map(|sent| format!("the sender of message {} never learned its outcome", sent.message.number)),
    );
    found
}

/// The time of these two moments that lies within faults.
pub(super) fn overlap(run: &Evidence, began: i64, ended: i64) -> i64 {
    let mut windows: Vec<_> =
        run.faults.iter().map(|fault| (fault.began.max(began), fault.healed.min(ended))).collect();
    windows.sort_unstable();
    let (mut covered, mut until) = (0, i64::MIN);
    for (from, to) in windows {
        let from = from.max(until);
        covered += (to - from).max(0);
        until = until.max(to);
    }
    covered
}

/// I17: in the end each way answers, each worker works, and nothing is unknown.
pub fn all_is_well_again(run: &Evidence) -> Vec<String> {
    let (from, to) = run.tail;
    let mut ways: HashMap<String, usize> = HashMap::new();
    let mut found = Vec::new();
    let tail = run.events.iter().filter(|event| event.ask == Ask::Send && (from..=to).contains(&event.at));
    for event in tail {
        let way = match event.via {
            Via::Http(ingress) => format!("ingress {ingress}"),
            Via::Nats => "NATS".to_owned(),
        };
        match event.kind {
            Kind::Ok => *ways.entry(way).or_default() += 1,
            Kind::Info => {
                found.push(format!("request {} over {way} was answered {}", event.request, event.code))
            }
            Kind::Invoke | Kind::Fail => _ = ways.entry(way).or_default(),
        }
    }
    if !ways.contains_key("NATS") {
        found.push("nothing was sent over NATS in the end".to_owned());
    }
    let mut workers: HashMap<&str, usize> = run.workers.iter().map(|worker| (worker.as_str(), 0)).collect();
    for write in run.dump.writes.iter().filter(|write| write.kind == "outcome") {
        if (from..=to).contains(&micros(write.at))
            && let Some(turns) = workers.get_mut(write.writer.as_str())
        {
            *turns += 1;
        }
    }
    let all = ways.into_iter().chain(workers.into_iter().map(|(worker, turns)| (worker.to_owned(), turns)));
    let few = all.filter(|(_, turns)| *turns < TAIL_MIN);
    found.extend(few.map(|(who, turns)| format!("{who} has {turns} turns in the end")));
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::{dump, spoiled};
    use crate::faults::{
        evidence::micros,
        history::{Kind, Via},
    };

    #[test]
    fn a_turn_without_an_end_is_found() {
        spoiled("I16", |run| drop(dump(run).outcomes.pop()));
        spoiled("I16", |run| run.sent[0].known = None);
    }

    #[test]
    fn a_turn_that_took_too_long_is_found_and_faults_do_not_count() {
        let late = time::Duration::seconds(80);
        spoiled("I16", |run| dump(run).outcomes[0].finished_at += late);
        let mut run = super::super::sample::run();
        let began = micros(run.dump.turns[0].created_at);
        (run.faults[0].began, run.faults[0].healed) = (began, began + 40_000_000);
        run.dump.outcomes[0].finished_at += late;
        assert!(super::every_turn_ends(&run).is_empty());
    }

    #[test]
    fn a_way_that_is_shut_in_the_end_is_found() {
        spoiled("I17", |run| run.events.retain(|event| event.via != Via::Nats));
        spoiled("I17", |run| run.events.last_mut().unwrap().kind = Kind::Info);
    }

    #[test]
    fn a_worker_that_does_nothing_in_the_end_is_found() {
        spoiled("I17", |run| run.workers.push("process_2".into()));
    }
}
