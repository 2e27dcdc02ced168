use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

/// Upper bounds of the buckets of every `…_seconds` histogram, from a cache hit to a turn's deadline.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// A metric's name, kind and meaning. Each crate keeps a list of its own and describes it when it starts: a metric
/// without a help text fails `promtool check metrics`.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    kind: Kind,
    name: &'static str,
    help: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Metric {
    /// Something that only grows; its name ends in `_total`.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Counter, name, help }
    }

    /// Something that goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Gauge, name, help }
    }

    /// A distribution; its name ends in its unit. Only `_seconds` get buckets, other units become summaries.
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Histogram, name, help }
    }
}

/// Gives each metric its help text. Does nothing before [`init`](super::init).
pub fn describe(list: &[Metric]) {
    for Metric { kind, name, help } in list.iter().copied() {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, help),
            Kind::Gauge => metrics::describe_gauge!(name, help),
            Kind::Histogram => metrics::describe_histogram!(name, help),
        }
    }
}

/// The recorder behind every counter, gauge and histogram.
///
/// # Errors
/// Never: the buckets are not empty.
pub(super) fn recorder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
}
