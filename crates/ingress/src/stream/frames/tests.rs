//! Readers who hear everything, too little, too late, twice, or an old owner: all of them end with the stored answer.

use wire::{ConversationId, Fault, FaultCode, Message, MessageId};

use super::*;

/// With characters of one to four bytes.
const ANSWER: &str = "You said \u{201c}gr\u{fc}\u{df} dich\u{201d} \u{1f980} and then some more";

fn turn() -> TurnId {
    TurnId::from(uuid::Uuid::nil())
}

fn message(role: Role, content: &str) -> Message {
    Message {
        id: MessageId::answer_to(turn()),
        conversation_id: ConversationId::from(uuid::Uuid::nil()),
        parent_id: None,
        turn_id: turn(),
        seq: 0,
        role,
        content: content.into(),
        images: Vec::new(),
        created_at: wire::now(),
    }
}

fn record(status: TurnStatus, attempt: i16, answer: Option<&str>) -> Turn {
    let cancelled = status == TurnStatus::Cancelled;
    let partial = answer.filter(|_| cancelled).map(str::to_owned);
    let answer = answer.filter(|_| !cancelled).map(|text| message(Role::Assistant, text));
    let failed = status == TurnStatus::Failed;
    Turn {
        id: turn(),
        conversation_id: ConversationId::from(uuid::Uuid::nil()),
        status,
        kind: wire::TurnKind::Send,
        queue_position: None,
        wait_ms: None,
        partial,
        attempt,
        seq: 0,
        idempotency_key: None,
        model: "small".into(),
        prompt_id: None,
        prompt_version: None,
        created_at: wire::now(),
        finished_at: None,
        usage: None,
        finish_reason: Some("stop".into()),
        altered: None,
        answered_by: Some("small-2".into()),
        fault: failed.then(|| Problem::of(&Fault::new(FaultCode::ProviderFailed), None)),
        cost_micros: None,
        calls: Vec::new(),
        messages: std::iter::once(message(Role::User, "question")).chain(answer).collect(),
    }
}

fn accepted() -> TurnEvent {
    TurnEvent::Accepted { turn_id: turn(), queue_position: Some(0) }
}

fn begun(attempt: i16) -> TurnEvent {
    match attempt {
        1 => TurnEvent::Started { turn_id: turn(), attempt, model: "small".into() },
        _ => TurnEvent::Restarted { turn_id: turn(), attempt },
    }
}

fn delta(attempt: i16, offset: usize, text: &str) -> TurnEvent {
    TurnEvent::Delta { text: text.into(), attempt, offset: u32::try_from(offset).unwrap() }
}

/// All frames that are ready: number and name, of deltas with their text.
fn shown(frames: &mut Frames) -> Vec<(u64, String)> {
    std::iter::from_fn(|| frames.next())
        .map(|frame| {
            let text = match &frame.event {
                TurnEvent::Delta { text, .. } => format!("+{text}"),
                event => event.name().to_owned(),
            };
            (frame.at.number(), text)
        })
        .collect()
}

/// What a reader at `from` is shown of these events, then of this record.
fn read(from: u64, heard: &[TurnEvent], record: Option<&Turn>) -> Vec<(u64, String)> {
    let mut frames = Frames::new(turn(), at(from));
    for event in heard {
        assert!(!frames.hear(event.clone()));
    }
    if let Some(record) = record {
        frames.learn(record);
    }
    shown(&mut frames)
}

fn at(number: u64) -> Position {
    let uri = format!("/?starting_after={number}").parse().unwrap();
    Position::given(turn(), &uri, &http::HeaderMap::new()).unwrap()
}

fn expect(found: &[(u64, String)], expected: &[(u64, &str)]) {
    let found: Vec<_> = found.iter().map(|(number, text)| (*number, text.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn who_hears_everything_is_shown_it_as_it_comes() {
    let heard = [accepted(), begun(1), delta(1, 0, "Hel"), delta(1, 3, "lo")];
    let all = read(0, &heard, Some(&record(TurnStatus::Completed, 1, Some("Hello"))));
    let expected = [
        (1, "accepted"),
        (10_000_001, "started"),
        (10_000_004, "+Hel"),
        (10_000_006, "+lo"),
        (19_000_000, "completed"),
    ];
    expect(&all, &expected);
    for (seen, (number, _)) in all.iter().enumerate() {
        let rest = read(*number, &heard, Some(&record(TurnStatus::Completed, 1, Some("Hello"))));
        if seen < 4 {
            expect(&rest, &expected[seen + 1..]);
        } else {
            expect(&rest, &[(19_000_001, "completed")]);
        }
    }
}

#[test]
fn who_lacks_something_asks_for_it_once() {
    let mut frames = Frames::new(turn(), Position::START);
    frames.learn(&record(TurnStatus::Queued, 0, None));
    assert!(!frames.take_behind(), "nothing was said");
    frames.learn(&record(TurnStatus::Running, 1, None));
    assert!(frames.take_behind() && !frames.take_behind(), "it has begun");
    frames.hear(delta(1, 3, "lo"));
    assert!(frames.take_behind(), "there is a gap");
    frames.hear(begun(1));
    frames.hear(delta(1, 0, "Hello"));
    frames.hear(delta(1, 5, "!"));
    frames.learn(&record(TurnStatus::Running, 1, None));
    assert!(!frames.take_behind(), "all of it is here");
    frames.miss();
    assert!(frames.take_behind());
    let expected = [(1, "accepted"), (10_000_001, "started"), (10_000_006, "+Hello"), (10_000_007, "+!")];
    expect(&shown(&mut frames), &expected);
}

#[test]
fn who_comes_afterwards_is_shown_the_whole() {
    let hello = record(TurnStatus::Completed, 2, Some("Hello"));
    expect(
        &read(0, &[], Some(&hello)),
        &[(1, "accepted"), (20_000_006, "+Hello"), (29_000_000, "completed")],
    );
    let failed = record(TurnStatus::Failed, 1, None);
    expect(&read(0, &[], Some(&failed)), &[(1, "accepted"), (19_000_000, "failed")]);
    let cancelled = record(TurnStatus::Cancelled, 1, Some("Hel"));
    expect(
        &read(0, &[], Some(&cancelled)),
        &[(1, "accepted"), (10_000_004, "+Hel"), (19_000_000, "cancelled")],
    );
    expect(&read(10_000_006, &[], Some(&cancelled)), &[(19_000_000, "cancelled")]);
}

#[test]
fn beyond_a_gap_nothing_is_shown_until_the_end() {
    let hello = record(TurnStatus::Completed, 1, Some("Hello"));
    let late = [delta(1, 3, "l"), delta(1, 4, "o")];
    expect(
        &read(0, &late, Some(&hello)),
        &[(1, "accepted"), (10_000_006, "+Hello"), (19_000_000, "completed")],
    );
    let torn = [begun(1), delta(1, 0, "H"), delta(1, 3, "l"), delta(1, 4, "o")];
    let expected =
        [(10_000_001, "started"), (10_000_002, "+H"), (10_000_006, "+ello"), (19_000_000, "completed")];
    expect(&read(0, &torn, Some(&hello)), &expected);
    let failed = record(TurnStatus::Failed, 1, None);
    expect(&read(0, &torn, Some(&failed)), &[expected[0], expected[1], (19_000_000, "failed")]);
}

#[test]
fn another_call_makes_the_text_void() {
    let hello = record(TurnStatus::Completed, 2, Some("Hello"));
    let told = [begun(1), delta(1, 0, "Ho"), begun(2), delta(2, 0, "He"), delta(2, 2, "llo")];
    let expected = [
        (10_000_001, "started"),
        (10_000_003, "+Ho"),
        (20_000_001, "restarted"),
        (20_000_003, "+He"),
        (20_000_006, "+llo"),
        (29_000_000, "completed"),
    ];
    expect(&read(0, &told, Some(&hello)), &expected);
    let unsaid = [begun(1), delta(1, 0, "Ho"), delta(2, 0, "He"), delta(2, 2, "llo")];
    expect(&read(0, &unsaid, Some(&hello)), &expected);
    let missed = [begun(1), delta(1, 0, "Ho"), delta(2, 2, "llo")];
    let caught_up = [(20_000_001, "restarted"), (20_000_006, "+Hello"), (29_000_000, "completed")];
    expect(&read(0, &missed, Some(&hello)), &[&expected[..2], &caught_up].concat());
    expect(&read(10_000_003, &[], Some(&hello)), &caught_up);
    let runs = record(TurnStatus::Running, 2, None);
    expect(&read(10_000_003, &[], Some(&runs)), &[(20_000_001, "restarted")]);
    expect(&read(0, &[], Some(&runs)), &[(1, "accepted")]);
}

#[test]
fn what_is_said_twice_or_by_an_old_owner_is_shown_once_or_not() {
    let told = [
        begun(2),
        delta(2, 0, "He"),
        delta(2, 0, "He"),
        delta(1, 2, "xx"),
        begun(1),
        accepted(),
        begun(2),
        delta(2, 1, "ello"),
    ];
    expect(&read(0, &told, None), &[(20_000_001, "restarted"), (20_000_003, "+He"), (20_000_006, "+llo")]);
    let split = [begun(1), delta(1, 0, "\u{1f980}"), delta(1, 2, "\u{1f980}")];
    expect(&read(0, &split, None), &[(10_000_001, "started"), (10_000_005, "+\u{1f980}")]);
}

#[test]
fn nothing_is_shown_beyond_the_longest_answer() {
    let long = "x".repeat(ANSWER_BYTES_MAX);
    let told = [delta(1, 0, &long), delta(1, long.len(), "x")];
    let frames = read(0, &told, Some(&record(TurnStatus::Failed, 1, None)));
    assert_eq!(frames.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [11_048_577, 19_000_000]);
}

#[test]
fn a_long_text_comes_in_pieces() {
    let long = "\u{1f980}\u{df}".repeat(10_000);
    let frames = read(0, &[], Some(&record(TurnStatus::Completed, 1, Some(&long))));
    let pieces: Vec<_> = frames.iter().filter_map(|(_, text)| text.strip_prefix('+')).collect();
    assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
    assert_eq!(pieces.concat(), long);
}

#[test]
fn a_reader_who_saw_what_was_never_told_is_found_out() {
    let never = |from: u64, record: &Turn| Frames::new(turn(), at(from)).check(record).is_err();
    let done = record(TurnStatus::Completed, 1, Some("\u{df}o"));
    let runs = record(TurnStatus::Running, 1, None);
    for possible in [0, 1, 10_000_001, 10_000_003, 10_000_004, 19_000_000, 19_000_007] {
        assert!(!never(possible, &done), "{possible}");
    }
    for (number, why) in
        [(10_000_002, "half a character"), (10_000_005, "too much"), (20_000_001, "a later call")]
    {
        assert!(never(number, &done), "{why}");
    }
    assert!(never(19_000_000, &runs) && never(20_000_001, &runs) && !never(10_000_900, &runs));
}

#[test]
fn a_turn_that_is_gone_ends_its_stream() {
    let mut frames = Frames::new(turn(), at(10_000_003));
    frames.lose(Problem::of(&FaultCode::TurnNotFound.into(), None));
    assert!(frames.is_over());
    expect(&shown(&mut frames), &[(19_000_000, "failed")]);
}

/// A reader of a bad line, who comes back again and again: numbers grow, and the text is the answer.
#[test]
fn whatever_is_lost_the_reader_ends_with_the_answer() {
    let mut luck = 1_u64;
    let mut chance = |of: u64| {
        luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (luck >> 33) % of
    };
    for round in 0..2_000 {
        let attempts = i16::try_from(1 + chance(3)).unwrap();
        let mut told = vec![accepted()];
        for attempt in 1..=attempts {
            told.push(begun(attempt));
            let text = if attempt == attempts { ANSWER } else { "quite another text, that was given up" };
            let (mut from, until) = (0, if attempt == attempts { text.len() } else { 20 });
            while from < until {
                let to = text.ceil_char_boundary(from + 1 + usize::try_from(chance(9)).unwrap());
                told.push(delta(attempt, from, &text[from..to]));
                from = to;
            }
        }
        let done = record(TurnStatus::Completed, attempts, Some(ANSWER));
        let (mut seen, mut text) = (0, String::new());
        let mut frames = Frames::new(turn(), at(seen));
        let mut take = |frames: &mut Frames, seen: &mut u64| {
            for frame in std::iter::from_fn(|| frames.next()) {
                assert!(frame.at.number() > *seen, "round {round}");
                *seen = frame.at.number();
                match frame.event {
                    TurnEvent::Delta { text: more, .. } => text.push_str(&more),
                    TurnEvent::Restarted { .. } => text.clear(),
                    _ => {}
                }
            }
        };
        for event in &told {
            match chance(10) {
                0 => {}
                1 => {
                    frames = Frames::new(turn(), at(seen));
                    frames.check(&record(TurnStatus::Running, attempts, None)).unwrap();
                    frames.learn(&record(TurnStatus::Running, attempts, None));
                }
                2 => {
                    frames.hear(event.clone());
                    frames.hear(event.clone());
                }
                _ => drop(frames.hear(event.clone())),
            }
            take(&mut frames, &mut seen);
        }
        frames.check(&done).unwrap();
        frames.learn(&done);
        take(&mut frames, &mut seen);
        assert!(frames.is_over());
        assert_eq!(text, ANSWER, "round {round}");
    }
}
