//! `benches turns`: what is measured, in which order.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    audit::Stored,
    batches::Batches,
    cli::TurnsOptions,
    driver::{Arrivals, Closed, Driver, Open},
    folder::Folder,
    http::Connection,
    machine::Machine,
    pgbench::{LOADS, Pgbench},
    population,
    report::{Phase, Report, Round, Yardstick},
    say,
    stack::{self, Stack},
    usage::{Memory, Processes},
};

/// Connections of the open loop.
const OPEN_WORKERS: usize = 256;
/// The open loop's part of the best closed loop, unless a rate is given.
const OPEN_PART: f64 = 0.7;
/// In flight before anything is measured, when conversations are loaded and plans are made.
const WARM_UP_WORKERS: usize = 64;
/// Messages of the warm-up per conversation, on average.
const WARM_UP_MESSAGES: usize = 3;
/// From ready until the memory of the idle process is read.
const IDLE: Duration = Duration::from_secs(2);

/// Measures, checks and reports.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub async fn run(options: &TurnsOptions) -> anyhow::Result<()> {
    let program = stack::find_program(options.binary.as_deref())?;
    let machine = Machine::look(&program);
    let folder = Folder::at(options.data_dir.as_deref())?;
    say("starting omnichat with an empty data dir …");
    let stack = Stack::start(&program, &folder.path.join("omnichat"), &stack::UNLIMITED).await?;
    let bench = Bench::prepare(&stack, options, &folder).await?;
    let report = bench.measure(machine).await?;
    print!("{report}");
    stack.stop().await?;
    report.check()
}

/// A running system and what drives it.
struct Bench<'a> {
    options: &'a TurnsOptions,
    stack: &'a Stack,
    processes: Processes,
    idle: Memory,
    pgbench: Option<Pgbench>,
    driver: Driver,
}

impl<'a> Bench<'a> {
    async fn prepare(stack: &'a Stack, options: &'a TurnsOptions, folder: &Folder) -> anyhow::Result<Self> {
        let processes = Processes::of(stack)?;
        sleep(IDLE).await;
        let idle = processes.memory()?;
        let pgbench = if options.without_pgbench {
            None
        } else {
            Pgbench::prepare(&stack.postgres, processes.postgres, &folder.path.join("pgbench")).await?
        };
        say(&format!("making {} conversations …", options.conversations));
        let conversations = population::make(stack.http, options.conversations.into()).await?;
        let driver = Driver::new(stack.http, conversations);
        Ok(Self { options, stack, processes, idle, pgbench, driver })
    }

    async fn measure(&self, machine: Machine) -> anyhow::Result<Report> {
        let before = self.pgbench("before").await?;
        say("warming up …");
        let all = self.driver.conversations();
        let messages = (all * WARM_UP_MESSAGES) as u64;
        let start = || Ok(Arrivals::Closed(Closed::of(messages)));
        let warm_up = self.driver.run(WARM_UP_WORKERS.min(all), start).await?;
        let mut phases = Vec::new();
        for &concurrency in &self.options.concurrency {
            phases.push(self.closed(concurrency).await?);
        }
        phases.push(self.open(&phases).await?);
        let after = self.pgbench("after").await?;
        Ok(Report {
            machine,
            seconds: self.options.seconds,
            conversations: all,
            warm_up,
            phases,
            yardsticks: LOADS.into_iter().zip(before.into_iter().zip(after)).map(Yardstick::new).collect(),
            idle: self.idle,
            stored: Stored::read(&self.stack.postgres).await?,
        })
    }

    async fn closed(&self, concurrency: u16) -> anyhow::Result<Phase> {
        let length = self.length();
        let start = move || Ok(Arrivals::Closed(Closed::lasting(length)));
        self.phase(format!("closed, {concurrency}"), Some(concurrency), concurrency.into(), start).await
    }

    async fn open(&self, closed: &[Phase]) -> anyhow::Result<Phase> {
        let best = closed.iter().map(|phase| phase.run.turns_per_s()).fold(1.0, f64::max);
        let rate = self.options.open_rate.map_or((best * OPEN_PART).round(), f64::from);
        let (length, workers) = (self.length(), OPEN_WORKERS.min(self.driver.conversations()));
        let start = move || Ok(Arrivals::Open(Open::start(rate, length, workers)?));
        self.phase(format!("open, {rate}/s"), None, workers, start).await
    }

    async fn phase(
        &self,
        name: String,
        concurrency: Option<u16>,
        workers: usize,
        start: impl FnOnce() -> std::io::Result<Arrivals>,
    ) -> anyhow::Result<Phase> {
        say(&format!("{name} …"));
        let mut connection = Connection::open(self.stack.http).await?;
        let batches = Batches::read(&mut connection).await?;
        let meter = self.processes.meter();
        let run = self.driver.run(workers, start).await?;
        let cost = meter.stop();
        let batches = Batches::read(&mut connection).await? - batches;
        let memory = self.processes.memory()?;
        Ok(Phase { name, concurrency, run, cost, batches, memory })
    }

    /// A round of each of [`LOADS`]; none without pgbench.
    async fn pgbench(&self, when: &str) -> anyhow::Result<Vec<Round>> {
        let mut rounds = Vec::new();
        if let Some(pgbench) = &self.pgbench {
            say(&format!("pgbench, {when} the load …"));
            for load in LOADS {
                let meter = self.processes.meter();
                let figures = pgbench.run(load, self.length()).await?;
                rounds.push(Round { figures, cost: meter.stop() });
            }
        }
        Ok(rounds)
    }

    const fn length(&self) -> Duration {
        Duration::from_secs(self.options.seconds)
    }
}
