//! A provider that other people wrote: LiteLLM's proxy, which answers one model itself and asks the simulated provider for
//! another, by OpenAI's own client. Its requests, its streams and its refusals are what an operator's gateway has.

use std::net::Ipv4Addr;

use llm::{
    Role,
    simulator::{Options, Simulator},
};
use serde_json::{Value, json};
use testkit::{Layout, LiteLlm, User, World, event_stream::shown, user::text};

const KEY: &str = "sk-litellm-0123456789";
const ITS_OWN: &str = "Said by the proxy: zwölf \"Boxkämpfer\" 😀.";
const STREAMED: [(&str, &str); 1] = [("accept", "text/event-stream")];

struct Served {
    world: World,
    litellm: LiteLlm,
    simulator: Simulator,
}

/// A world whose provider is the proxy: it serves `mocked` and `forwarded`, and has never heard of `absent`.
async fn served() -> Served {
    let simulator = Simulator::start((Ipv4Addr::LOCALHOST, 0).into(), Options::default()).await.unwrap();
    let model = |name: &str, parameters: Value| json!({ "model_name": name, "litellm_params": parameters });
    // JSON is YAML.
    let config = json!({
        "model_list": [
            model("mocked", json!({ "model": "openai/mocked", "api_key": "none", "mock_response": ITS_OWN })),
            model("forwarded", json!({ "model": "openai/theirs", "api_key": "none", "api_base": simulator.base_url() })),
        ],
        "general_settings": { "master_key": KEY },
        "litellm_settings": { "telemetry": false, "num_retries": 0 },
        "router_settings": { "num_retries": 0, "disable_cooldowns": true },
    });
    let litellm = LiteLlm::start(&config.to_string()).await;
    let mut world = World::builder(env!("CARGO_BIN_EXE_omnichat"), Layout::ProcessPerRole)
        .set("providers.litellm.kind", "openai-compatible")
        .set("providers.litellm.base_url", litellm.base_url())
        .set("providers.litellm.api_key", KEY)
        .set("providers.litellm.breaker.failures", 0)
        .set("providers.litellm.allow_insecure", true);
    for model in ["mocked", "forwarded", "absent"] {
        let route = format!(r#"[{{ provider = "litellm", model = "{model}" }}]"#);
        world = world.set(&format!("models.{model}.route"), route);
    }
    Served { world: world.start().await, litellm, simulator }
}

/// A conversation with a model.
async fn conversation(user: &User, model: &str) -> String {
    let body = json!({ "project_id": user.project().await, "model": model });
    text(&user.post("/conversations", body).await.ok()["id"])
}

fn path(conversation: &str) -> String {
    format!("/conversations/{conversation}/messages")
}

async fn turn(user: &User, id: &Value) -> Value {
    user.get(&format!("/turns/{}", text(id))).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_implementation_of_the_wire_serves_a_conversation() {
    let Served { world, simulator, litellm } = served().await;
    let ana = world.user().await;
    let its_own = ana.send(&conversation(&ana, "mocked").await, "hi").await.ok();
    assert_eq!(its_own["response"], ITS_OWN);
    let usage = &turn(&ana, &its_own["turn_id"]).await["usage"];
    assert!(usage["prompt_tokens"].as_u64() > Some(0), "{usage}");
    assert!(usage["completion_tokens"].as_u64() > Some(0), "{usage}");

    let forwarded = conversation(&ana, "forwarded").await;
    let first = ana.send(&forwarded, r#"one [[sim text="zwölf 😀"]]"#).await.ok();
    assert_eq!(first["response"], "zwölf 😀");
    let second = json!({ "content": "two" });
    let mut events = ana.post_stream(&path(&forwarded), &STREAMED, &second).await.unwrap();
    let events = events.rest().await;
    let last = events.last().unwrap();
    assert_eq!(last.name, "completed", "{events:?}");
    assert!(events.iter().filter(|event| event.name == "delta").count() > 0);
    let said = text(&last.data["response"]);
    assert!(said.starts_with("You said \"two\" (message 2 of this conversation)."), "{said}");
    assert_eq!(shown(&events), said);
    let turn = turn(&ana, &last.data["turn_id"]).await;
    let words = said.split_whitespace().count();
    assert_eq!(turn["usage"]["completion_tokens"], words, "the provider's count, through the proxy");

    let calls = simulator.calls();
    let told: Vec<_> = calls[1].messages.iter().map(|it| (it.role, it.content.to_string())).collect();
    let [asked, answered, asked_again] = told.as_slice() else { panic!("{told:?}") };
    assert!(asked.1.starts_with("one ") && asked.0 == Role::User, "{told:?}");
    assert_eq!(answered, &(Role::Assistant, "zwölf 😀".to_owned()));
    assert_eq!(asked_again, &(Role::User, "two".to_owned()));
    assert!(litellm.said().contains("POST /v1/chat/completions"), "{}", litellm.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_refuses_is_told_truthfully() {
    let served = served().await;
    let ana = served.world.user().await;
    for (model, said, status, code) in [
        ("absent", "hi", 502, "provider_rejected"),
        ("forwarded", "[[sim status=401]]", 502, "provider_misconfigured"),
        ("forwarded", "[[sim status=400]]", 502, "provider_rejected"),
        ("forwarded", "[[sim status=429]]", 503, "provider_busy"),
        ("forwarded", "[[sim status=503]]", 502, "provider_failed"),
        ("forwarded", "[[sim error_after=3]]", 502, "provider_failed"),
    ] {
        let conversation = conversation(&ana, model).await;
        let problem = ana.send(&conversation, said).await.fault(status, code);
        for secret in [KEY, "litellm", "LiteLLM"] {
            assert!(!problem.to_string().contains(secret), "{problem}");
        }
        let turn = turn(&ana, &problem["turn_id"]).await;
        assert_eq!((&turn["status"], &turn["fault"]["code"]), (&json!("failed"), &json!(code)), "{said}");
    }
}
