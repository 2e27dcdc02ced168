//! `benches long`: turns of conversations with ten thousand messages, beside turns of new ones, one after the other. In each
//! round every conversation has left memory before, so its first turn pays for loading it.

use std::{
    fmt::{self, Display, Formatter},
    time::{Duration, Instant},
};

use ::http::StatusCode;
use anyhow::{Context, ensure};
use bytes::Bytes;
use llm::{Message, simulator};
use sqlx::{Connection as _, PgConnection};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    cli::LongOptions,
    driver::MESSAGE,
    folder::Folder,
    http::Connection,
    latencies::Latencies,
    machine::Machine,
    population::{self, Conversation},
    say,
    stack::{self, Setting, Stack},
};

/// A conversation that was not used for a second leaves memory.
const LEAVES_SOON: Setting = ("OMNICHAT__CHAT__IDLE_S", "1");
/// Turns of a conversation in each round; the first one loads it.
const TURNS: usize = 5;
/// For conversations to leave memory.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// How many times as long a turn of a long conversation may take.
const RATIO_MAX: f64 = 1.2;

/// Microseconds of turns, by their place in a round.
type Durations = [Vec<u32>; TURNS];

/// What was measured.
struct Measured {
    messages: u32,
    new: Durations,
    long: Durations,
}

/// Measures, checks and reports.
///
/// # Errors
/// A message was not answered, or long conversations are slower than they may be.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub async fn run(options: &LongOptions) -> anyhow::Result<()> {
    let program = stack::find_program(options.binary.as_deref())?;
    let machine = Machine::look(&program);
    let folder = Folder::at(None)?;
    say("starting omnichat with an empty data dir …");
    let settings = [&stack::UNLIMITED[..], &[LEAVES_SOON]].concat();
    let stack = Stack::start(&program, &folder.path.join("omnichat"), &settings).await?;
    let measured = measure(&stack, options).await?;
    print!("{machine}.\n{measured}");
    stack.stop().await?;
    measured.check()
}

async fn measure(stack: &Stack, options: &LongOptions) -> anyhow::Result<Measured> {
    let (count, rounds) = (usize::from(options.conversations), usize::from(options.rounds));
    let mut long = population::make(stack.http, count * (1 + rounds)).await?;
    let new = long.split_off(count);
    say(&format!("writing {} messages into each of {count} conversations …", options.messages));
    fill(&stack.postgres, &long, options.messages / 2).await?;
    let mut connection = Connection::open(stack.http).await?;
    let mut measured =
        Measured { messages: options.messages, new: Durations::default(), long: Durations::default() };
    for (number, new) in (1..).zip(new.chunks_exact(count)) {
        left(&mut connection).await?;
        say(&format!("round {number} …"));
        for (long, new) in long.iter().zip(new) {
            for turn in 0..TURNS {
                // Whoever comes second may find caches warm, so each comes first half of the time.
                let long_first = (number + turn) % 2 == 0;
                if long_first {
                    measured.long[turn].push(send(&mut connection, long).await?);
                }
                measured.new[turn].push(send(&mut connection, new).await?);
                if !long_first {
                    measured.long[turn].push(send(&mut connection, long).await?);
                }
            }
        }
    }
    Ok(measured)
}

/// Writes so many turns into each conversation.
async fn fill(url: &str, conversations: &[Conversation], turns: u32) -> anyhow::Result<()> {
    let id = |conversation: &Conversation| -> anyhow::Result<Uuid> {
        Ok(conversation.messages.path().split('/').nth(2).context("no conversation's path")?.parse()?)
    };
    let ids = conversations.iter().map(id).collect::<anyhow::Result<Vec<_>>>()?;
    let mut database = PgConnection::connect(url).await?;
    let answer = simulator::answer(&[Message::user(MESSAGE)]);
    sqlx::query_file!("src/long/fill.sql", &ids, i64::from(turns), MESSAGE, answer)
        .execute(&mut database)
        .await?;
    Ok(database.close().await?)
}

/// Waits until no conversation is in memory.
async fn left(connection: &mut Connection) -> anyhow::Result<()> {
    let began = Instant::now();
    while in_memory(&connection.text("/metrics").await?) {
        ensure!(began.elapsed() < PATIENCE, "conversations stay in memory");
        sleep(POLL).await;
    }
    Ok(())
}

/// Whether a conversation is; before the first one the process does not tell.
fn in_memory(metrics: &str) -> bool {
    let told = metrics.lines().find_map(|line| line.strip_prefix("omnichat_conversations_alive "));
    told.is_some_and(|count| count != "0")
}

/// Sends a message, and says how long its answer took, in microseconds.
async fn send(connection: &mut Connection, to: &Conversation) -> anyhow::Result<u32> {
    let body = Bytes::from(serde_json::json!({ "content": MESSAGE }).to_string());
    let began = Instant::now();
    let (status, answer) = connection.post(to.messages.clone(), Some(to.authorization.clone()), body).await?;
    let took = began.elapsed();
    ensure!(status == StatusCode::OK, "{status} {}", String::from_utf8_lossy(&answer));
    Ok(took.as_micros().try_into()?)
}

impl Measured {
    /// New ones and long ones, for the turns of these places.
    fn of(&self, places: std::ops::Range<usize>) -> [Latencies; 2] {
        [&self.new, &self.long].map(|turns| turns[places.clone()].iter().flatten().copied().collect())
    }

    /// # Errors
    /// A turn of a long conversation takes more than [`RATIO_MAX`] times that of a new one.
    fn check(&self) -> anyhow::Result<()> {
        let [new, long] = self.of(0..TURNS).map(|turns| turns.mean_ms());
        ensure!(
            long <= new * RATIO_MAX,
            "a turn of a long conversation takes {long:.2} ms, of a new one {new:.2} ms"
        );
        Ok(())
    }
}

impl Display for Measured {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "Conversations of {} messages beside new ones, one turn at a time.\n", self.messages)?;
        writeln!(
            f,
            "| turns | of each | new: p50 ms | p99 ms | mean ms | long: p50 ms | p99 ms | mean ms | p50 | p99 | mean |"
        )?;
        writeln!(f, "|---|{}", "--:|".repeat(10))?;
        let lines = [("first, loads", 0..1), ("second to fifth", 1..TURNS), ("all", 0..TURNS)];
        for (name, places) in lines {
            let of = self.of(places);
            let figures =
                of.each_ref().map(|turns| [turns.quantile_ms(0.5), turns.quantile_ms(0.99), turns.mean_ms()]);
            write!(f, "| {name} | {} |", of[0].count())?;
            figures.iter().flatten().try_for_each(|ms| write!(f, " {ms:.2} |"))?;
            let ratios = figures[0].iter().zip(figures[1]).map(|(new, long)| long / new);
            for ratio in ratios {
                write!(f, " {ratio:.2} × |")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_are_in_memory_unless_there_are_none_or_none_yet() {
        assert!(in_memory("omnichat_conversations_alive 3\n"));
        assert!(!in_memory("omnichat_conversations_alive 0\n"));
        assert!(!in_memory("omnichat_turns_accepted_total 3\n"));
    }
}
