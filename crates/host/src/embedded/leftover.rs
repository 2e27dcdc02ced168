//! What a killed run left at work. On Linux servers die with their supervisor, but need a moment for it; elsewhere they
//! stay until the next run ends them here. A process is a leftover if it is such a program and its current directory is
//! the server's own folder.

use super::Error;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const POLL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_AFTER_KILL: Duration = Duration::from_secs(5);

/// Asks `main` (without it: all) of the leftovers to end, and returns when none is left.
///
/// # Errors
/// [`Error::Leftover`] if one outlives even SIGKILL.
pub(super) async fn end(dir: &Path, program: &str, request: Signal, main: Option<Pid>) -> Result<(), Error> {
    let found = running(dir, program);
    for pid in found.iter().filter(|pid| main.is_none_or(|main| main == **pid)) {
        tracing::warn!(program, pid = pid.as_raw_nonzero(), "ending what an earlier run left behind");
        let _ = kill_process(*pid, request);
    }
    if left_after(PATIENCE, dir, program).await.is_empty() {
        return Ok(());
    }
    for pid in running(dir, program) {
        let _ = kill_process(pid, Signal::KILL);
    }
    match left_after(PATIENCE_AFTER_KILL, dir, program).await.first() {
        None => Ok(()),
        Some(pid) => {
            Err(Error::Leftover { pid: pid.as_raw_nonzero().get().cast_unsigned(), dir: dir.into() })
        }
    }
}

async fn left_after(patience: Duration, dir: &Path, program: &str) -> Vec<Pid> {
    let deadline = Instant::now() + patience;
    loop {
        let left = running(dir, program);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        sleep(POLL).await;
    }
}

/// A zombie has no current directory, so it does not count.
#[cfg(target_os = "linux")]
fn running(dir: &Path, program: &str) -> Vec<Pid> {
    let is_program = |process: &Path| {
        let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(first).contains(program)
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .filter(|(_, process)| std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == dir))
        .filter(|(_, process)| is_program(process))
        .filter_map(|(pid, _)| Pid::from_raw(pid))
        .collect()
}

#[cfg(not(target_os = "linux"))]
fn running(dir: &Path, program: &str) -> Vec<Pid> {
    let mut lsof = std::process::Command::new("lsof");
    lsof.args(["-a", "-w", "-d", "cwd", "-c", program, "-F", "pn"]);
    let listed = lsof.output().map(|output| output.stdout).unwrap_or_default();
    in_listing(&String::from_utf8_lossy(&listed), dir)
}

/// `lsof -F pn` prints a line `p<pid>` per process and then, per file, lines `f…` and `n<path>`.
#[cfg(any(test, not(target_os = "linux")))]
fn in_listing(listing: &str, dir: &Path) -> Vec<Pid> {
    let mut current = None;
    let mut found = Vec::new();
    for line in listing.lines() {
        if let Some(pid) = line.strip_prefix('p') {
            current = pid.parse().ok().and_then(Pid::from_raw);
        } else if line.strip_prefix('n').is_some_and(|path| Path::new(path) == dir) {
            found.extend(current);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_tells_who_works_in_the_folder() {
        let listing = "p11\nfcwd\nn/data/nats\np12\nfcwd\nn/data\np13\nfcwd\nn/data/nats\n";
        let pids: Vec<_> = [11, 13].into_iter().filter_map(Pid::from_raw).collect();
        assert_eq!(in_listing(listing, Path::new("/data/nats")), pids);
    }
}
