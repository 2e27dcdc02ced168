//! Streams and consumers, made from `nats/streams.toml`: idempotent, and able to say what differs.

use std::{fmt, time::Duration};

use async_nats::Request;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::Bus;

/// What there should be, compiled in.
const STREAMS: &str = include_str!("../../../nats/streams.toml");
/// Fields of the API that are durations, in nanoseconds there and text here.
const DURATIONS: [&str; 4] = ["max_age", "duplicate_window", "ack_wait", "priority_timeout"];
/// JetStream's error codes for "there is no such stream" and "… consumer".
const NOT_FOUND: [u64; 2] = [10059, 10014];
/// For "this cluster has no leader now".
pub(crate) const NO_LEADER: u64 = 10008;
/// For "replicas need a cluster" and "there are too few nodes".
const TOO_FEW_NODES: [u64; 2] = [10074, 10005];
/// For one answer. A cluster that elects a leader gives none.
const ANSWER: Duration = Duration::from_secs(2);
/// A node that is gone is replaced as leader within nine seconds; a cluster that starts has a leader sooner.
const ELECTION: Duration = Duration::from_secs(15);
/// Between two questions to a cluster without a leader.
const AGAIN: Duration = Duration::from_millis(250);

/// Why streams could not be made or looked at.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// `nats/streams.toml` is wrong.
    #[error("nats/streams.toml: {0}")]
    Data(String),
    /// JetStream refused.
    #[error("JetStream refused {request}: {description}")]
    Refused {
        /// The API's subject.
        request: String,
        /// What the server says.
        description: String,
        /// JetStream's error code.
        code: u64,
    },
    /// There are to be more replicas than nodes.
    #[error("nats.replicas asks for more nodes than there are: JetStream refused {request}: {description}")]
    TooFewNodes {
        /// The API's subject.
        request: String,
        /// What the server says.
        description: String,
    },
    /// No answer.
    #[error("JetStream does not answer {0}")]
    Silent(String),
}

impl ProvisionError {
    /// Whether it may be that a cluster is about to elect a leader.
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Refused { code: NO_LEADER, .. })
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// `TURNS` or `TURNS/p03`.
    pub of: String,
    /// The field; absent when the whole is missing.
    pub field: Option<String>,
    /// What it is.
    pub is: Value,
    /// What it should be.
    pub should_be: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{}: {field} is {}, should be {}", self.of, self.is, self.should_be),
            None => write!(f, "{}: missing", self.of),
        }
    }
}

/// Makes streams and consumers.
pub struct Provisioner {
    bus: Bus,
    streams: Vec<StreamPlan>,
}

/// One stream with its consumers, as it should be.
struct StreamPlan {
    name: String,
    config: Map<String, Value>,
    consumers: Vec<(String, Map<String, Value>)>,
}

impl Provisioner {
    /// Over a connection that may use the whole JetStream API.
    pub fn new(bus: &Bus) -> Result<Self, ProvisionError> {
        Ok(Self { bus: bus.clone(), streams: plans(STREAMS)? })
    }

    /// So many turns may wait in one conversation, beside the one that runs, whatever the data says; 0 is no bound.
    #[must_use]
    pub fn waiting_turns(mut self, per_conversation: u32) -> Self {
        let most = if per_conversation == 0 { -1 } else { i64::from(per_conversation) + 1 };
        for plan in self.streams.iter_mut().filter(|plan| plan.name == crate::partitions::STREAM) {
            plan.config.insert("max_msgs_per_subject".into(), most.into());
        }
        self
    }

    /// So many turns may be without an outcome, in all, whatever the data says; 0 is no bound.
    #[must_use]
    pub fn open_turns(mut self, in_all: u32) -> Self {
        let most = if in_all == 0 { -1 } else { i64::from(in_all) };
        for plan in self.streams.iter_mut().filter(|plan| plan.name == crate::partitions::STREAM) {
            plan.config.insert("max_msgs".into(), most.into());
        }
        self
    }

    /// On so many nodes is every stream, and with it its consumers, whatever the data says.
    #[must_use]
    pub fn replicas(mut self, count: u8) -> Self {
        for plan in &mut self.streams {
            plan.config.insert("num_replicas".into(), count.into());
        }
        self
    }

    /// What differs from the plan. Changes nothing.
    pub async fn differences(&self) -> Result<Vec<Difference>, ProvisionError> {
        patiently(|| self.compare()).await
    }

    async fn compare(&self) -> Result<Vec<Difference>, ProvisionError> {
        let mut found = Vec::new();
        for plan in &self.streams {
            let stream = &plan.name;
            compare(stream, self.bus.find(&format!("STREAM.INFO.{stream}")).await?, &plan.config, &mut found);
            for (name, config) in &plan.consumers {
                let info = self.bus.find(&format!("CONSUMER.INFO.{stream}.{name}")).await?;
                compare(&format!("{stream}/{name}"), info, config, &mut found);
            }
        }
        Ok(found)
    }

    /// Makes everything as planned, and tells what it changed.
    pub async fn apply(&self) -> Result<Vec<Difference>, ProvisionError> {
        let changes = self.differences().await?;
        for plan in &self.streams {
            let stream = &plan.name;
            let own = |change: &&Difference| change.of == *stream;
            if let Some(change) = changes.iter().find(own) {
                let verb = if change.field.is_some() { "UPDATE" } else { "CREATE" };
                let (request, config) = (format!("STREAM.{verb}.{stream}"), Value::from(plan.config.clone()));
                patiently(|| self.bus.api(&request, &config)).await?;
            }
            for (name, config) in &plan.consumers {
                if changes.iter().any(|change| change.of == format!("{stream}/{name}")) {
                    patiently(|| self.bus.make_consumer(stream, name, config)).await?;
                }
            }
        }
        Ok(changes)
    }
}

impl Bus {
    /// Makes the consumer of one partition anew, as planned.
    pub(crate) async fn restore_consumer(&self, stream: &str, name: &str) -> Result<(), ProvisionError> {
        let plans = plans(STREAMS)?;
        let plan = plans.iter().find(|plan| plan.name == stream);
        let consumer = plan.and_then(|plan| plan.consumers.iter().find(|(planned, _)| planned == name));
        let Some((_, config)) = consumer else {
            return Err(ProvisionError::Data(format!("no consumer {stream}/{name}")));
        };
        self.make_consumer(stream, name, config).await
    }

    async fn make_consumer(
        &self,
        stream: &str,
        name: &str,
        config: &Map<String, Value>,
    ) -> Result<(), ProvisionError> {
        let filter = config.get("filter_subject").and_then(Value::as_str).unwrap_or_default();
        let request = format!("CONSUMER.CREATE.{stream}.{name}.{filter}");
        self.api(&request, &json!({ "stream_name": stream, "config": config })).await.map(drop)
    }

    /// The configuration of a stream or consumer, if there is one.
    pub(crate) async fn find(&self, request: &str) -> Result<Option<Map<String, Value>>, ProvisionError> {
        match self.api(request, &json!({})).await {
            Ok(mut info) => Ok(info.get_mut("config").and_then(Value::as_object_mut).map(std::mem::take)),
            Err(ProvisionError::Refused { code, .. }) if NOT_FOUND.contains(&code) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks once.
    async fn api(&self, request: &str, body: &Value) -> Result<Value, ProvisionError> {
        let silent = || ProvisionError::Silent(request.to_owned());
        let empty = body.as_object().is_some_and(Map::is_empty);
        let payload = if empty { String::new() } else { body.to_string() };
        let asked = Request::new().payload(payload.into()).timeout(Some(ANSWER));
        let reply =
            self.client.send_request(format!("$JS.API.{request}"), asked).await.map_err(|_| silent())?;
        let answer: Value = serde_json::from_slice(&reply.payload).map_err(|_| silent())?;
        let Some(error) = answer.get("error") else { return Ok(answer) };
        let (request, code) = (request.to_owned(), error["err_code"].as_u64().unwrap_or_default());
        let description = error["description"].as_str().unwrap_or("no reason given").to_owned();
        Err(match code {
            code if TOO_FEW_NODES.contains(&code) => ProvisionError::TooFewNodes { request, description },
            code => ProvisionError::Refused { request, description, code },
        })
    }
}

/// Asks until a cluster has a leader.
pub(crate) async fn patiently<T>(
    ask: impl AsyncFn() -> Result<T, ProvisionError>,
) -> Result<T, ProvisionError> {
    let began = Instant::now();
    loop {
        match ask().await {
            Err(error) if error.may_pass() && began.elapsed() < ELECTION => sleep(AGAIN).await,
            result => return result,
        }
    }
}

fn plans(text: &str) -> Result<Vec<StreamPlan>, ProvisionError> {
    let data = |error: &dyn fmt::Display| ProvisionError::Data(error.to_string());
    let table: Map<String, Value> = toml::from_str(text).map_err(|error| data(&error))?;
    table.into_iter().map(|(name, config)| plan(name, config)).collect()
}

fn plan(name: String, config: Value) -> Result<StreamPlan, ProvisionError> {
    let missing = |field: &str| ProvisionError::Data(format!("{name}: {field} is missing"));
    let Value::Object(mut config) = config else { return Err(missing("the table")) };
    let Some(Value::Object(mut template)) = config.remove("consumer") else {
        return Err(missing("consumer"));
    };
    config.insert("name".into(), name.clone().into());
    durations_to_nanoseconds(&mut config)?;
    durations_to_nanoseconds(&mut template)?;
    let partitions = partitions(&config).ok_or_else(|| missing("partition(…) in subject_transform.dest"))?;
    let consumers = (0..partitions).map(|partition| {
        let (name, mut config) = (consumer_name(partition), template.clone());
        config.insert("name".into(), name.clone().into());
        config.insert("durable_name".into(), name.clone().into());
        config.insert("filter_subject".into(), wire::subject::partition_filter(partition).into());
        (name, config)
    });
    let consumers = consumers.collect();
    Ok(StreamPlan { name, config, consumers })
}

/// The name of a partition's consumer.
pub(crate) fn consumer_name(partition: u16) -> String {
    format!("p{partition:02}")
}

/// The number of partitions in a stream's configuration.
pub(crate) fn partitions(config: &Map<String, Value>) -> Option<u16> {
    let destination = config.get("subject_transform")?.get("dest")?.as_str()?;
    destination.split_once("partition(")?.1.split(',').next()?.trim().parse().ok()
}

fn durations_to_nanoseconds(config: &mut Map<String, Value>) -> Result<(), ProvisionError> {
    for name in DURATIONS {
        if let Some(value) = config.get_mut(name) {
            let text = value.as_str().unwrap_or_default();
            let duration = parse_duration(text)
                .ok_or_else(|| ProvisionError::Data(format!("{name}: not a duration: {text:?}")))?;
            *value = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).into();
        }
    }
    Ok(())
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()? * seconds))
}

fn compare(
    of: &str,
    is: Option<Map<String, Value>>,
    should_be: &Map<String, Value>,
    found: &mut Vec<Difference>,
) {
    let Some(is) = is else {
        found.push(Difference {
            of: of.into(),
            field: None,
            is: Value::Null,
            should_be: should_be.clone().into(),
        });
        return;
    };
    for (field, wanted) in should_be {
        // The server leaves out what is false or empty.
        let actual = is.get(field).cloned().unwrap_or(if wanted.is_boolean() {
            Value::Bool(false)
        } else {
            Value::Null
        });
        if actual != *wanted {
            found.push(Difference {
                of: of.into(),
                field: Some(field.clone()),
                is: actual,
                should_be: wanted.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_makes_a_stream_and_a_consumer_for_each_partition() {
        let plans = plans(STREAMS).unwrap();
        assert_eq!(plans.len(), 1);
        assert_eq!(plans[0].config["max_age"], 86_400_000_000_000_u64);
        assert_eq!(plans[0].consumers.len(), 16);
        let (name, last) = &plans[0].consumers[15];
        assert_eq!((name.as_str(), last["filter_subject"].as_str()), ("p15", Some("omnichat.q.p.15.>")));
    }

    #[test]
    fn a_difference_names_the_field_and_a_missing_whole() {
        let plan = Map::from_iter([
            ("max_age".to_owned(), json!(5)),
            ("allow_rollup_hdrs".to_owned(), json!(false)),
        ]);
        let mut found = Vec::new();
        compare("TURNS", Some(Map::from_iter([("max_age".to_owned(), json!(6))])), &plan, &mut found);
        compare("TURNS/p00", None, &plan, &mut found);
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["TURNS: max_age is 6, should be 5", "TURNS/p00: missing"]);
    }
}
