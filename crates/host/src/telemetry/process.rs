use std::{fs, time::SystemTime};

use metrics::gauge;

use super::{Metric, describe};

const RESIDENT_MEMORY: &str = "process_resident_memory_bytes";
const OPEN_FDS: &str = "process_open_fds";
const THREADS: &str = "process_threads";
const START_TIME: &str = "process_start_time_seconds";

/// Describes the process's own metrics and notes that it starts now.
pub(super) fn begin() {
    describe(&[
        Metric::gauge(RESIDENT_MEMORY, "Resident memory size in bytes."),
        Metric::gauge(OPEN_FDS, "Number of open file descriptors."),
        Metric::gauge(THREADS, "Number of operating system threads."),
        Metric::gauge(START_TIME, "Start time of the process since the Unix epoch in seconds."),
    ]);
    if let Ok(now) = SystemTime::UNIX_EPOCH.elapsed() {
        gauge!(START_TIME).set(now.as_secs_f64());
    }
}

/// Brings the gauges up to date. Only Linux has `/proc`; elsewhere they stay away.
pub(super) fn measure() {
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        if let Some(kib) = field(&status, "VmRSS:") {
            gauge!(RESIDENT_MEMORY).set(kib * 1024.0);
        }
        if let Some(threads) = field(&status, "Threads:") {
            gauge!(THREADS).set(threads);
        }
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        gauge!(OPEN_FDS).set(entries.count().saturating_sub(1) as f64);
    }
}

/// `VmRSS:     12345 kB` → 12345.
fn field(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
