//! What can be asked of a model, from the request of a client to that of the provider, over both wires.

use serde_json::{Value, json};
use testkit::{Layout, User, World, both_layouts, user::text};

use crate::world;

both_layouts![
    every_setting_reaches_the_provider_as_it_was_said,
    another_wire_is_told_what_it_has_a_word_for,
    a_plain_send_asks_for_nothing,
    what_cannot_be_asked_is_told_by_field_and_asked_of_nobody,
];

fn everything() -> Value {
    json!({
        "temperature": 0.5, "top_p": 0.75, "max_tokens": 7, "stop": ["END"], "seed": 1,
        "presence_penalty": -0.5, "frequency_penalty": 0.5, "reasoning_effort": "minimal",
        "tools": [{ "type": "function", "function": { "name": "weather", "description": "Tells the weather.",
            "parameters": { "type": "object", "properties": { "city": { "type": "string" } } }, "strict": true } }],
        "tool_choice": { "type": "function", "function": { "name": "weather" } },
        "response_format": { "type": "json_schema",
            "json_schema": { "name": "answer", "schema": { "type": "object" }, "strict": true } },
        "extra": { "top_k": 40, "provider": { "order": ["a", null, 1.5] } },
    })
}

/// What the last call asked for, beside the messages.
fn asked(world: &World) -> Value {
    world.provider().calls().last().unwrap().parameters.clone().map_or(Value::Null, Value::Object)
}

async fn send(user: &User, conversation: &str, body: Value) -> testkit::Answer {
    user.post(&format!("/conversations/{conversation}/messages"), body).await
}

async fn every_setting_reaches_the_provider_as_it_was_said(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut sent = everything();
    sent.as_object_mut().unwrap().remove("extra");
    sent["top_k"] = json!(40);
    sent["provider"] = everything()["extra"]["provider"].clone();
    let first = send(&ana, &conversation, json!({ "content": "hi", "settings": everything() })).await.ok();
    assert_eq!(asked(&world), sent);

    // Kept with the conversation they hold for every turn; what a message says goes over them, each as a whole.
    let path = format!("/conversations/{conversation}");
    let kept = ana.patch(&path, json!({ "settings": everything() })).await.ok();
    assert_eq!(kept["settings"], everything());
    assert_eq!(ana.get(&path).await.ok()["settings"], everything());
    ana.send(&conversation, "again").await.ok();
    assert_eq!(asked(&world), sent);
    let over =
        json!({ "tool_choice": "none", "extra": { "user": "ana" }, "response_format": { "type": "text" } });
    let turn = text(&first["turn_id"]);
    ana.post(&format!("/turns/{turn}/regenerate"), json!({ "settings": over })).await.ok();
    for gone in ["top_k", "provider"] {
        sent.as_object_mut().unwrap().remove(gone);
    }
    for (name, value) in [("tool_choice", json!("none")), ("user", json!("ana"))] {
        sent[name] = value;
    }
    sent["response_format"] = json!({ "type": "text" });
    assert_eq!(asked(&world), sent);
}

async fn another_wire_is_told_what_it_has_a_word_for(layout: Layout) {
    let world = world(layout).set("providers.simulator.kind", "anthropic").start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    send(&ana, &conversation, json!({ "content": "hi", "settings": everything() })).await.ok();
    let expected = json!({
        "temperature": 0.5, "top_p": 0.75, "max_tokens": 7, "stop_sequences": ["END"],
        "tools": [{ "name": "weather", "description": "Tells the weather.", "strict": true,
            "input_schema": { "type": "object", "properties": { "city": { "type": "string" } } } }],
        "tool_choice": { "type": "tool", "name": "weather" },
        "output_config": { "effort": "low", "format": { "type": "json_schema", "schema": { "type": "object" } } },
    });
    assert_eq!(asked(&world), expected);
}

async fn a_plain_send_asks_for_nothing(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    ana.send(&conversation, "hi").await.ok();
    assert_eq!(asked(&world), Value::Null);
}

async fn what_cannot_be_asked_is_told_by_field_and_asked_of_nobody(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let most = wire::limits::SETTINGS_BYTES_MAX;
    let large = |bytes: usize| json!({ "extra": { "a": "x".repeat(bytes - r#"{"a":""}"#.len()) } });
    for (settings, field, code) in [
        (json!({ "extra": { "model": "dear" } }), "settings.extra.model", "invalid_value"),
        (json!({ "extra": { "stream": false } }), "settings.extra.stream", "invalid_value"),
        (json!({ "extra": { "a\u{0}": 1 } }), "settings.extra", "invalid_character"),
        (json!({ "reasoning_effort": "max" }), "settings.reasoning_effort", "invalid_value"),
        (json!({ "tool_choice": "any" }), "settings.tool_choice", "invalid_value"),
        (json!({ "tools": [{ "type": "function" }] }), "settings.tools[0].function", "missing_field"),
        (json!({ "top_k": 40 }), "settings.top_k", "unknown_field"),
        (large(most + 1), "settings.extra", "too_long"),
    ] {
        let answer = send(&ana, &conversation, json!({ "content": "hi", "settings": settings })).await;
        let problem = answer.fault(422, "invalid_body");
        let error = &problem["errors"][0];
        assert_eq!((&error["field"], &error["code"]), (&json!(field), &json!(code)), "{problem}");
    }
    let path = format!("/conversations/{conversation}");
    ana.patch(&path, json!({ "settings": { "extra": { "n": 2 } } })).await.fault(422, "invalid_body");
    assert!(world.provider().calls().is_empty());
    send(&ana, &conversation, json!({ "content": "hi", "settings": large(most) })).await.ok();
    assert_eq!(asked(&world), large(most)["extra"]);
}
