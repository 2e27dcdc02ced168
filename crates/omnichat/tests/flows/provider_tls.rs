//! A provider behind TLS: one that can be trusted is talked to, any other is not, and the user hears why not in no detail.

use serde_json::json;
use testkit::{Authority, Layout, Role, both_layouts, folder::Folder, user::text};

use crate::world;

both_layouts![a_provider_is_talked_to_only_if_it_is_the_one_that_was_meant];

async fn a_provider_is_talked_to_only_if_it_is_the_one_that_was_meant(layout: Layout) {
    let simulator =
        llm::simulator::Simulator::start(([127, 0, 0, 1], 0).into(), llm::simulator::Options::default());
    let simulator = simulator.await.unwrap();
    let (trusted, other, folder) = (Authority::new(), Authority::new(), Folder::new("certificates"));
    let file = folder.path().join("trusted.pem");
    std::fs::write(&file, trusted.pem()).unwrap();
    let target = simulator.addr();
    let doors = [
        ("good", trusted.door(target, "localhost", 10).await),
        ("expired", trusted.door(target, "localhost", -1).await),
        ("misnamed", trusted.door(target, "example.org", 10).await),
        ("unknown", other.door(target, "localhost", 10).await),
    ];
    let mut addresses: Vec<_> =
        doors.iter().map(|(name, door)| (*name, format!("https://localhost:{}/v1", door.port()))).collect();
    addresses.push(("unencrypted", format!("https://localhost:{}/v1", target.port())));
    addresses.push(("nameless", format!("http://{}.internal/v1", "x".repeat(64)))); // fails before anybody is asked

    let mut world = world(layout).variable("SSL_CERT_FILE", file.display());
    for (name, address) in &addresses {
        let set = |field: &str| format!("providers.{name}.{field}");
        world = world.set(&set("kind"), "openai-compatible").set(&set("base_url"), address);
        world = world.set(&set("allow_insecure"), true);
        let route = format!(r#"[{{ provider = "{name}", model = "m" }}]"#);
        world = world.set(&format!("models.{name}.route"), route);
    }
    let mut world = world.start().await;
    let ana = world.user().await;
    for (model, _) in &addresses {
        let body = json!({ "project_id": ana.project().await, "model": model });
        let conversation = text(&ana.post("/conversations", body).await.ok()["id"]);
        let answer = ana.send(&conversation, "hi").await;
        if *model == "good" {
            assert!(text(&answer.ok()["response"]).starts_with("You said \"hi\""));
        } else {
            let problem = answer.fault(502, "provider_unavailable").to_string();
            for inside in ["localhost", "internal", "TLS", "certificate"] {
                assert!(!problem.contains(inside), "{model}: {problem}");
            }
        }
    }
    assert_eq!(simulator.calls().len(), 1, "only the good one was asked anything");
    let log = world.logged(Role::Chat);
    assert!(log.contains("the TLS handshake failed") && log.contains("its name does not resolve"), "{log}");
}
