//! What the services listen to, as their server sees it, against the catalogue. That `subjects.md` is the catalogue, the house
//! knows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use testkit::{Layout, World, both_layouts};
use wire::{Service, operations, subject};

use crate::world;

both_layouts![services_listen_to_the_catalogue_and_to_nothing_else];

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

/// What the only worker hears from others like it, and from operators.
fn among_workers() -> Vec<String> {
    let all = [subject::cluster("*"), subject::presence(WORKER)];
    let all = all.into_iter().chain([subject::OWNED, subject::STOPS, subject::SNAPSHOTS].map(str::to_owned));
    all.chain((0..16).map(subject::owner)).collect()
}

/// The subjects of every connection of ours, by its name; but for inboxes, where answers come.
async fn subscriptions(world: &World) -> BTreeMap<String, BTreeSet<String>> {
    let system = world.nats_as_staff("system").await;
    let question = json!({ "subscriptions": true, "limit": 1024 }).to_string();
    let answer = system.request("$SYS.REQ.SERVER.PING.CONNZ", &[], question).await.json();
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
