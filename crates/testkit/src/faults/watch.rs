//! What is seen of the processes and the queue while they are used, and what their logs hold afterwards.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{evidence::Sample, history::now, installation::Installation};
use crate::{Stranger, user::PASSWORD};

/// What no log may hold, and what it is.
const FORBIDDEN: [(&str, &str); 5] = [
    ("-yranac", "a user's text"),
    (PASSWORD, "a password"),
    ("eyJ", "a token"),
    ("a secret of the tests", "the secret that signs tokens"),
    ("understand nothing", "an answer"),
];

/// Looks at every process once a second, for as long as it is polled. Safe to cancel.
pub async fn samples(on: &Installation, into: &std::sync::Mutex<Vec<Sample>>) {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(700)).build().unwrap();
    loop {
        for place in &on.places {
            let Some((rss_kib, files)) = usage(place.pid()) else { continue };
            let process = format!("{}#{}", place.name, place.start_number());
            let fenced = match place.status().filter(|_| place.name.starts_with("chat")) {
                Some(address) => counter(&http, address, "omnichat_fenced_writes_total").await,
                None => 0,
            };
            let sample = Sample { at: now(), process, rss_kib, files, fenced };
            into.lock().unwrap().push(sample);
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Starts again whatever ends by itself, for as long as it is polled.
pub async fn supervise(on: &Installation) {
    loop {
        for place in &on.places {
            on.revive(place).await;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Memory in KiB and open files. None if it is not there.
fn usage(pid: u32) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some((rss.split_whitespace().next()?.parse().ok()?, files as u64))
}

async fn counter(http: &reqwest::Client, address: std::net::SocketAddr, name: &str) -> u64 {
    let fetched =
        async { http.get(format!("http://{address}/metrics")).send().await.ok()?.text().await.ok() };
    let text = fetched.await.unwrap_or_default();
    let value = text.lines().filter(|line| !line.starts_with('#') && line.starts_with(name));
    value.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>() as u64
}

/// The most that each process had counted of writes that were refused to it.
pub fn fenced(samples: &[Sample]) -> u64 {
    let mut most: HashMap<&str, u64> = HashMap::new();
    for sample in samples {
        let entry = most.entry(&sample.process).or_default();
        *entry = (*entry).max(sample.fenced);
    }
    most.values().sum()
}

/// Messages in the stream, and unacknowledged ones, as its consumers know.
pub async fn left_in_queue(staff: &Stranger) -> Option<(u64, u64)> {
    let asked = async {
        let stream = staff.try_request("$JS.API.STREAM.INFO.TURNS", &[], "").await.ok()?.json();
        let consumers = staff.try_request("$JS.API.CONSUMER.LIST.TURNS", &[], "{}").await.ok()?.json();
        let pending = consumers["consumers"].as_array().into_iter().flatten();
        let pending = pending.filter_map(|consumer| consumer["num_ack_pending"].as_u64()).sum();
        stream["state"]["messages"].as_u64().map(|messages| (messages, pending))
    };
    timeout(Duration::from_secs(5), asked).await.ok().flatten()
}

/// What the logs of this folder hold that they may not.
pub fn leaks(folder: &Path) -> Vec<(String, String)> {
    let logs = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let mut found = Vec::new();
    for log in logs.filter(|path| path.extension().is_some_and(|it| it == "log" || it == "out")) {
        let bytes = fs::read(&log).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for (forbidden, what) in FORBIDDEN.iter().filter(|(forbidden, _)| text.contains(forbidden)) {
            let line = text.lines().find(|line| line.contains(forbidden)).unwrap_or_default();
            let line: String = line.chars().take(200).collect();
            found.push((format!("{}", log.display()), format!("{what}: {line}")));
        }
    }
    found
}

/// A log's lines of this level or worse, counted by what they say.
pub fn complaints(folder: &Path) -> Vec<(usize, String)> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for path in fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|it| it != "log") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for line in String::from_utf8_lossy(&bytes).lines() {
            match serde_json::from_str::<Value>(line) {
                Ok(line) if line["level"] == "ERROR" => {
                    let said =
                        format!("{} ({})", line["message"].as_str().unwrap_or_default(), line["target"]);
                    *counts.entry(said).or_default() += 1;
                }
                Ok(_) => {}
                Err(_) => *counts.entry(line.chars().take(160).collect()).or_default() += 1,
            }
        }
    }
    let mut counts: Vec<_> = counts.into_iter().map(|(line, count)| (count, line)).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{faults::history::canary, folder::Folder};

    #[test]
    fn a_text_in_a_log_is_found() {
        let folder = Folder::new("leaks");
        fs::write(folder.path().join("1-chat.log"), "{\"message\":\"all is well\"}\n").unwrap();
        assert!(leaks(folder.path()).is_empty());
        fs::write(folder.path().join("2-chat.log"), format!("a line\nwith {}\n", canary(1, 2))).unwrap();
        let found = leaks(folder.path());
        assert_eq!(found.len(), 1);
        assert!(found[0].0.ends_with("2-chat.log"), "{found:?}");
    }

    #[test]
    fn each_process_counts_once() {
        let sample =
            |process: &str, fenced| Sample { at: 0, process: process.into(), rss_kib: 0, files: 0, fenced };
        assert_eq!(fenced(&[sample("a", 1), sample("a", 3), sample("b", 2)]), 5);
    }
}
