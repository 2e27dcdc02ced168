//! Discovery, as the NATS services protocol has it (ADR-32): whoever asks `$SRV.PING`, `$SRV.INFO` or `$SRV.STATS`, of all
//! services, of one, or of one instance, learns which are there, what they answer, and how that goes. So `nats micro ls`,
//! `info` and `stats` work.

use std::{
    collections::HashMap,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Message, SubscribeError};
use futures::StreamExt;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use wire::{Fault, OperationInfo, Scope, Service, operations};

use crate::Bus;

/// What is asked.
const QUESTIONS: [&str; 3] = ["PING", "INFO", "STATS"];
/// Answers go to inboxes: anywhere else they would be somebody's way to have us publish there.
const INBOX: &str = "_INBOX.";

/// How an operation fares in this process.
#[derive(Default)]
struct Stats {
    requests: AtomicU64,
    errors: AtomicU64,
    nanoseconds: AtomicU64,
    last_error: Mutex<String>,
}

static STATS: LazyLock<HashMap<&str, Stats>> =
    LazyLock::new(|| operations::ALL.iter().map(|info| (info.name, Stats::default())).collect());

/// What a request and a reply look like, as JSON Schemas: text, as all metadata is.
struct Schemas {
    request: String,
    reply: String,
}

static SCHEMAS: LazyLock<HashMap<&str, Schemas>> = LazyLock::new(|| {
    let of = |info: &OperationInfo| Schemas {
        request: info.request_schema.of_request().to_string(),
        reply: info.reply_schema.of_reply().to_string(),
    };
    operations::ALL.iter().map(|info| (info.name, of(info))).collect()
});

/// Notes an answered request.
pub(crate) fn note(info: &OperationInfo, took: Duration, fault: Option<&Fault>) {
    let Some(stats) = STATS.get(info.name) else { return };
    stats.requests.fetch_add(1, Ordering::Relaxed);
    stats.nanoseconds.fetch_add(took.as_nanos().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    if let Some(fault) = fault {
        stats.errors.fetch_add(1, Ordering::Relaxed);
        let error = format!("{}:{}", fault.code.status(), fault.code.as_str());
        *stats.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

/// One instance of a service: a service in a process.
struct Instance {
    service: Service,
    id: String,
    started: OffsetDateTime,
}

impl Bus {
    /// Tells whoever asks about `service`, which this process runs, until the process drains.
    pub async fn introduce(&self, service: Service) -> Result<(), SubscribeError> {
        let mut questions = self.client.subscribe("$SRV.>").await?;
        let instance =
            Instance { service, id: uuid::Uuid::now_v7().to_string(), started: OffsetDateTime::now_utc() };
        let (bus, drain) = (self.clone(), self.drain.clone());
        self.drain.spawn("discovery", async move {
            loop {
                tokio::select! {
                    question = questions.next() => match question {
                        Some(question) => bus.introduction(&instance, question).await,
                        None => return,
                    },
                    () = drain.draining() => return,
                }
            }
        });
        Ok(())
    }

    async fn introduction(&self, instance: &Instance, question: Message) {
        let Some(reply) = question.reply.filter(|reply| reply.starts_with(INBOX)) else { return };
        let Some(answer) = instance.answer(&question.subject) else { return };
        // Fails only while the connection is closing for good.
        let _ = self.client.publish(reply, answer.to_string().into()).await;
    }
}

impl Instance {
    /// The answer, if the question is for this instance.
    fn answer(&self, subject: &str) -> Option<Value> {
        let mut tokens = subject.strip_prefix("$SRV.")?.split('.');
        let question = tokens.next().filter(|question| QUESTIONS.contains(question))?;
        let for_us = tokens.next().is_none_or(|name| name == self.service.name())
            && tokens.next().is_none_or(|id| id == self.id)
            && tokens.next().is_none();
        if !for_us {
            return None;
        }
        let mut answer = json!({
            "type": format!("io.nats.micro.v1.{}_response", question.to_lowercase()),
            "name": self.service.name(),
            "id": self.id,
            "version": env!("CARGO_PKG_VERSION"),
            "metadata": { "api": "v1" },
        });
        match question {
            "INFO" => {
                answer["description"] = self.service.description().into();
                answer["endpoints"] = self.operations().map(|info| described(endpoint(info), info)).collect();
            }
            "STATS" => {
                answer["started"] = self.started.format(&Rfc3339).unwrap_or_default().into();
                answer["endpoints"] = self.operations().map(|info| counted(endpoint(info), info)).collect();
            }
            _ => {}
        }
        Some(answer)
    }

    /// What clients may ask for.
    fn operations(&self) -> impl Iterator<Item = &'static OperationInfo> {
        let service = self.service;
        operations::ALL.iter().filter(move |info| info.service == service && !info.is_internal())
    }
}

fn endpoint(info: &OperationInfo) -> Value {
    json!({
        "name": info.name.to_lowercase(),
        "subject": info.wildcard(),
        "queue_group": info.service.name(),
        "metadata": {
            "summary": info.summary,
            "scope": info.scope.map_or("none", Scope::as_str),
            "request": info.request,
            "reply": info.reply,
        },
    })
}

/// With its schemas: they are long, and who asks for counts asks often.
fn described(mut endpoint: Value, info: &OperationInfo) -> Value {
    let Some(Schemas { request, reply }) = SCHEMAS.get(info.name) else { return endpoint };
    endpoint["metadata"]["request_schema"] = request.as_str().into();
    endpoint["metadata"]["reply_schema"] = reply.as_str().into();
    endpoint
}

fn counted(mut endpoint: Value, info: &OperationInfo) -> Value {
    let Some(stats) = STATS.get(info.name) else { return endpoint };
    let [requests, errors, nanoseconds] =
        [&stats.requests, &stats.errors, &stats.nanoseconds].map(|count| count.load(Ordering::Relaxed));
    endpoint["num_requests"] = requests.into();
    endpoint["num_errors"] = errors.into();
    endpoint["last_error"] = stats.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone().into();
    endpoint["processing_time"] = nanoseconds.into();
    endpoint["average_processing_time"] = nanoseconds.checked_div(requests).unwrap_or_default().into();
    endpoint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_by_whom_it_is_for() {
        let instance =
            Instance { service: Service::Auth, id: "i1".into(), started: OffsetDateTime::UNIX_EPOCH };
        let kind = |subject: &str| Some(instance.answer(subject)?["type"].as_str()?.to_owned());
        for question in QUESTIONS {
            let expected = Some(format!("io.nats.micro.v1.{}_response", question.to_lowercase()));
            for rest in ["", ".omnichat-auth", ".omnichat-auth.i1"] {
                assert_eq!(kind(&format!("$SRV.{question}{rest}")), expected, "{rest}");
            }
            for rest in [".omnichat-chat", ".omnichat-auth.i2", ".omnichat-auth.i1.x", "."] {
                assert_eq!(kind(&format!("$SRV.{question}{rest}")), None, "{rest}");
            }
        }
        for subject in ["$SRV.", "$SRV.OTHER", "$SRV.ping", "omnichat"] {
            assert_eq!(kind(subject), None);
        }
    }

    /// A server of the usual configuration carries it as well, and metadata are texts.
    #[test]
    fn an_endpoint_tells_its_schemas_in_one_message() {
        for service in [Service::Auth, Service::Projects, Service::Chat] {
            let instance = Instance { service, id: "i1".into(), started: OffsetDateTime::UNIX_EPOCH };
            let answer = instance.answer("$SRV.INFO").unwrap();
            assert!(answer.to_string().len() < 256 * 1024, "{}", answer.to_string().len());
            for endpoint in answer["endpoints"].as_array().unwrap() {
                for (name, value) in endpoint["metadata"].as_object().unwrap() {
                    assert!(value.is_string(), "{name}: {value}");
                }
                for schema in ["request_schema", "reply_schema"] {
                    let schema = endpoint["metadata"][schema].as_str().unwrap();
                    let schema: Value = serde_json::from_str(schema).unwrap();
                    assert!(schema["type"].is_string() && !schema.to_string().contains("$ref"), "{schema}");
                }
            }
            let counts = instance.answer("$SRV.STATS").unwrap();
            assert_eq!(counts["endpoints"][0]["metadata"]["reply_schema"], Value::Null);
        }
    }

    #[test]
    fn what_services_say_among_themselves_is_not_shown() {
        let instance =
            Instance { service: Service::Auth, id: "i1".into(), started: OffsetDateTime::UNIX_EPOCH };
        let info = instance.answer("$SRV.INFO").unwrap();
        let subjects: Vec<_> = info["endpoints"].as_array().unwrap().iter().map(|e| &e["subject"]).collect();
        assert!(subjects.iter().any(|subject| **subject == "omnichat.v1.auth.login"));
        assert!(!subjects.iter().any(|subject| subject.as_str().unwrap().starts_with("omnichat.i.")));
    }
}
