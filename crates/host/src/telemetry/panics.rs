use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic,
};

use crate::drain::current_task;

/// From here on a panic is one log line, in the format of all others, with the name of its task. Everything that
/// catches panics (tasks, actors, HTTP handlers) relies on this line and logs none of its own.
pub(super) fn log_from_now_on() {
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(
            task = current_task(),
            location = panic.location().map(ToString::to_string),
            panic = panic.payload_as_str().unwrap_or("a panic without words"),
            backtrace,
            "panicked"
        );
    }));
}
