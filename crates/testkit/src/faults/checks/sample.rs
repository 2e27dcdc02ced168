//! A small run in which all went well, for the tests of the checks to spoil.

use std::collections::HashMap;

use llm::{Message, simulator};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{
        dice::Dice,
        driver::{Reading, Sent, Talk, Told},
        evidence::{Account, Asked, Dump, Evidence, Outcome, Read, Sample, Stored, Turn, Write},
        fault::{Injected, What},
        history::{Ask, Event, Kind, Via, canary, text_hash},
        installation::CHARGES,
        plan::{self, Size, Twist},
    },
    violations,
};

/// Seconds of the run, in microseconds.
pub const S: i64 = 1_000_000;
/// When it began.
pub const BEGAN: i64 = 1_700_000_000 * S;
const USERS: usize = 2;
const TURNS: usize = 8;

fn at(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).unwrap()
}

/// Two users with a conversation each, eight turns in each, the last six after the faults; one worker.
pub fn run() -> Evidence {
    let mut run = Evidence {
        settled: true,
        turn_max: 60 * S,
        history_messages_max: 20,
        workers: vec!["process_1".into()],
        ..Evidence::default()
    };
    run.tail = (BEGAN + 100 * S, BEGAN + 200 * S);
    run.dump.writes.push(owner(1, "process_1", BEGAN));
    let mut dice = Dice::new(1, 0);
    let mut number = 0;
    for user in 0..USERS {
        let talk = Talk { user, id: Uuid::from_u128(1000 + user as u128) };
        let mut said = Vec::new();
        for turn in 0..TURNS {
            let due = if turn < 2 {
                BEGAN + (10 + 10 * turn as i64) * S
            } else {
                BEGAN + (100 + 10 * turn as i64) * S
            };
            let message = message(&mut dice, number, user);
            add_turn(&mut run, (&talk, turn), &message, due, &mut said);
            number += 1;
        }
        let messages = run.dump.messages.iter().filter(|message| message.conversation_id == talk.id);
        let messages = messages.map(|it| (it.turn_id, it.role == "user", text_hash(&it.content))).collect();
        run.reads.push(Read { talk: user, status: 200, messages });
        run.talks.push(talk);
    }
    run.dump.turns.sort_by_key(|turn| (turn.conversation_id, turn.seq));
    let process = "chat-0#1".to_owned();
    run.samples.push(Sample { at: BEGAN, process, rss_kib: 40_000, files: 50, fenced: 0 });
    run.faults.push(Injected {
        what: What::WorkerKilled,
        number: 0,
        whom: "chat-0".into(),
        began: BEGAN + 60 * S,
        healed: BEGAN + 61 * S,
        touched: 0,
    });
    run
}

/// A write that makes this process the owner of the partition.
pub fn owner(epoch: i64, writer: &str, micros: i64) -> Write {
    Write {
        kind: "owner".into(),
        turn: None,
        partition: Some(3),
        epoch: Some(epoch),
        writer: writer.into(),
        at: at(micros),
    }
}

fn message(dice: &mut Dice, number: u64, user: usize) -> plan::Message {
    let size = Size { users: USERS, talks: 1, ..Size::small() };
    let steps = plan::Plan::new(&Size { seed: dice.any(), ..size }, number, 1, false).steps;
    let message = steps.into_iter().find_map(|(_, step)| match step {
        plan::Step::Send(message) => Some(*message),
        _ => None,
    });
    let text = format!("u{user}-{number} {} [[sim]]", canary(user, number));
    plan::Message {
        user,
        slot: 0,
        keyed: true,
        text,
        fate: plan::Fate::Answered(""),
        twist: Twist::None,
        key: number,
        ..message.unwrap()
    }
}

fn add_turn(
    run: &mut Evidence,
    (talk, place): (&Talk, usize),
    message: &plan::Message,
    due: i64,
    said: &mut Vec<Message>,
) {
    let turn = Uuid::from_u128(1 + u128::from(message.number));
    said.push(Message::user(message.text.as_str()));
    let digest = simulator::digest(said);
    let answer = simulator::signed_answer(said, "1");
    said.push(Message::assistant(answer.as_str()));
    let (began, ended) = (due + S / 4, due + S / 2);
    run.calls.push(Asked {
        turn,
        attempt: 1,
        digest,
        began,
        ended,
        finish_sent: true,
        broken: false,
        tokens: [5, 7],
        abandoned: false,
    });
    run.dump.accounts.push(Account {
        turn_id: turn,
        number: 1,
        prompt_tokens: Some(5),
        completion_tokens: Some(7),
        cost_micros: Some(5 * CHARGES[0] + 7 * CHARGES[1]),
        estimated: false,
        told_by: "outcome".into(),
        provider: Some("simulator".into()),
    });
    let (talk_number, known) = (talk.user, Some((due + S, "answered".into())));
    run.sent.push(Sent { message: message.clone(), talk: talk_number, due, known });
    run.events.extend(exchange(message, turn, due, &answer));
    if message.number == 0 {
        run.readings.push(reading(turn, due, &answer));
        run.events.push(late_cancel(run.events.last().expect("an exchange"), turn));
    }
    store(&mut run.dump, (talk, place), message, (turn, due), answer);
}

/// What somebody sees who reads the turn's events over two connections.
fn reading(turn: Uuid, due: i64, answer: &str) -> Reading {
    let (first, rest) = answer.split_at(10);
    let told = |number: u64, connection, name: &str, attempt, offset, text: &str| Told {
        at: due + S,
        connection,
        id: format!("{turn}:{number}"),
        name: name.into(),
        attempt,
        offset,
        text: text.into(),
    };
    let told = vec![
        told(1, 1, "accepted", 0, 0, ""),
        told(10_000_001, 1, "started", 1, 0, ""),
        told(10_000_011, 1, "delta", 1, 0, first),
        told(10_000_001 + answer.len() as u64, 2, "delta", 1, 10, rest),
        told(19_000_000, 2, "completed", 0, 0, answer),
    ];
    Reading { talk: 0, turn, began: due, until: due + S, told, connections: 2, interrupted: 1 }
}

/// Somebody cancels the turn when it has ended.
fn late_cancel(answered: &Event, turn: Uuid) -> Event {
    let (ask, code) = (Ask::Cancel, "completed".into());
    Event {
        at: answered.at + S,
        ask,
        send: None,
        key: None,
        turn: Some(turn),
        code,
        canaries: Vec::new(),
        ..answered.clone()
    }
}

/// What the sender sees.
fn exchange(message: &plan::Message, turn: Uuid, due: i64, answer: &str) -> [Event; 2] {
    let invoke = Event {
        at: due,
        kind: Kind::Invoke,
        ask: Ask::Send,
        via: if message.number.is_multiple_of(2) { Via::Nats } else { Via::Http(0) },
        request: message.number,
        user: message.user,
        talk: message.user,
        send: Some(message.number),
        key: message.key(),
        text: text_hash(&message.text),
        turn: None,
        read: Vec::new(),
        code: String::new(),
        answer: 0,
        bytes: 0,
        canaries: Vec::new(),
    };
    let ok = Event {
        at: due + S,
        kind: Kind::Ok,
        turn: Some(turn),
        code: "answered".into(),
        answer: text_hash(answer),
        canaries: vec![message.user],
        ..invoke.clone()
    };
    [invoke, ok]
}

/// What Postgres has of it.
fn store(
    dump: &mut Dump,
    (talk, place): (&Talk, usize),
    message: &plan::Message,
    (turn, due): (Uuid, i64),
    answer: String,
) {
    let question = Uuid::from_u128(500 + u128::from(message.number));
    dump.turns.push(Turn {
        id: turn,
        conversation_id: talk.id,
        user_id: Uuid::from_u128(9000 + talk.user as u128),
        partition: 3,
        seq: place as i64,
        idempotency_key: message.key(),
        user_message_id: question,
        created_at: at(due + S / 8),
    });
    let (status, finished_at) = ("completed".into(), at(due + S / 2));
    dump.outcomes.push(Outcome { turn_id: turn, status, fault_code: None, finished_at });
    for (id, role, content) in [(question, "user", message.text.clone()), (turn, "assistant", answer)] {
        dump.messages.push(Stored {
            id,
            conversation_id: talk.id,
            turn_id: turn,
            role: role.into(),
            content,
        });
    }
    for (kind, partition, micros) in [("turn", Some(3), due + S / 8), ("outcome", None, due + S / 2)] {
        let (kind, writer) = (kind.into(), "process_1".into());
        dump.writes.push(Write { kind, turn: Some(turn), partition, epoch: None, writer, at: at(micros) });
    }
}

/// Sees that exactly this check finds the run spoiled, and perhaps others that must.
pub fn spoiled(check: &str, spoil: impl FnOnce(&mut Evidence)) {
    let mut run = run();
    spoil(&mut run);
    let found: HashMap<_, _> = violations(&run).into_iter().map(|it| (it.check, it.first)).collect();
    assert!(found.contains_key(check), "{check} is not among {found:?}");
}

/// The dump, for short.
pub fn dump(run: &mut Evidence) -> &mut Dump {
    &mut run.dump
}
