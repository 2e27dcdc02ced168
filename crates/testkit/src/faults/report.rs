//! A run on one page.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use super::{
    checks::{CHECKS, Violation},
    driver::Reading,
    evidence::Evidence,
    history::{Ask, Kind},
    plan::Size,
    vacuity::Effect,
    watch,
};

/// What the run itself saw.
#[derive(Debug)]
pub struct Seen {
    /// How long all of it took.
    pub took: Duration,
    /// How long it took after the load until nothing was open; none if too long.
    pub recovered: Option<Duration>,
    /// Of each place, how often a process ended by itself.
    pub crashes: Vec<(String, u32)>,
    /// Errors in the logs, counted.
    pub complaints: Vec<(usize, String)>,
}

/// The page, as Markdown.
pub fn page(size: &Size, run: &Evidence, violations: &[Violation], seen: &Seen) -> String {
    let mut page = String::new();
    let _ = write_page(&mut page, size, run, seen);
    let _ = write_faults(&mut page, run);
    let _ = write_verdict(&mut page, violations);
    page
}

fn write_page(page: &mut String, size: &Size, run: &Evidence, seen: &Seen) -> std::fmt::Result {
    let Size { seed, turns, per_s, faults, users, talks, workers, ingresses, nats_servers, .. } = size;
    writeln!(
        page,
        "Seed {seed}: {turns} messages, {per_s} per second, of {users} users in {talks} conversations each; {workers} workers, \
         {ingresses} ingresses, {nats_servers} nats-server; {faults} faults; {:.0} s in all.\n",
        seen.took.as_secs_f64()
    )?;
    let count = |is: &dyn Fn(&&super::history::Event) -> bool| run.events.iter().filter(is).count();
    let done = |ask: Of, kind| count(&|it| ask(it.ask) && it.kind == kind);
    writeln!(page, "| requests | asked | answered | refused | unknown |\n|---|--:|--:|--:|--:|")?;
    let rows: [(&str, Of); 7] = [
        ("sends", |ask| ask == Ask::Send),
        ("reads", |ask| ask == Ask::Read),
        ("deletions", |ask| ask == Ask::Delete),
        ("cancels", |ask| ask == Ask::Cancel),
        ("connections of readers", |ask| ask == Ask::Watch),
        ("probes of what is not theirs", |ask| matches!(ask, Ask::Probe { .. })),
        ("forged credentials", |ask| ask == Ask::Forged),
    ];
    for (name, ask) in rows {
        let [asked, ok, fail, info] =
            [Kind::Invoke, Kind::Ok, Kind::Fail, Kind::Info].map(|kind| done(ask, kind));
        writeln!(page, "| {name} | {asked} | {ok} | {fail} | {info} |")?;
    }
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in &run.dump.outcomes {
        *statuses.entry(outcome.fault_code.clone().unwrap_or_else(|| outcome.status.clone())).or_default() +=
            1;
    }
    let statuses: Vec<_> = statuses.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let repeated = run.calls.iter().filter(|call| call.attempt > 1).count();
    writeln!(page, "\n{} turns: {}.", run.dump.turns.len(), statuses.join(", "))?;
    writeln!(
        page,
        "{} calls to the provider, {repeated} of them repeated. {} times a partition changed hands; {} writes of old owners \
         were refused.",
        run.calls.len(),
        run.dump.writes.iter().filter(|write| write.kind == "owner").count(),
        watch::fenced(&run.samples),
    )?;
    let most = |of: fn(&super::evidence::Sample) -> u64| run.samples.iter().map(of).max().unwrap_or_default();
    writeln!(page, "Largest process: {} MiB, {} files.", most(|it| it.rss_kib) / 1024, most(|it| it.files))?;
    let recovered =
        seen.recovered.map_or("not in time".to_owned(), |it| format!("{:.1} s", it.as_secs_f64()));
    let crashes: Vec<_> = seen.crashes.iter().filter(|(_, times)| *times > 0).collect();
    writeln!(
        page,
        "After the load all had ended within: {recovered}. Processes that ended by themselves: {crashes:?}."
    )?;
    for (count, line) in seen.complaints.iter().take(12) {
        writeln!(page, "- {count} × `{line}`")?;
    }
    Ok(())
}

fn write_faults(page: &mut String, run: &Evidence) -> std::fmt::Result {
    let all = latencies(run.sent.iter().filter_map(|sent| Some(sent.known.as_ref()?.0 - sent.due)));
    writeln!(
        page,
        "\nFrom the time a message was due until its outcome was known, in ms: {all} ({} messages).",
        all.count
    )?;
    let silences = latencies(run.readings.iter().filter_map(Reading::silence));
    writeln!(
        page,
        "The longest that a reader was told nothing between two events of a turn, in ms: {silences} ({} readers).\n",
        silences.count
    )?;
    writeln!(
        page,
        "| fault | times | unknown | taken | repeated | p50 ms | p99 ms | worst ms |\n|---|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for fault in &run.faults {
        kinds.entry(fault.what).or_default().push(fault);
    }
    for (what, faults) in kinds {
        let effects: Vec<_> = faults.iter().map(|fault| Effect::of(fault, run)).collect();
        let sum = |of: fn(&Effect) -> usize| effects.iter().map(of).sum::<usize>();
        let during = run.sent.iter().filter(|sent| {
            let known = sent.known.as_ref().map_or(i64::MAX, |(known, _)| *known);
            faults.iter().any(|fault| sent.due <= fault.healed && known >= fault.began)
        });
        let during = latencies(during.filter_map(|sent| Some(sent.known.as_ref()?.0 - sent.due)));
        let (unknown, taken, repeated) = (sum(|it| it.unknown), sum(|it| it.taken), sum(|it| it.repeated));
        let Latencies { p50, p99, max, .. } = during;
        let (name, times) = (what.name(), faults.len());
        writeln!(page, "| {name} | {times} | {unknown} | {taken} | {repeated} | {p50} | {p99} | {max} |")?;
    }
    let first = run.sent.first().map_or(0, |sent| sent.due);
    writeln!(
        page,
        "\n| at s | fault | whom | took ms | unknown | taken | repeated | worst ms |\n|--:|---|---|--:|--:|--:|--:|--:|"
    )?;
    for fault in &run.faults {
        let Effect { unknown, taken, repeated, worst, .. } = Effect::of(fault, run);
        let (at, took) = ((fault.began - first) as f64 / 1e6, (fault.healed - fault.began) / 1000);
        let (name, whom, worst) = (fault.what.name(), &fault.whom, worst / 1000);
        writeln!(
            page,
            "| {at:.1} | {name} | {whom} | {took} | {unknown} | {taken} | {repeated} | {worst} |"
        )?;
    }
    Ok(())
}

fn write_verdict(page: &mut String, violations: &[Violation]) -> std::fmt::Result {
    writeln!(page, "\n{} checks, {} broken.", CHECKS.len(), violations.len())?;
    for violation in violations {
        let promise =
            CHECKS.iter().find(|check| check.name == violation.check).map_or("", |check| check.promise);
        writeln!(page, "\n**{}** ({promise}): {} times", violation.check, violation.count)?;
        for sentence in &violation.first {
            writeln!(page, "- {sentence}")?;
        }
    }
    Ok(())
}

/// Which requests.
type Of = fn(Ask) -> bool;

/// In whole milliseconds.
#[derive(Debug, Default)]
pub struct Latencies {
    count: usize,
    p50: i64,
    p99: i64,
    max: i64,
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p99, max, .. } = self;
        write!(f, "p50 {p50}, p99 {p99}, max {max}")
    }
}

/// Of these durations in microseconds.
pub fn latencies(micros: impl Iterator<Item = i64>) -> Latencies {
    let mut ms: Vec<_> = micros.map(|it| it / 1000).collect();
    ms.sort_unstable();
    let at = |permille: usize| ms.get((ms.len() * permille / 1000).min(ms.len().saturating_sub(1))).copied();
    let [p50, p99, max] = [500, 990, 1000].map(|permille| at(permille).unwrap_or_default());
    Latencies { count: ms.len(), p50, p99, max }
}
