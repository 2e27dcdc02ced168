//! What the processes use of the machine, as Linux tells in `/proc`.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::stack::Stack;

/// The processes whose time is told apart.
pub const NAMES: [&str; 5] = ["omnichat", "nats-server", "Postgres", "provider", "driver"];

/// Processor time in microseconds. The kernel counts it in steps of 10 ms.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    ours: [f64; NAMES.len()],
    machine: f64,
}

/// What was used within a time.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Microseconds of processor time of each of [`NAMES`].
    pub ours_us: [f64; NAMES.len()],
    /// Of everything on this machine.
    machine_us: f64,
    wall: Duration,
}

impl Cost {
    /// Cores that were busy.
    pub fn busy(&self) -> f64 {
        self.machine_us / (self.wall.as_secs_f64() * 1e6)
    }

    /// Of these, with what does not belong to the measurement.
    pub fn others(&self) -> f64 {
        (self.machine_us - self.ours_us.iter().sum::<f64>()) / (self.wall.as_secs_f64() * 1e6)
    }
}

/// A measurement that has begun.
pub struct Meter<'a> {
    processes: &'a Processes,
    began: Instant,
    before: Cpu,
}

impl Meter<'_> {
    /// What was used since it began.
    pub fn stop(self) -> Cost {
        let after = self.processes.cpu();
        Cost {
            ours_us: std::array::from_fn(|name| after.ours[name] - self.before.ours[name]),
            machine_us: after.machine - self.before.machine,
            wall: self.began.elapsed(),
        }
    }
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// At this moment.
    pub now_mib: f64,
    /// The most since its start.
    pub peak_mib: f64,
}

/// The processes of a running stack.
pub struct Processes {
    omnichat: u32,
    nats_server: u32,
    /// Postgres's first process, the parent of all others.
    pub postgres: u32,
    provider: u32,
}

impl Processes {
    /// Finds both servers among the children of `omnichat up`.
    pub fn of(stack: &Stack) -> anyhow::Result<Self> {
        let omnichat = stack.omnichat.id().context("omnichat has ended")?;
        let children: Vec<_> = all().into_iter().filter(|stat| stat.parent == omnichat).collect();
        let child = |name: &str| {
            let found = children.iter().find(|stat| stat.name == name);
            found.map(|stat| stat.pid).with_context(|| format!("omnichat has no child {name}"))
        };
        Ok(Self {
            omnichat,
            nats_server: child("nats-server")?,
            postgres: child("postgres")?,
            provider: stack.provider.id().context("the provider has ended")?,
        })
    }

    /// Begins to measure.
    pub fn meter(&self) -> Meter<'_> {
        Meter { processes: self, began: Instant::now(), before: self.cpu() }
    }

    /// The time used so far. Postgres's includes that of its processes that have ended, ours that of pgbench.
    fn cpu(&self) -> Cpu {
        let all = all();
        let of = |pid: u32| all.iter().find(|stat| stat.pid == pid);
        let own = |pid: u32| of(pid).map_or(0, |stat| stat.own_ticks);
        let with_ended = |pid: u32| of(pid).map_or(0, |stat| stat.own_ticks + stat.reaped_ticks);
        let backends = all.iter().filter(|stat| stat.parent == self.postgres).map(|stat| stat.own_ticks);
        let ticks = [
            own(self.omnichat),
            own(self.nats_server),
            with_ended(self.postgres) + backends.sum::<u64>(),
            own(self.provider),
            with_ended(std::process::id()),
        ];
        let us = |ticks: u64| ticks as f64 * 1e6 / rustix::param::clock_ticks_per_second() as f64;
        Cpu { ours: ticks.map(us), machine: us(busy(&fs::read_to_string("/proc/stat").unwrap_or_default())) }
    }

    /// Memory of `omnichat up` itself, without its servers.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.omnichat))?;
        let mib = |name| kib(&status, name).unwrap_or_default() / 1024.0;
        Ok(Memory { now_mib: mib("VmRSS:"), peak_mib: mib("VmHWM:") })
    }
}

/// A process whose memory is watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What it is called in a table.
    pub name: String,
    pid: u32,
}

impl Watched {
    /// The processes that this one has started and that serve a role, and its nats-server.
    pub fn children() -> Vec<Self> {
        let own = std::process::id();
        let children = all().into_iter().filter(|stat| stat.parent == own);
        children.filter_map(|stat| Some(Self { name: stat.serves()?, pid: stat.pid })).collect()
    }

    /// The processor time it has used, in seconds.
    pub fn cpu_s(&self) -> f64 {
        let found = all().into_iter().find(|stat| stat.pid == self.pid);
        found.map_or(0.0, |stat| stat.own_ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// What of its memory is resident now, in MiB.
    pub fn resident_mib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        Ok(kib(&status, "VmRSS:").with_context(|| format!("{} has ended", self.name))? / 1024.0)
    }
}

/// `VmRSS:     12345 kB` → 12345.
fn kib(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// `cpu  user nice system idle iowait irq softirq steal …`: all but idle and iowait.
fn busy(stat: &str) -> u64 {
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
    let ticks = fields.enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    ticks.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum()
}

/// What `/proc/<pid>/stat` tells of a process.
#[derive(Debug, PartialEq)]
struct Stat {
    pid: u32,
    name: String,
    parent: u32,
    own_ticks: u64,
    /// Of its children that have ended.
    reaped_ticks: u64,
}

impl Stat {
    /// `omnichat serve chat` → `chat`; of a nats-server its name.
    fn serves(&self) -> Option<String> {
        if self.name == "nats-server" {
            return Some(self.name.clone());
        }
        let line = fs::read_to_string(format!("/proc/{}/cmdline", self.pid)).ok()?;
        Some(line.split_once("\0serve\0")?.1.trim_end_matches('\0').replace('\0', "+"))
    }
}

fn all() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| parse(&fs::read_to_string(entry.path().join("stat")).ok()?)).collect()
}

/// `12 (a name) S 1 …`; the name may contain anything.
fn parse(stat: &str) -> Option<Stat> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |first: usize| {
        Some(fields.get(first)?.parse::<u64>().ok()? + fields.get(first + 1)?.parse::<u64>().ok()?)
    };
    Some(Stat {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        own_ticks: ticks(11)?,
        reaped_ticks: ticks(13)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 1 2 3 4 100 20 7 3 20 0 1 0 5 6 7";
        let expected = Stat { pid: 12, name: "a) b (c".into(), parent: 1, own_ticks: 120, reaped_ticks: 10 };
        assert_eq!(parse(stat), Some(expected));
    }

    #[test]
    fn waiting_is_not_busy() {
        assert_eq!(busy("cpu  1 2 3 400 500 6 7 8 0 0\ncpu0 9 9 9 9\n"), 27);
    }

    #[test]
    fn this_process_is_among_all() {
        assert!(all().iter().any(|stat| stat.pid == std::process::id()));
    }
}
