use std::{
    io::Write,
    panic,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tracing::{Level, subscriber::with_default};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// Keeps what is written.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Buffer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn logged(work: impl FnOnce()) -> Vec<Value> {
    logged_at("trace", work)
}

/// The log lines of `work`. Each must be JSON without a key that appears twice: parsed and printed again, it would be
/// shorter.
fn logged_at(filter: &str, work: impl FnOnce()) -> Vec<Value> {
    let buffer = Buffer::default();
    with_default(subscriber(EnvFilter::new(filter), JsonLines::new(buffer.clone()).boxed()), work);
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(value.to_string().len(), line.len(), "a key appears twice: {line}");
        value
    };
    text.lines().map(parse).collect()
}

/// Without the parts that differ from run to run.
fn steady(mut line: Value) -> Value {
    let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert!(timestamp.as_str().unwrap().ends_with('Z'), "{timestamp}");
    line
}

#[test]
fn fields_of_the_event_and_of_its_spans_stand_flat_in_one_object() {
    let lines = logged(|| {
        let _request =
            tracing::info_span!("request", request_id = "r1", turn = tracing::field::Empty).entered();
        tracing::Span::current().record("turn", 7);
        let _inner = tracing::info_span!("generation", attempt = 2u64).entered();
        tracing::info!(target: "chat", tokens = 5, ok = true, "answered {}", "well");
    });
    assert_eq!(
        steady(lines[0].clone()),
        json!({
            "level": "INFO", "target": "chat", "message": "answered well",
            "tokens": 5, "ok": true, "attempt": 2, "request_id": "r1", "turn": 7,
        })
    );
}

#[test]
fn no_key_appears_twice_however_spans_name_their_fields() {
    let lines = logged(|| {
        let _outer = tracing::info_span!("Actor", name = "outer", id = 1, level = "span's own").entered();
        let _inner = tracing::info_span!("Actor", name = "inner", id = 2).entered();
        tracing::error!(id = 3, target = "field", "first");
        tracing::event!(Level::WARN, message = "second");
    });
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["id"], 3);
    assert_eq!(lines[0]["target"], "host::telemetry::tests");
    assert_eq!(lines[1]["id"], 2);
    assert_eq!((&lines[1]["name"], &lines[1]["level"]), (&json!("inner"), &json!("WARN")));
}

#[test]
fn a_line_stays_one_line_whatever_is_logged() {
    let lines = logged(|| {
        let error = std::io::Error::other("one\ntwo \u{1b}[31m\"three\"");
        tracing::warn!(error = &error as &(dyn std::error::Error + 'static), path = ?"a\nb", "line\nbreak");
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["error"], "one\ntwo \u{1b}[31m\"three\"");
}

#[test]
fn an_event_is_heard_though_a_filtered_one_was_asked_for_before() {
    let lines = logged_at("info,quiet=warn", || {
        assert!(!tracing::enabled!(target: "quiet", Level::INFO));
        tracing::info!("heard");
        tracing::info!(target: "quiet", "not heard");
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["message"], "heard");
}

#[test]
fn a_panic_is_logged_once_with_the_name_of_its_task() {
    let lines = logged(|| {
        let before = panic::take_hook();
        panics::log_from_now_on();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let drain = Drain::new();
            drain.spawn("fragile", async { panic!("on {}", "purpose") });
            drain.finish(Duration::from_secs(10)).await;
        });
        panic::set_hook(before);
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["task"], &lines[0]["panic"]), (&json!("fragile"), &json!("on purpose")));
    assert!(lines[0]["location"].as_str().unwrap().contains("tests.rs:"));
}

#[test]
fn rust_log_wins_over_the_configured_filter_and_a_bad_one_is_named() {
    let config = |filter: &str| Config { format: Format::Json, filter: filter.into() };
    let rust_log = |value: &str| [("RUST_LOG", value)].into_iter().collect();
    let shown = |filter: Result<EnvFilter, ConfigError>| filter.unwrap().to_string();
    assert!(shown(filter(&config("chat=debug"), &Environment::default())).contains("chat=debug"));
    assert!(!shown(filter(&config("chat=debug"), &rust_log("error"))).contains("chat=debug"));
    assert!(shown(filter(&config("info"), &rust_log(""))).contains("sqlx::postgres::notice=warn"));
    let error = filter(&config("chat=loud"), &Environment::default()).unwrap_err();
    assert!(error.to_string().starts_with("log.filter is not a log filter"), "{error}");
}

#[test]
fn metrics_come_with_their_help_and_durations_in_buckets() {
    let recorder = metric::recorder().unwrap().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe(&[Metric::histogram("turn_seconds", "How long a turn took.")]);
        metrics::histogram!("turn_seconds").record(0.3);
        process::begin();
        process::measure();
    });
    let text = handle.render();
    for expected in [
        "# HELP turn_seconds How long a turn took.\n",
        "turn_seconds_bucket{le=\"0.25\"} 0\n",
        "turn_seconds_bucket{le=\"0.5\"} 1\n",
        "# TYPE process_start_time_seconds gauge\n",
        #[cfg(target_os = "linux")]
        "# TYPE process_resident_memory_bytes gauge\n",
        #[cfg(target_os = "linux")]
        "# TYPE process_open_fds gauge\n",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
}
