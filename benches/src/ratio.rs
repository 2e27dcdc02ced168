//! `benches ratio`: durable turns per second, and between any two measurements of them pgbench on the same Postgres. The speed
//! of a shared machine drifts within a minute; a round is compared with the runs of pgbench right before and after it.

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use anyhow::{Context, ensure};

use crate::{
    audit::Stored,
    batches::Batches,
    cli::RatioOptions,
    driver::{Arrivals, Closed, Driver, Run},
    folder::Folder,
    http::Connection,
    machine::Machine,
    pgbench::{Form, Load, Pgbench},
    population, say,
    stack::{self, Stack},
    usage::{self, Cost, Processes},
};

/// pgbench's clients.
const CLIENTS: u32 = 32;
/// What it is run with, each time.
const FORMS: [Form; 2] = [Form::Statements, Form::Transactions];
/// Messages per conversation before anything is measured: conversations are loaded, plans are made.
const WARM_UP_MESSAGES: u64 = 3;

/// What pgbench reached in each of [`FORMS`].
type Yardstick = [f64; FORMS.len()];

/// One measurement of turns.
struct Round {
    run: Run,
    batches: Batches,
    cost: Cost,
    /// pgbench before and after it.
    beside: [Yardstick; 2],
}

/// All of them.
struct Rounds {
    rounds: Vec<Round>,
    seconds: u64,
    concurrency: u16,
}

/// Measures, checks and reports.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub async fn run(options: &RatioOptions) -> anyhow::Result<()> {
    let program = stack::find_program(options.binary.as_deref())?;
    let machine = Machine::look(&program);
    let folder = Folder::at(None)?;
    say("starting omnichat with an empty data dir …");
    let stack = Stack::start(&program, &folder.path.join("omnichat"), &stack::UNLIMITED).await?;
    let rounds = measure(&stack, options, &folder).await?;
    print!("{machine}.\n{rounds}");
    stack.stop().await
}

async fn measure(stack: &Stack, options: &RatioOptions, folder: &Folder) -> anyhow::Result<Rounds> {
    let processes = Processes::of(stack)?;
    let pgbench = Pgbench::prepare(&stack.postgres, processes.postgres, &folder.path.join("pgbench")).await?;
    let pgbench = pgbench.context("this machine has no pgbench")?;
    say(&format!("making {} conversations …", options.conversations));
    let conversations = population::make(stack.http, options.conversations.into()).await?;
    let driver = Driver::new(stack.http, conversations);
    let (workers, length) = (usize::from(options.concurrency), Duration::from_secs(options.seconds));
    let messages = WARM_UP_MESSAGES * u64::from(options.conversations);
    let warm_up = driver.run(workers, || Ok(Arrivals::Closed(Closed::of(messages)))).await?;
    let mut before = yardstick(&pgbench, length).await?;
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        say(&format!("round {number} …"));
        // One that stood idle during pgbench would be closed.
        let mut metrics = Connection::open(stack.http).await?;
        let (batches, meter) = (Batches::read(&mut metrics).await?, processes.meter());
        let run = driver.run(workers, || Ok(Arrivals::Closed(Closed::lasting(length)))).await?;
        let (cost, batches) = (meter.stop(), Batches::read(&mut metrics).await? - batches);
        let after = yardstick(&pgbench, length).await?;
        rounds.push(Round { run, batches, cost, beside: [before, after] });
        before = after;
    }
    let runs = || rounds.iter().map(|round| &round.run).chain([&warm_up]);
    for run in runs() {
        ensure!(run.failures.is_empty(), "not every message was answered with 200: {:?}", run.failures);
    }
    Stored::read(&stack.postgres).await?.check(runs().map(|run| run.latencies.count()).sum())?;
    Ok(Rounds { rounds, seconds: options.seconds, concurrency: options.concurrency })
}

async fn yardstick(pgbench: &Pgbench, length: Duration) -> anyhow::Result<Yardstick> {
    say("pgbench …");
    let mut reached = Yardstick::default();
    for (turns_per_s, form) in reached.iter_mut().zip(FORMS) {
        *turns_per_s = pgbench.run(Load { form, clients: CLIENTS }, length).await?.turns_per_s;
    }
    Ok(reached)
}

impl Round {
    /// pgbench around this round, in each form.
    fn beside(&self) -> Yardstick {
        std::array::from_fn(|form| f64::midpoint(self.beside[0][form], self.beside[1][form]))
    }

    fn ratios(&self) -> Yardstick {
        self.beside().map(|turns_per_s| self.run.turns_per_s() / turns_per_s)
    }
}

/// The least, the middle and the greatest; of an even number the lower middle.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
    [at(0), at(sorted.len().saturating_sub(1) / 2), at(sorted.len().saturating_sub(1))]
}

impl Display for Rounds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { rounds, seconds, concurrency } = self;
        writeln!(f, "{concurrency} in flight, {seconds} s per measurement.\n")?;
        writeln!(
            f,
            "| round | turns/s | p50 ms | p99 ms | entries per commit | pgbench, statements | transactions | \
             × statements | × transactions |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
        )?;
        for (number, round) in (1..).zip(rounds) {
            let [p50, p99] = [0.5, 0.99].map(|fraction| round.run.latencies.quantile_ms(fraction));
            let ([statements, transactions], [first, second]) = (round.beside(), round.ratios());
            let (rate, entries) = (round.run.turns_per_s(), round.batches.entries());
            write!(f, "| {number} | {rate:.0} | {p50:.1} | {p99:.1} | {entries:.1} | {statements:.0} |")?;
            writeln!(f, " {transactions:.0} | {first:.2} | {second:.2} |")?;
        }
        for (place, form) in FORMS.iter().enumerate() {
            let [least, median, most] = spread(rounds.iter().map(|round| round.ratios()[place]));
            let name = form.name();
            writeln!(f, "\nTurns per pgbench's {name}: median {median:.2} (from {least:.2} to {most:.2}).")?;
        }
        let turns: usize = rounds.iter().map(|round| round.run.latencies.count()).sum();
        write!(f, "\nµs of CPU per turn:")?;
        for (place, name) in usage::NAMES.iter().enumerate() {
            let us: f64 = rounds.iter().map(|round| round.cost.ours_us[place]).sum();
            write!(f, " {name} {:.0},", us / turns as f64)?;
        }
        let others = spread(rounds.iter().map(|round| round.cost.others()))[2];
        let busy = spread(rounds.iter().map(|round| round.cost.busy()))[1];
        writeln!(f, " with {busy:.2} cores busy, of which others' up to {others:.2}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_several_is_one_of_them() {
        assert_eq!(spread([3.0, 1.0, 2.0].into_iter()), [1.0, 2.0, 3.0]);
        assert_eq!(spread([4.0, 1.0].into_iter()), [1.0, 1.0, 4.0]);
    }
}
