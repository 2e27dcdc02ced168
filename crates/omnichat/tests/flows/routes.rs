//! A model that several providers serve: one that fails is not noticed by those who ask.

use std::time::{Duration, Instant};

use llm::simulator::{Options, Script, Simulator};
use serde_json::{Value, json};
use testkit::{Layout, User, World, both_layouts, eventually, user::text};
use tokio::time::sleep;

use crate::{SOON, world};

both_layouts![
    a_call_that_fails_is_repeated_at_the_next_provider,
    a_reader_is_told_to_drop_what_the_first_provider_said,
    an_outage_of_one_provider_fails_no_turn,
    a_turn_tells_what_its_calls_were_and_cost,
];

/// Two providers for the model `small`, the second one the simulator of the world.
async fn two(layout: Layout) -> (World, Simulator) {
    let options = Options { models: vec!["first".to_owned()], ..Options::default() };
    let first = Simulator::start(([127, 0, 0, 1], 0).into(), options).await.unwrap();
    let world = world(layout)
        .set("providers.first.kind", "openai-compatible")
        .set("providers.first.base_url", first.base_url())
        .set("providers.first.allow_insecure", true)
        .set("providers.first.breaker.rest_ms", 500)
        .set("models.small.prices", "{ prompt = 2, completion = 10 }")
        .set(
            "models.small.route",
            r#"[{ provider = "first", model = "one", prices = { prompt = 3, completion = 7 } },
                { provider = "simulator", model = "two" }]"#,
        )
        .start()
        .await;
    (world, first)
}

async fn turn(ana: &User, answer: &Value) -> Value {
    ana.get(&format!("/turns/{}", text(&answer["turn_id"]))).await.ok()
}

async fn a_call_that_fails_is_repeated_at_the_next_provider(layout: Layout) {
    let (world, first) = two(layout).await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let answer = ana.send(&conversation, "hi").await.ok();
    assert_eq!(answer["model"], "one");
    for failing in ["status=500", "status=429 retry_after=9", "cut_after=2", "error_after=1", "status=401"] {
        let script = failing_script(failing);
        first.play(script);
        let begun = Instant::now();
        let answer = ana.send(&conversation, "and now?").await.ok();
        assert_eq!(
            (&answer["model"], turn(&ana, &answer).await["attempt"].as_i64()),
            (&json!("two"), Some(2)),
            "{failing}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "nobody waits for a provider when there is another"
        );
        first.play(Script::default());
    }
}

/// What a directive says, as the script of all calls.
fn failing_script(fields: &str) -> Script {
    let fields = fields.split(' ').filter_map(|field| field.split_once('='));
    let script = fields.map(|(key, value)| (key.to_owned(), json!(value.parse::<i64>().unwrap()))).collect();
    serde_json::from_value(Value::Object(script)).unwrap()
}

async fn a_reader_is_told_to_drop_what_the_first_provider_said(layout: Layout) {
    let (world, first) = two(layout).await;
    first.play(Script { chunk_ms: Some(60), cut_after: Some(4), ..Script::default() });
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let body = json!({ "content": "a long story, please", "stream": true });
    let path = format!("/conversations/{conversation}/messages");
    let steps = ana.post_stream(&path, &[], &body).await.unwrap().rest().await;
    let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).filter(|name| *name != "delta").collect();
    assert_eq!(names, ["queued", "accepted", "started", "restarted", "completed"]);
    let said = |from: &str, to: &str| -> String {
        let after = steps.iter().skip_while(|step| step.name != from).skip(1);
        after.take_while(|step| step.name != to).map(|step| text(&step.data["text"])).collect()
    };
    let whole = text(&steps.last().unwrap().data["response"]);
    let (dropped, kept) = (said("started", "restarted"), said("restarted", "completed"));
    assert!(!dropped.is_empty() && whole.starts_with(&dropped), "{dropped:?}");
    assert!(kept.is_empty() || kept == whole, "what follows is whole: {kept:?}");
}

/// The first provider fails for twenty seconds, under a load of some ten turns a second.
async fn an_outage_of_one_provider_fails_no_turn(layout: Layout) {
    let (world, first) = two(layout).await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    first.play(Script { status: Some(500), ..Script::default() });
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(20) {
        let answer = ana.send(&conversation, &format!("message {sent}")).await.ok();
        assert_eq!(answer["model"], "two");
        sent += 1;
        sleep(Duration::from_millis(100)).await;
    }
    // Five until it is left alone, and then a try after half a second, one second, two, four, eight.
    let asked = first.calls().len();
    assert!((6..=14).contains(&asked) && sent > 50, "it was asked {asked} times in {sent} turns");
    first.play(Script::default());
    eventually("the first provider is asked again", SOON, async || {
        let answer = ana.send(&conversation, "are you back?").await.ok();
        (answer["model"] == "one").then_some(())
    })
    .await;
}

async fn a_turn_tells_what_its_calls_were_and_cost(layout: Layout) {
    let (world, first) = two(layout).await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    first.play(Script { status: Some(503), ..Script::default() });
    let answer = ana.send(&conversation, r#"one two [[sim text="a b c"]]"#).await.ok();
    let turn = turn(&ana, &answer).await;
    let calls = turn["calls"].as_array().unwrap();
    let told =
        |call: &Value, names: &[&str]| names.iter().map(|name| call[*name].clone()).collect::<Vec<_>>();
    let names = ["attempt", "status", "fault", "provider", "model", "estimated", "cost_micros"];
    assert_eq!(
        told(&calls[0], &names),
        [
            json!(1),
            json!("failed"),
            json!("provider_failed"),
            json!("first"),
            json!("one"),
            json!(false),
            json!(0)
        ]
    );
    // Six words and three.
    let cost = 6 * 2 + 3 * 10;
    assert_eq!(
        told(&calls[1], &names),
        [
            json!(2),
            json!("completed"),
            Value::Null,
            json!("simulator"),
            json!("two"),
            json!(false),
            json!(cost)
        ]
    );
    assert_eq!((calls.len(), &turn["cost_micros"]), (2, &json!(cost)));
    let times = told(&calls[1], &["queue_ms", "response_ms", "first_token_ms", "total_ms"]);
    let times: Vec<_> = times.iter().map(|time| time.as_u64().unwrap()).collect();
    assert!(times[1] <= times[2] && times[2] <= times[3], "{times:?}");

    first.play(Script::default());
    let path = format!("/conversations/{conversation}/messages");
    let body = json!({ "content": "[[sim chunk_ms=50 chunks=1000]]", "stream": true });
    let mut steps = ana.post_stream(&path, &[], &body).await.unwrap();
    let delta = loop {
        let step = steps.next().await.unwrap();
        if step.name == "delta" {
            break step;
        }
    };
    let (id, _) = delta.id.split_once(':').unwrap();
    let cancelled = ana.post_nothing(&format!("/turns/{id}/cancel")).await.ok();
    let call = &cancelled["calls"][0];
    assert_eq!((&call["status"], &call["estimated"]), (&json!("stopped"), &json!(true)));
    assert!(call["cost_micros"].as_u64() > Some(0), "what is not counted is estimated: {call}");
}
