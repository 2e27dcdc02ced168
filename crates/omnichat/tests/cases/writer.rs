//! The writer of turns, on its own against Postgres: what is written at once does not stand or fall together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc::{Receiver, sync_channel},
};

use chat::{
    model::{Accepted, BodyHash, Ending, NewTurn, Outcome, Ownership, TurnRequest},
    question::Question,
    writer::{WriteError, Writer},
};
use host::{Drain, postgres};
use testkit::postgres::Database;
use wire::{ConversationId, FaultCode, MessageId, ProjectId, TurnId, TurnKind, UserId};

use crate::postgres::config;

const TURNS: usize = 60;
/// The owner of partition 1 has changed since.
const OLD: Ownership = Ownership { partition: 1, epoch: 1 };
const GOOD: Ownership = Ownership { partition: 0, epoch: 1 };

struct Desk {
    database: Database,
    user: UserId,
    conversation: ConversationId,
}

impl Desk {
    async fn new() -> Self {
        let database = Database::new(env!("CARGO_BIN_EXE_omnichat")).await;
        let (user, project, conversation) = (UserId::new(), ProjectId::new(), ConversationId::new());
        let user_row = "insert into users (id, email, password_hash) values ($1, 'a@example.org', 'x')";
        sqlx::query(user_row).bind(user.uuid()).execute(database.pool()).await.unwrap();
        for sql in [
            "insert into projects (id, user_id, name, created_at, updated_at) values ($2, $1, 'p', now(), now())",
            "insert into conversations (id, user_id, project_id, created_at, updated_at)
             select $3, user_id, id, now(), now() from projects where id = $2 and user_id = $1",
        ] {
            let insert = sqlx::query(sql).bind(user.uuid()).bind(project.uuid());
            let insert = if sql.contains("$3") { insert.bind(conversation.uuid()) } else { insert };
            insert.execute(database.pool()).await.unwrap();
        }
        let owners = "insert into partition_owner values (0, 1, 'w', now()), (1, 2, 'w', now())";
        sqlx::query(owners).execute(database.pool()).await.unwrap();
        Self { database, user, conversation }
    }

    async fn writer(&self, drain: &Drain) -> Writer {
        let pool = postgres::connect(&config(self.database.url()), "writer", None).await.unwrap();
        Writer::start(&pool, "m".into(), drain)
    }

    fn turn(&self, seq: usize, content: &str, ownership: Ownership) -> NewTurn {
        let request = TurnRequest { content: Some(content.into()), ..TurnRequest::default() };
        NewTurn {
            id: TurnId::new(),
            conversation: self.conversation,
            user: self.user,
            ownership,
            seq: i64::try_from(seq).unwrap(),
            idempotency_key: None,
            body_hash: BodyHash::of(&request),
            kind: TurnKind::Send,
            user_message: MessageId::new(),
            parent: None,
            content: Question::new(content, None),
            model: None,
            settings: wire::Settings::default(),
            created_at: wire::now(),
        }
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.database.pool()).await.unwrap()
    }
}

/// Hands all over before the writer runs: this runtime has one thread, and nothing in here waits.
fn hand_over<T, R: Send + 'static>(
    entries: Vec<T>,
    submit: impl Fn(T, Box<dyn FnOnce(R) + Send + Sync>),
) -> Receiver<(usize, R)> {
    let (tell, told) = sync_channel(entries.len());
    for (place, entry) in entries.into_iter().enumerate() {
        let tell = tell.clone();
        submit(entry, Box::new(move |result| tell.send((place, result)).unwrap()));
    }
    told
}

async fn all<R>(told: Receiver<(usize, R)>, many: usize) -> Vec<R> {
    let mut results = Vec::new();
    testkit::eventually("every entry is answered", std::time::Duration::from_secs(20), async || {
        results.extend(told.try_iter());
        (results.len() == many).then_some(())
    })
    .await;
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

#[tokio::test]
async fn one_bad_entry_in_a_batch_fails_alone() {
    let (desk, drain) = (Desk::new().await, Drain::new());
    let writer = desk.writer(&drain).await;
    // Postgres refuses the statement with that character in it, and with it the batch.
    let content = |seq| if seq == 20 { "poison\0" } else { "hi" };
    let ownership = |seq| if seq == 40 { OLD } else { GOOD };
    let turns: Vec<_> = (0..TURNS).map(|seq| desk.turn(seq, content(seq), ownership(seq))).collect();
    let accepted: Vec<Result<Accepted, WriteError>> =
        all(hand_over(turns.clone(), |turn, done| writer.accept(Box::new(turn), done)), TURNS).await;
    for (seq, result) in accepted.iter().enumerate() {
        let expected = match seq {
            20 => Some(WriteError::Refused),
            40 => Some(WriteError::Fenced),
            _ => None,
        };
        assert_eq!(result.as_ref().err().copied(), expected, "entry {seq}");
    }
    assert_eq!(desk.count("select count(*) from turns").await, 58);
    assert_eq!(desk.count("select count(*) from messages").await, 58);

    let outcome = |(seq, turn): (usize, NewTurn)| Outcome {
        turn: turn.id,
        conversation: turn.conversation,
        ownership: GOOD,
        seq: turn.seq,
        user_message: turn.user_message,
        attempts: 1,
        ending: match seq {
            3 => Ending::Cancelled(Some("poison\0".into())),
            4 => Ending::Cancelled(Some("so far".into())),
            5 => Ending::GivenUp("poison".into()),
            _ => Ending::Failed(FaultCode::ProviderFailed.into()),
        },
        finished_at: wire::now(),
    };
    let outcomes: Vec<_> = turns.into_iter().take(20).enumerate().map(outcome).collect();
    let stored: Vec<Result<(), WriteError>> =
        all(hand_over(outcomes.clone(), |outcome, done| writer.finish(Box::new(outcome), done)), 20).await;
    for (seq, result) in stored.iter().enumerate() {
        assert_eq!(result.err(), (seq == 3).then_some(WriteError::Refused), "outcome {seq}");
    }
    let again: Vec<Result<(), WriteError>> =
        all(hand_over(outcomes, |outcome, done| writer.finish(Box::new(outcome), done)), 20).await;
    assert!(again.iter().all(Result::is_err), "each outcome is stored once: {again:?}");
    assert_eq!(desk.count("select count(*) from outcomes").await, 19);
    assert_eq!(desk.count("select count(*) from partial_answers where content = 'so far'").await, 1);
    assert_eq!(desk.count("select count(*) from partial_answers").await, 1);
    assert_eq!(desk.count("select count(*) from dead_letters where reason = 'poison'").await, 1);
}

/// Whoever asked may be gone before the answer: what was handed over is written all the same.
#[tokio::test]
async fn what_was_handed_over_is_written_though_nobody_waits() {
    let (desk, drain) = (Desk::new().await, Drain::new());
    let writer = desk.writer(&drain).await;
    let told = Arc::new(AtomicUsize::new(0));
    for seq in 0..TURNS {
        let told = told.clone();
        let done = move |_| {
            told.fetch_add(1, Ordering::Relaxed);
        };
        writer.accept(Box::new(desk.turn(seq, "hi", GOOD)), Box::new(done));
    }
    drop(writer);
    drain.finish(std::time::Duration::from_secs(20)).await;
    assert_eq!(told.load(Ordering::Relaxed), TURNS);
    assert_eq!(desk.count("select count(*) from turns").await, 60);
}
