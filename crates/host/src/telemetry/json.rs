use std::{fmt::Debug, io::Write};

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    fmt::MakeWriter,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

/// Writes each event as one flat JSON object: `timestamp`, `level`, `target`, `message`, the event's fields, then the
/// fields of the spans around it, innermost first (`request_id`, `trace_id`, `turn`). The first to use a name keeps
/// it, so no key appears twice. tracing-subscriber's own format nests spans and writes keys twice.
#[derive(Debug)]
pub struct JsonLines<W> {
    writer: W,
}

impl<W> JsonLines<W> {
    /// Writes to `writer`, each line by one call.
    pub fn new(writer: W) -> Self {
        Self { writer }
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = line(event, fields, context.event_scope(event).into_iter().flatten());
        // A process whose stderr is gone has nowhere left to complain.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(line.as_bytes());
    }
}

fn line<'a, S>(event: &Event<'_>, mut fields: Fields, spans: impl Iterator<Item = SpanRef<'a, S>>) -> String
where
    S: Subscriber + LookupSpan<'a> + 'a,
{
    let metadata = event.metadata();
    let timestamp = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let target = fields.take("log.target").unwrap_or_else(|| metadata.target().into());
    let message = fields.take("message").unwrap_or_default();
    let mut all = Fields(vec![
        ("timestamp", timestamp.into()),
        ("level", metadata.level().as_str().into()),
        ("target", target),
        ("message", message),
    ]);
    all.add(&fields);
    for span in spans {
        if let Some(fields) = span.extensions().get::<Fields>() {
            all.add(fields);
        }
    }
    all.to_line()
}

/// Names with their values, each name once.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Adds what is not there yet. `log.…` is the baggage of a record that came through the `log` crate.
    fn add(&mut self, others: &Self) {
        for (name, value) in &others.0 {
            if !self.0.iter().any(|(present, _)| present == name) && !name.starts_with("log.") {
                self.0.push((name, value.clone()));
            }
        }
    }

    /// A later value of a span's field replaces the earlier.
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        match self.0.iter_mut().find(|(present, _)| *present == name) {
            Some((_, present)) => *present = value.into(),
            None => self.0.push((name, value.into())),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.0.iter().position(|(present, _)| *present == name)?;
        Some(self.0.remove(index).1)
    }

    fn to_line(&self) -> String {
        let members = self.0.iter().map(|(name, value)| format!("{}:{value}", Value::from(*name)));
        format!("{{{}}}\n", members.collect::<Vec<_>>().join(","))
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.set(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, format!("{value:?}"));
    }
}
