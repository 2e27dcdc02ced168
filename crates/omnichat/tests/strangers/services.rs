//! The services as `nats micro ls`, `info` and `stats` see them: through the library of the services protocol.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Layout, Toolbox, World, toolbox::judged};
use wire::{OperationInfo, Service, operations};

const SERVICES: [Service; 3] = [Service::Auth, Service::Projects, Service::Chat];
/// Requests that are made between two looks: good ones, and then some that are refused.
const GOOD: usize = 5;
const BAD: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_service_tells_what_it_answers_and_how_often() {
    let world = World::builder(env!("CARGO_BIN_EXE_omnichat"), Layout::ProcessPerRole).start().await;
    let ana = world.user().await;
    let make = format!("omnichat.v1.u.{}.projects.create", ana.id);
    let list = format!("omnichat.v1.u.{}.projects.list", ana.id);
    let good = std::iter::repeat_n(json!([list, {}]), GOOD);
    let bad = std::iter::repeat_n(json!([make, { "name": 7 }]), BAD);
    let given = json!({
        "options": {
            "servers": world.nats_url(),
            "user": "inspector",
            "pass": world.nats_password("inspector"),
            "inboxPrefix": "_INBOX.inspector",
        },
        "user": {
            "servers": world.nats_url(),
            "token": ana.token,
            "inboxPrefix": format!("_INBOX.{}", ana.id),
        },
        "requests": good.chain(bad).collect::<Vec<_>>(),
    });
    let mut node = Toolbox::open().await.node(include_str!("services.mjs"));
    node.arg(given.to_string());
    let seen: Value = serde_json::from_str(&judged(node, "the library gets through").await).unwrap();

    let expected = SERVICES.map(Service::name).into();
    for question in ["ping", "info", "stats"] {
        assert_eq!(names(&seen[question]), expected, "{question}");
        for service in seen[question].as_array().unwrap() {
            assert!(
                !service["id"].as_str().unwrap().is_empty() && service["version"].is_string(),
                "{service}"
            );
        }
    }
    assert_eq!(names(&seen["one"]), BTreeSet::from(["omnichat-projects"]), "one can be asked by its name");
    for info in operations::ALL {
        let public = info.pattern.starts_with("omnichat.v1.");
        let told = endpoint(&seen["info"], info);
        assert_eq!(told.is_some(), public, "{}", info.name);
        let Some(metadata) = told.map(|told| &told["metadata"]) else { continue };
        let schema = |name: &str| serde_json::from_str::<Value>(metadata[name].as_str().unwrap()).unwrap();
        let expected = [info.request_schema.of_request(), info.reply_schema.of_reply()];
        assert_eq!([schema("request_schema"), schema("reply_schema")], expected, "{}", info.name);
    }
    let counted = |info: &OperationInfo, what: &str| {
        let count = |look: &str| endpoint(&seen[look], info).unwrap()[what].as_u64().unwrap();
        (count("stats") - count("before")) as usize
    };
    let (list, make) = (&operations::LIST_PROJECTS.info, &operations::CREATE_PROJECT.info);
    assert_eq!((counted(list, "num_requests"), counted(list, "num_errors")), (GOOD, 0));
    assert_eq!((counted(make, "num_requests"), counted(make, "num_errors")), (BAD, BAD));
    assert!(counted(list, "processing_time") > 0);
    let told = endpoint(&seen["stats"], make).unwrap()["last_error"].to_string();
    assert!(told.contains("422"), "{told}");
    assert!(!told.contains(&ana.id), "{told}");
}

fn names(services: &Value) -> BTreeSet<&str> {
    services.as_array().unwrap().iter().map(|service| service["name"].as_str().unwrap()).collect()
}

/// What the operation's service says of it.
fn endpoint<'a>(services: &'a Value, info: &OperationInfo) -> Option<&'a Value> {
    let service = services.as_array()?.iter().find(|service| service["name"] == info.service.name())?;
    service["endpoints"].as_array()?.iter().find(|endpoint| endpoint["subject"] == info.wildcard())
}
