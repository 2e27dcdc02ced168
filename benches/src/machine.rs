//! Where it was measured.

use std::{fmt, fs, path::Path, process::Command, thread};

/// The machine, the servers' versions, and how busy it was before.
#[derive(Debug)]
pub struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    version: String,
    load: String,
}

impl Machine {
    /// Looks, without changing anything.
    pub fn look(program: &Path) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processor = field(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown processor").to_owned();
        let load = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
        let version = Command::new(program).arg("--version").output();
        let version = version.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
        Self {
            cores: thread::available_parallelism().map_or(0, usize::from),
            processor,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            version: version.unwrap_or_default(),
            load,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, kernel, version, load } = self;
        write!(f, "{version}; {cores} cores ({processor}), Linux {kernel}; load average before: {load}")
    }
}

/// `model name\t: Some Processor` → `Some Processor`
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}
