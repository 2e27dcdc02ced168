//! The report, as Markdown.

use std::fmt::{self, Display, Formatter};

use anyhow::ensure;

use crate::{
    audit::Stored,
    batches::Batches,
    driver::Run,
    machine::Machine,
    pgbench::{Figures, Load},
    usage::{self, Cost, Memory},
};

/// Cores that others may keep busy before the report says so.
const DISTURBED: f64 = 0.1;

/// What one way of driving reached.
pub struct Phase {
    /// What it is called in the tables.
    pub name: String,
    /// Sends in flight, in a closed loop.
    pub concurrency: Option<u16>,
    /// The answers.
    pub run: Run,
    /// What it cost.
    pub cost: Cost,
    /// How the writer committed.
    pub batches: Batches,
    /// Of omnichat, at the end.
    pub memory: Memory,
}

/// One run of pgbench.
pub struct Round {
    /// What it reached.
    pub figures: Figures,
    /// What it cost, pgbench as the driver.
    pub cost: Cost,
}

/// What pgbench reached in one way, before and after the load.
pub struct Yardstick {
    load: Load,
    rounds: [Round; 2],
}

/// Everything that was measured.
pub struct Report {
    pub machine: Machine,
    pub seconds: u64,
    pub conversations: usize,
    /// What was sent before anything was measured.
    pub warm_up: Run,
    pub phases: Vec<Phase>,
    /// None without pgbench.
    pub yardsticks: Vec<Yardstick>,
    /// Of the process before its first request.
    pub idle: Memory,
    pub stored: Stored,
}

impl Yardstick {
    /// Of the figures before and after.
    pub fn new((load, (before, after)): (Load, (Round, Round))) -> Self {
        Self { load, rounds: [before, after] }
    }

    /// The mean of both rounds.
    fn turns_per_s(&self) -> f64 {
        self.rounds.iter().map(|round| round.figures.turns_per_s).sum::<f64>() / self.rounds.len() as f64
    }

    /// The mean of both rounds' medians, in milliseconds.
    fn median_ms(&self) -> f64 {
        let medians = self.rounds.iter().map(|round| round.figures.latencies.quantile_ms(0.5));
        medians.sum::<f64>() / self.rounds.len() as f64
    }
}

impl Report {
    /// # Errors
    /// If a message was not answered well, or what is stored is not what was answered.
    pub fn check(&self) -> anyhow::Result<()> {
        let failures = self.runs().map(|run| run.failures.values().sum::<u64>()).sum::<u64>();
        ensure!(failures == 0, "{failures} messages were not answered with 200");
        self.stored.check(self.answered())
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.phases.iter().map(|phase| &phase.run).chain([&self.warm_up])
    }

    fn costs(&self) -> impl Iterator<Item = &Cost> {
        let rounds = self.yardsticks.iter().flat_map(|yardstick| &yardstick.rounds);
        self.phases.iter().map(|phase| &phase.cost).chain(rounds.map(|round| &round.cost))
    }

    fn answered(&self) -> usize {
        self.runs().map(|run| run.latencies.count()).sum()
    }

    fn closed(&self, concurrency: u16) -> Option<&Run> {
        self.phases.iter().find(|phase| phase.concurrency == Some(concurrency)).map(|phase| &phase.run)
    }

    fn write_loads(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| load | turns/s | p50 ms | p99 ms | max ms | entries per commit | commit ms | memory MiB |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for Phase { name, run, batches, memory, .. } in &self.phases {
            let [p50, p99, max] = [0.5, 0.99, 1.0].map(|fraction| run.latencies.quantile_ms(fraction));
            let (rate, entries, commit) = (run.turns_per_s(), batches.entries(), batches.commit_ms());
            write!(f, "| {name} | {rate:.0} | {p50:.2} | {p99:.2} | {max:.1} |")?;
            writeln!(f, " {entries:.1} | {commit:.2} | {:.1} |", memory.now_mib)?;
        }
        Ok(())
    }

    fn write_pgbench(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.yardsticks.is_empty() {
            return writeln!(f, "\nWithout pgbench: it was left out, or this machine has none.");
        }
        writeln!(
            f,
            "\n| pgbench -M prepared | turns/s before | after | p50 ms before | after | p99 ms before | after |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|")?;
        for Yardstick { load: Load { form, clients }, rounds } in &self.yardsticks {
            let plural = if *clients == 1 { "" } else { "s" };
            write!(f, "| {}, {clients} client{plural} |", form.name())?;
            rounds.iter().try_for_each(|round| write!(f, " {:.0} |", round.figures.turns_per_s))?;
            for quantile in [0.5, 0.99] {
                rounds.iter().try_for_each(|round| {
                    write!(f, " {:.2} |", round.figures.latencies.quantile_ms(quantile))
                })?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn write_costs(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\n| µs of CPU per turn |")?;
        usage::NAMES.iter().try_for_each(|name| write!(f, " {name} |"))?;
        writeln!(
            f,
            " sum | cores busy | of these, others |\n|---|{}--:|--:|--:|",
            "--:|".repeat(usage::NAMES.len())
        )?;
        for Phase { name, run, cost, .. } in &self.phases {
            let per_turn = |us: f64| us / run.latencies.count() as f64;
            write!(f, "| {name} |")?;
            cost.ours_us.iter().try_for_each(|us| write!(f, " {:.0} |", per_turn(*us)))?;
            let sum = per_turn(cost.ours_us.iter().sum());
            writeln!(f, " {sum:.0} | {:.2} | {:.2} |", cost.busy(), cost.others())?;
        }
        Ok(())
    }

    fn write_goals(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| goal | reached |\n|---|--:|")?;
        for yardstick @ Yardstick { load, .. } in &self.yardsticks {
            let form = load.form.name();
            match (load.clients, self.closed(64), self.closed(1)) {
                (32, Some(run), _) => {
                    let ratio = run.turns_per_s() / yardstick.turns_per_s();
                    writeln!(
                        f,
                        "| turns/s with 64 in flight ≥ 0.5 × pgbench, {form}, 32 clients | {ratio:.2} × |"
                    )?;
                }
                (1, _, Some(run)) => {
                    let ratio = run.latencies.quantile_ms(0.5) / yardstick.median_ms();
                    writeln!(f, "| p50 with 1 in flight ≤ 4 × pgbench, {form}, 1 client | {ratio:.2} × |")?;
                }
                _ => {}
            }
        }
        writeln!(f, "| memory of omnichat when idle ≤ 60 MiB | {:.1} MiB |", self.idle.now_mib)?;
        let Some(Memory { now_mib, peak_mib }) = self.phases.last().map(|phase| phase.memory) else {
            return Ok(());
        };
        writeln!(f, "| memory of omnichat after the load ≤ 120 MiB | {now_mib:.1} MiB (peak {peak_mib:.1}) |")
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (conversations, seconds) = (self.conversations, self.seconds);
        writeln!(f, "{}.\n{conversations} conversations, {seconds} s per line.", self.machine)?;
        self.write_loads(f)?;
        self.write_pgbench(f)?;
        self.write_costs(f)?;
        self.write_goals(f)?;
        let (answered, disturbed) = (self.answered(), self.costs().map(Cost::others).fold(0.0, f64::max));
        if disturbed > DISTURBED {
            writeln!(f, "\n**Disturbed**: something else kept up to {disturbed:.2} cores busy.")?;
        }
        match self.check() {
            Ok(()) => writeln!(
                f,
                "\nChecked: {answered} answers, as many turns, outcomes, questions and answers stored; no gaps."
            ),
            Err(error) => {
                writeln!(f, "\n**Not good**: {error}")?;
                let failures = self.runs().flat_map(|run| &run.failures);
                failures.into_iter().try_for_each(|(failure, count)| writeln!(f, "- {count} × {failure}"))
            }
        }
    }
}
