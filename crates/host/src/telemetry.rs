//! Logs and metrics of a process. Logs go to stderr, for people or as JSON lines; metrics are rendered on request.

mod json;
mod metric;
mod panics;
mod process;
#[cfg(test)]
mod tests;

use std::{io::IsTerminal, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Layered, SubscriberExt},
    util::SubscriberInitExt,
};

pub use self::{
    json::JsonLines,
    metric::{Metric, describe},
};
use crate::{
    config::{ConfigError, Environment},
    drain::{self, Drain},
    postgres,
};

/// How a process logs.
#[derive(Debug, Clone, confique::Config)]
pub struct Config {
    /// `text` for people, `json` for machines, `auto`: text on a terminal, else JSON lines.
    #[config(default = "auto")]
    pub format: Format,

    /// What is logged: a level, or directives like `info,chat=debug,sqlx=warn`. RUST_LOG wins over it.
    #[config(default = "info")]
    pub filter: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, else JSON lines.
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What other crates say too loudly, unless the filter asks for it: Postgres reports "relation already exists,
/// skipping" as a notice, ractor wraps every actor in a span with a field called `name`, and async-nats tells of each
/// connection what the bus tells as well.
const QUIET: &str = "sqlx::postgres::notice=warn,ractor=warn,async_nats=warn";

/// How often histograms are tidied; without it they grow until somebody asks for the metrics.
const UPKEEP: Duration = Duration::from_secs(5);

/// The process's telemetry, once it has begun.
#[derive(Debug, Clone)]
pub struct Telemetry {
    recorder: PrometheusHandle,
}

/// Begins logging and counting for the whole process; panics are logged from here on. Reads `RUST_LOG` and `NO_COLOR`.
///
/// # Errors
/// The filter does not parse, or telemetry has begun before in this process.
pub fn init(config: &Config, environment: &Environment) -> Result<Telemetry, ConfigError> {
    let filter = filter(config, environment)?;
    let terminal = std::io::stderr().is_terminal();
    let lines: Lines = match config.format {
        Format::Json => JsonLines::new(std::io::stderr).boxed(),
        Format::Auto if !terminal => JsonLines::new(std::io::stderr).boxed(),
        Format::Auto | Format::Text => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(terminal && environment.get("NO_COLOR").is_none_or(str::is_empty))
            .boxed(),
    };
    let twice = || ConfigError::new("telemetry", "has already begun in this process");
    subscriber(filter, lines).try_init().map_err(|_| twice())?;
    let recorder = metric::recorder().and_then(PrometheusBuilder::install_recorder).map_err(|_| twice())?;
    panics::log_from_now_on();
    describe(drain::METRICS);
    describe(postgres::METRICS);
    process::begin();
    Ok(Telemetry { recorder })
}

type Lines = Box<dyn Layer<Filtered> + Send + Sync>;
type Filtered = Layered<EnvFilter, Registry>;

/// The filter stands before the lines and is no filter of that one layer: such a filter drops the event that follows a
/// `tracing::enabled!` that said no, and sqlx asks that for every notice and statement.
fn subscriber(filter: EnvFilter, lines: Lines) -> impl Subscriber + Send + Sync {
    tracing_subscriber::registry().with(filter).with(lines)
}

fn filter(config: &Config, environment: &Environment) -> Result<EnvFilter, ConfigError> {
    let (origin, directives) = match environment.get("RUST_LOG").filter(|directives| !directives.is_empty()) {
        Some(directives) => ("RUST_LOG", directives),
        None => ("log.filter", config.filter.as_str()),
    };
    EnvFilter::builder().parse(format!("{QUIET},{directives}")).map_err(|error| {
        ConfigError::new(origin, format!("is not a log filter: {error}"))
            .advice("try info, or info,chat=debug")
    })
}

impl Telemetry {
    /// Every metric in Prometheus's text format, the process's own measures brought up to date.
    pub fn render(&self) -> String {
        process::measure();
        self.recorder.render()
    }

    /// Keeps histograms small for as long as the process lives.
    pub fn keep_up(&self, drain: &Drain) {
        let (recorder, draining) = (self.recorder.clone(), drain.clone());
        drain.spawn("telemetry-upkeep", async move {
            let mut beat = tokio::time::interval(UPKEEP);
            loop {
                tokio::select! {
                    _ = beat.tick() => recorder.run_upkeep(),
                    () = draining.draining() => return,
                }
            }
        });
    }
}
