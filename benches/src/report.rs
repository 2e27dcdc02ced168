//! The report, as Markdown.

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use anyhow::ensure;

use crate::{
    audit::Stored,
    batches::Batches,
    driver::Run,
    machine::Machine,
    pgbench::Figures,
    usage::{self, Cpu, Memory},
};

/// What one way of driving reached.
pub struct Phase {
    /// What it is called in the tables.
    pub name: String,
    /// Sends in flight, in a closed loop.
    pub concurrency: Option<u16>,
    /// The answers.
    pub run: Run,
    /// What it cost.
    pub cpu: Cpu,
    /// How long that was counted.
    pub wall: Duration,
    /// How the writer committed.
    pub batches: Batches,
    /// Of omnichat, at the end.
    pub memory: Memory,
}

/// pgbench with 32 clients and with one, before and after the load.
pub struct Rounds {
    pub before: [Figures; 2],
    pub after: [Figures; 2],
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
    pub rounds: Option<Rounds>,
    /// Of the process before its first request.
    pub idle: Memory,
    pub stored: Stored,
}

impl Rounds {
    /// Turns per second with 32 clients, the mean of both.
    fn turns_per_s(&self) -> f64 {
        (self.before[0].turns_per_s + self.after[0].turns_per_s) / 2.0
    }

    /// The median with one client, the mean of both, in milliseconds.
    fn median_ms(&self) -> f64 {
        let [before, after] = [&self.before, &self.after].map(|round| round[1].latencies.quantile_ms(0.5));
        (before + after) / 2.0
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
        let Some(Rounds { before, after }) = &self.rounds else {
            return writeln!(f, "\nWithout pgbench: it was left out, or this machine has none.");
        };
        writeln!(f, "\n| pgbench -M prepared | turns/s | p50 ms | p99 ms |\n|---|--:|--:|--:|")?;
        for (when, round) in [("before", before), ("after", after)] {
            for (clients, Figures { turns_per_s, latencies }) in ["32 clients", "1 client"].iter().zip(round)
            {
                let [p50, p99] = [0.5, 0.99].map(|fraction| latencies.quantile_ms(fraction));
                writeln!(f, "| {clients}, {when} | {turns_per_s:.0} | {p50:.2} | {p99:.2} |")?;
            }
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
        for Phase { name, run, cpu, wall, .. } in &self.phases {
            let (turns, wall_us) = (run.latencies.count() as f64, wall.as_secs_f64() * 1e6);
            write!(f, "| {name} |")?;
            cpu.ours.iter().try_for_each(|us| write!(f, " {:.0} |", us / turns))?;
            let ours: f64 = cpu.ours.iter().sum();
            let (busy, others) = (cpu.machine / wall_us, (cpu.machine - ours) / wall_us);
            writeln!(f, " {:.0} | {busy:.2} | {others:.2} |", ours / turns)?;
        }
        Ok(())
    }

    fn write_goals(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| goal | reached |\n|---|--:|")?;
        if let (Some(rounds), Some(run)) = (&self.rounds, self.closed(64)) {
            let ratio = run.turns_per_s() / rounds.turns_per_s();
            writeln!(f, "| turns/s with 64 in flight ≥ 0.5 × pgbench with 32 clients | {ratio:.2} × |")?;
        }
        if let (Some(rounds), Some(run)) = (&self.rounds, self.closed(1)) {
            let ratio = run.latencies.quantile_ms(0.5) / rounds.median_ms();
            writeln!(f, "| p50 with 1 in flight ≤ 4 × pgbench with 1 client | {ratio:.2} × |")?;
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
        let answered = self.answered();
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
