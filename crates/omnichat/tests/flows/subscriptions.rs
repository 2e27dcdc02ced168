//! What the services listen to, as their server sees it, against the catalogue. That `subjects.md` is the catalogue, the house
//! knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use testkit::{Layout, World, both_layouts, eventually};
use wire::{Service, operations, subject};

use crate::world;

both_layouts![services_listen_to_the_catalogue_and_to_nothing_else, readers_of_a_turn_share_a_subscription,];

/// What is asked of all services, for discovery.
const DISCOVERY: &str = "$SRV.>";
/// In place of a worker's name.
const WORKER: &str = "{worker}";

async fn services_listen_to_the_catalogue_and_to_nothing_else(layout: Layout) {
    let world = world(layout).start().await;
    let heard = subscriptions(&world).await;
    for service in [Service::Auth, Service::Projects, Service::Chat] {
        let own = operations::ALL.iter().filter(|info| info.service == service);
        let signals = match service {
            Service::Chat => among_workers(),
            Service::Auth => vec![subject::SILENT.into()],
            _ => Vec::new(),
        };
        let expected = own.map(|info| info.wildcard()).chain([DISCOVERY.to_owned()]).chain(signals).collect();
        assert_eq!(heard[service.name()], expected, "{}", service.name());
    }
    assert_eq!(heard["omnichat-ingress"], BTreeSet::new(), "the ingress only asks");
}

/// Otherwise the server would send each event as often as there are readers, and the ingress read it as often.
async fn readers_of_a_turn_share_a_subscription(layout: Layout) {
    const SLOW: &str = "tell me [[sim chunks=60 chunk_ms=50]]";
    const SOON: Duration = Duration::from_secs(20);
    let world = world(layout).set("limits.streams_per_user", 100).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let path = format!("/conversations/{conversation}/messages");
    let headers = [("content-type", "application/json"), ("prefer", "respond-async")];
    let body = json!({ "content": SLOW }).to_string().into();
    let begun = ana.request(reqwest::Method::POST, &path, &headers, Some(body)).await.unwrap();
    let turn = begun.json()["id"].as_str().unwrap().to_owned();
    let events = format!("/turns/{turn}/events");
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(ana.stream(&events, &[]).await.unwrap());
    }
    let heard = of_turn(&world, &turn).await;
    assert_eq!(heard, 1, "twenty readers");
    let mut texts = Vec::new();
    for mut reader in readers {
        let mut said = String::new();
        while let Some(event) = reader.next().await {
            said.push_str(event.data["text"].as_str().unwrap_or_default());
        }
        texts.push(said);
    }
    let record = ana.get(&format!("/turns/{turn}")).await.ok();
    assert!(texts.iter().all(|said| record["messages"][1]["content"] == **said), "all of it to each");
    eventually("nobody listens", SOON, async || (of_turn(&world, &turn).await == 0).then_some(())).await;
}

/// How many subscriptions there are to the events of a turn.
async fn of_turn(world: &World, turn: &str) -> usize {
    let connections = connections(world).await;
    let connections = connections["data"]["connections"].as_array().unwrap();
    let subjects = connections.iter().filter_map(|it| it["subscriptions_list"].as_array()).flatten();
    subjects.filter(|subject| subject.as_str().is_some_and(|subject| subject.ends_with(turn))).count()
}

async fn connections(world: &World) -> Value {
    let system = world.nats_as_staff("system").await;
    let question = json!({ "subscriptions": true, "limit": 1024 }).to_string();
    system.request("$SYS.REQ.SERVER.PING.CONNZ", &[], question).await.json()
}

/// What the only worker hears from others like it, and from operators.
fn among_workers() -> Vec<String> {
    let all = [subject::cluster("*"), subject::presence(WORKER)];
    let all = all.into_iter().chain([subject::OWNED, subject::STOPS, subject::SNAPSHOTS].map(str::to_owned));
    all.chain((0..16).map(subject::owner)).collect()
}

/// The subjects of every connection of ours, by its name; but for inboxes, where answers come.
async fn subscriptions(world: &World) -> BTreeMap<String, BTreeSet<String>> {
    let answer = connections(world).await;
    let mut heard = BTreeMap::<_, BTreeSet<_>>::new();
    for connection in answer["data"]["connections"].as_array().unwrap() {
        let Some(name) = connection["name"].as_str().filter(|name| name.starts_with("omnichat-")) else {
            continue;
        };
        let subjects = connection["subscriptions_list"].as_array().into_iter().flatten();
        let subjects = subjects.map(|subject| nameless(subject.as_str().unwrap()));
        heard.entry(name.to_owned()).or_default().extend(subjects.filter(|it| !it.starts_with("_INBOX.")));
    }
    assert!(heard.len() >= 4, "{heard:?} of {}", answer);
    heard
}

/// A worker's own name is another one each time.
fn nameless(subject: &str) -> String {
    let presence = subject::presence("");
    if subject.starts_with(&presence) { subject::presence(WORKER) } else { subject.to_owned() }
}
