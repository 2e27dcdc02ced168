//! `benches memory`: what each process keeps in memory while turns go by, first many turns of the same few conversations, then
//! one turn each of very many. Each role is a process of its own, with one chat worker.

use std::{
    collections::HashMap,
    fmt::{self, Display, Formatter},
};

use anyhow::{Context, ensure};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    cli::MemoryOptions,
    driver::{Arrivals, Closed, Driver},
    machine::Machine,
    population::{self, Conversation},
    say, stack,
    usage::Watched,
};

/// Sends in flight.
const WORKERS: usize = 128;
/// Conversations of the many turns: their windows are full, at 100 messages each, before the warm-up is over.
const FEW: usize = 256;
/// How far memory may go from where it was after the warm-up.
const FLAT: f64 = 0.1;

/// The memory of every process, in MiB, after so many turns.
struct Look {
    turns: u32,
    resident_mib: Vec<f64>,
}

/// One course of turns.
struct Course {
    title: String,
    warm_up: u32,
    names: Vec<String>,
    looks: Vec<Look>,
}

/// Measures and reports.
///
/// # Errors
/// A message was not answered, or the memory of a role did not stay as it was.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub async fn run(options: &MemoryOptions) -> anyhow::Result<()> {
    let program = stack::find_program(options.binary.as_deref())?;
    let machine = Machine::look(&program);
    let (world, _provider) = stack::start_roles(&program, |world| world).await?;
    let few = population::make(world.http(), FEW).await?;
    let users = users(world.sql(), &few).await?;
    let mut courses = Vec::new();
    let driver = Driver::new(world.http(), few);
    let title = format!("{} turns of {FEW} conversations", options.turns);
    courses.push(Course::run(title, &driver, options.turns, options).await?);
    say(&format!("making {} conversations …", options.conversations));
    let many = more(world.sql(), &users, options.conversations).await?;
    let driver = Driver::new(world.http(), many).each_once();
    let title = format!("One turn each of {} conversations", options.conversations);
    courses.push(Course::run(title, &driver, options.conversations, options).await?);
    println!("{machine}.\n{WORKERS} in flight.");
    for course in &courses {
        println!("\n{course}");
    }
    for course in &courses {
        course.check()?;
    }
    Ok(())
}

/// The header of each user, by id.
async fn users(database: &PgPool, of: &[Conversation]) -> anyhow::Result<HashMap<Uuid, ::http::HeaderValue>> {
    let owners = sqlx::query!("select id, user_id from conversations").fetch_all(database).await?;
    let owners: HashMap<_, _> = owners.into_iter().map(|row| (row.id.to_string(), row.user_id)).collect();
    let owned = of.iter().filter_map(|conversation| {
        let id = conversation.messages.path().split('/').nth(2)?;
        Some((*owners.get(id)?, conversation.authorization.clone()))
    });
    Ok(owned.collect())
}

/// More conversations of these users, written into the database.
async fn more(
    database: &PgPool,
    users: &HashMap<Uuid, ::http::HeaderValue>,
    count: u32,
) -> anyhow::Result<Vec<Conversation>> {
    let made = sqlx::query!(
        r#"insert into conversations (id, user_id, project_id, created_at, updated_at)
           select gen_random_uuid(), p.user_id, p.id, now(), now()
           from (select user_id, id, row_number() over () - 1 as place, count(*) over () as projects from projects) p
           join generate_series(1, $1) n on n % projects = place
           returning id, user_id"#,
        i32::try_from(count)?,
    )
    .fetch_all(database)
    .await?;
    let conversations = made.into_iter().map(|row| {
        let authorization = users.get(&row.user_id).context("a user without a header")?.clone();
        Ok(Conversation {
            messages: format!("/conversations/{}/messages", row.id).try_into()?,
            authorization,
        })
    });
    conversations.collect()
}

impl Course {
    async fn run(
        title: String,
        driver: &Driver,
        turns: u32,
        options: &MemoryOptions,
    ) -> anyhow::Result<Self> {
        let watched = Watched::children();
        let names = watched.iter().map(|process| process.name.clone()).collect();
        let mut course = Self { title, warm_up: options.warm_up, names, looks: Vec::new() };
        course.look(0, &watched)?;
        let mut done = 0;
        while done < turns {
            let now = options.step.min(turns - done);
            let run = driver.run(WORKERS, || Ok(Arrivals::Closed(Closed::of(now.into())))).await?;
            ensure!(run.failures.is_empty(), "not every message was answered with 200: {:?}", run.failures);
            done += now;
            course.look(done, &watched)?;
            say(&format!("{done} turns, {:.0} turns/s …", run.turns_per_s()));
        }
        Ok(course)
    }

    fn look(&mut self, turns: u32, watched: &[Watched]) -> anyhow::Result<()> {
        let resident_mib = watched.iter().map(Watched::resident_mib).collect::<anyhow::Result<_>>()?;
        self.looks.push(Look { turns, resident_mib });
        Ok(())
    }

    /// Of a process: after the warm-up, and then the least, the most and the last.
    fn settled(&self, process: usize) -> Option<[f64; 4]> {
        let after = self.looks.iter().filter(|look| look.turns >= self.warm_up);
        let mib: Vec<_> = after.map(|look| look.resident_mib[process]).collect();
        let (first, last) = (*mib.first()?, *mib.last()?);
        let extreme = |pick: fn(f64, f64) -> f64| mib.iter().copied().fold(first, pick);
        Some([first, extreme(f64::min), extreme(f64::max), last])
    }

    /// # Errors
    /// The memory of a role went further than [`FLAT`] from where it was after the warm-up.
    fn check(&self) -> anyhow::Result<()> {
        for (process, name) in self.names.iter().enumerate().filter(|(_, name)| *name != "nats-server") {
            let [first, least, most, _] =
                self.settled(process).context("there were no turns after the warm-up")?;
            let flat = least >= first * (1.0 - FLAT) && most <= first * (1.0 + FLAT);
            ensure!(
                flat,
                "{}: the memory of {name} went from {first:.1} MiB to {least:.1} and {most:.1}",
                self.title
            );
        }
        Ok(())
    }
}

impl Display for Course {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; MiB resident:\n\n| turns | {} |", self.title, self.names.join(" | "))?;
        writeln!(f, "|--:|{}", "--:|".repeat(self.names.len()))?;
        for Look { turns, resident_mib } in &self.looks {
            write!(f, "| {turns} |")?;
            resident_mib.iter().try_for_each(|mib| write!(f, " {mib:.1} |"))?;
            writeln!(f)?;
        }
        for (line, place) in [("least", 1), ("most", 2), ("last", 3)] {
            write!(f, "| {line} after {}, to that |", self.warm_up)?;
            for process in 0..self.names.len() {
                let ratio = self.settled(process).map_or(0.0, |settled| settled[place] / settled[0]);
                write!(f, " {ratio:.2} × |")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
