//! The same key is the same turn: whoever repeats a send gets its answer, and nothing happens twice.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Layout, World, both_layouts, eventually};

use crate::{SOON, world};

both_layouts![
    a_repeated_send_brings_the_same_answer,
    fifty_sends_with_one_key_are_one_turn,
    a_repeat_attaches_to_the_turn_that_runs,
    a_key_stands_for_one_request,
    a_key_belongs_to_one_user,
    a_key_is_plain_text_given_once,
    sends_without_a_key_are_different_turns,
];

async fn count(world: &World, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(world.sql()).await.unwrap()
}

/// How many turns and messages there are.
async fn rows(world: &World) -> (i64, i64) {
    (count(world, "select count(*) from turns").await, count(world, "select count(*) from messages").await)
}

async fn a_repeated_send_brings_the_same_answer(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = ana.send_with_key(&conversation, "hi", "k1").await.ok();
    ana.send(&conversation, "something else").await.ok();
    for _ in 0..3 {
        assert_eq!(ana.send_with_key(&conversation, "hi", "k1").await.ok(), first);
    }
    let quoted = ana.send_with_key(&conversation, "hi", "\"k1\"").await.ok();
    assert_eq!(quoted, first, "a structured-field string is the same key");
    let headers = [("content-type", "application/json"), ("idempotency-key", "k1")];
    let body = r#" { "stream" : false, "content" : "h\u0069" } "#;
    let path = format!("/conversations/{conversation}/messages");
    let spelt = ana.request(Method::POST, &path, &headers, Some(body.into())).await.unwrap();
    assert_eq!(spelt.ok(), first, "the same request in other words");
    assert_eq!(rows(&world).await, (2, 4));
    assert_eq!(world.provider().calls().len(), 2);
}

async fn fifty_sends_with_one_key_are_one_turn(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let send = |_| {
        let (ana, conversation) = (ana.clone(), conversation.clone());
        tokio::spawn(
            async move { ana.send_with_key(&conversation, "hi [[sim first_ms=100]]", "k1").await.ok() },
        )
    };
    let sends: Vec<_> = (0..50).map(send).collect();
    let mut answers = Vec::new();
    for answer in sends {
        answers.push(answer.await.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(rows(&world).await, (1, 2));
    assert_eq!(world.provider().calls().len(), 1);
}

async fn a_repeat_attaches_to_the_turn_that_runs(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let send = || {
        let (ana, conversation) = (ana.clone(), conversation.clone());
        tokio::spawn(
            async move { ana.send_with_key(&conversation, "hi [[sim first_ms=1000]]", "k1").await.ok() },
        )
    };
    let first = send();
    let runs = async || (world.provider().counters().running == 1).then_some(());
    eventually("the first send runs", SOON, runs).await;
    let second = send();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first, second);
    assert_eq!(rows(&world).await, (1, 2));
    assert_eq!(world.provider().calls().len(), 1);
}

async fn a_key_stands_for_one_request(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (conversation, other) = (ana.conversation().await, ana.conversation().await);
    let first = ana.send_with_key(&conversation, "hi", "k1").await.ok();
    let reused = |answer: testkit::Answer| {
        let problem = answer.fault(422, "idempotency_key_reused");
        assert_eq!(problem["detail"], "This Idempotency-Key was used for another request");
    };
    reused(ana.send_with_key(&conversation, "hello", "k1").await);
    reused(ana.send_with_key(&other, "hi", "k1").await);
    let headers = [("content-type", "application/json"), ("idempotency-key", "k1")];
    for body in
        [json!({ "content": "hi", "model": "large" }), json!({ "content": "hi", "settings": { "seed": 1 } })]
    {
        let path = format!("/conversations/{conversation}/messages");
        reused(ana.request(Method::POST, &path, &headers, Some(body.to_string().into())).await.unwrap());
    }
    assert_eq!(ana.send_with_key(&conversation, "hi", "k1").await.ok(), first);
    assert!(ana.history(&other).await.is_empty());
    assert_eq!(rows(&world).await, (1, 2));
    assert_eq!(world.provider().calls().len(), 1);
}

async fn a_key_belongs_to_one_user(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let (hers, his) = (ana.conversation().await, bob.conversation().await);
    let first: Value = ana.send_with_key(&hers, "hi", "k1").await.ok();
    let second = bob.send_with_key(&his, "hi", "k1").await.ok();
    assert_ne!(first["turn_id"], second["turn_id"]);
    bob.send_with_key(&hers, "hi", "k2").await.fault(404, "conversation_not_found");
    assert_eq!(ana.send_with_key(&hers, "hi", "k1").await.ok(), first);
    assert_eq!(world.provider().calls().len(), 2);
}

async fn a_key_is_plain_text_given_once(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let path = format!("/conversations/{conversation}/messages");
    let json = ("content-type", "application/json");
    let twice = vec![json, ("idempotency-key", "a"), ("idempotency-key", "a")];
    let long = "k".repeat(256);
    let bad = ["", "\"\"", "a\tb", &long].map(|key| vec![json, ("idempotency-key", key)]);
    for headers in bad.into_iter().chain([twice]) {
        let answer =
            ana.request(Method::POST, &path, &headers, Some(r#"{"content":"hi"}"#.into())).await.unwrap();
        answer.fault(400, "invalid_idempotency_key");
    }
    ana.send_with_key(&conversation, "hi", &long[1..]).await.ok();
    assert_eq!(rows(&world).await, (1, 2));
}

async fn sends_without_a_key_are_different_turns(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let (first, second) =
        (ana.send(&conversation, "hi").await.ok(), ana.send(&conversation, "hi").await.ok());
    assert_ne!(first["turn_id"], second["turn_id"]);
    assert_eq!(rows(&world).await, (2, 4));
}
