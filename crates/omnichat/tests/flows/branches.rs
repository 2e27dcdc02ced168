//! Branches: another answer to the same question, and another question in the same place.

use llm::{Message, simulator::answer};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Layout, User, World, both_layouts, eventually, user::text};

use crate::{NOWHERE, SOON, world};

both_layouts![
    another_answer_stands_beside_the_first,
    another_answer_that_does_not_come_leaves_the_first,
    an_edited_question_begins_a_branch,
    a_conversation_can_be_begun_anew,
    a_branch_is_told_its_own_past_after_it_left_memory,
    branches_are_once_only_like_any_send,
    a_branch_begins_in_its_own_conversation,
    another_answer_waits_for_its_turn,
];

async fn regenerate(user: &User, turn: &Value, body: Value) -> testkit::Answer {
    user.post(&format!("/turns/{}/regenerate", text(turn)), body).await
}

async fn edit(user: &User, conversation: &str, content: &str, parent: Value) -> testkit::Answer {
    let body = json!({ "content": content, "parent_id": parent });
    user.post(&format!("/conversations/{conversation}/messages"), body).await
}

/// What the last call was told.
fn told(world: &World) -> Vec<String> {
    let calls = world.provider().calls();
    calls.last().unwrap().messages.iter().map(|message| message.content.to_string()).collect()
}

async fn path(user: &User, conversation: &str) -> Vec<String> {
    user.history(conversation).await.into_iter().map(|(_, content)| content).collect()
}

async fn everything(user: &User, conversation: &str) -> Vec<Value> {
    let all = user.get(&format!("/conversations/{conversation}/messages?branch=all")).await.ok();
    all.as_array().unwrap().clone()
}

async fn another_answer_stands_beside_the_first(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let before = ana.send(&conversation, "Before.").await.ok();
    let first = ana.send(&conversation, "Why?").await.ok();
    let turn =
        regenerate(&ana, &first["turn_id"], json!({ "model": "large", "settings": { "seed": 7 } })).await;
    let turn = turn.ok();
    assert_eq!((&turn["kind"], &turn["status"]), (&json!("regenerate"), &json!("completed")));
    assert_eq!((&turn["model"], &turn["seq"]), (&json!("large"), &json!(2)));
    assert_eq!(turn["messages"][0]["id"], first["message"]["parent_id"], "it is the same question");
    assert_eq!(turn["messages"][1]["parent_id"], first["message"]["parent_id"]);
    assert_ne!(turn["messages"][1]["id"], first["message_id"]);
    assert_eq!(ana.get(&format!("/turns/{}", text(&turn["id"]))).await.ok(), turn);
    assert_eq!(told(&world), ["Before.", &text(&before["response"]), "Why?"]);

    let second = text(&turn["messages"][1]["content"]);
    assert_eq!(path(&ana, &conversation).await, ["Before.", &text(&before["response"]), "Why?", &second]);
    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    assert_eq!(messages[3]["id"], turn["messages"][1]["id"], "the newest answer is the active one");
    let all = everything(&ana, &conversation).await;
    assert_eq!(all.len(), 5);
    assert_eq!((&all[3]["id"], &all[4]["id"]), (&first["message_id"], &turn["id"]));

    let next = ana.send(&conversation, "Next.").await.ok();
    let question = ana.get(&format!("/turns/{}", text(&next["turn_id"]))).await.ok();
    assert_eq!(question["messages"][0]["parent_id"], turn["id"]);
    assert_eq!(told(&world), ["Before.", &text(&before["response"]), "Why?", &second, "Next."]);
}

async fn another_answer_that_does_not_come_leaves_the_first(layout: Layout) {
    let world = world(layout).set("chat.idle_s", 1).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = ana.send(&conversation, "Why?").await.ok();
    let before = path(&ana, &conversation).await;
    world.provider().play(llm::simulator::Script { status: Some(400), ..llm::simulator::Script::default() });
    regenerate(&ana, &first["turn_id"], json!({})).await.fault(502, "provider_rejected");
    world.provider().play(llm::simulator::Script::default());
    assert_eq!(path(&ana, &conversation).await, before);
    ana.send(&conversation, "Next.").await.ok();
    assert_eq!(told(&world), [before.clone(), vec!["Next.".into()]].concat());
}

async fn an_edited_question_begins_a_branch(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = ana.send(&conversation, "One.").await.ok();
    let second = ana.send(&conversation, "Two.").await.ok();
    ana.send(&conversation, "Three.").await.ok();
    let better = edit(&ana, &conversation, "Two, but better.", first["message_id"].clone()).await.ok();
    let one = text(&first["response"]);
    assert_eq!(told(&world), ["One.", &one, "Two, but better."]);
    assert_eq!(
        path(&ana, &conversation).await,
        ["One.", &one, "Two, but better.", &text(&better["response"])]
    );
    assert_eq!(everything(&ana, &conversation).await.len(), 8);
    let turn = ana.get(&format!("/turns/{}", text(&better["turn_id"]))).await.ok();
    assert_eq!((&turn["kind"], &turn["messages"][0]["parent_id"]), (&json!("edit"), &first["message_id"]));

    let question = second["message"]["parent_id"].clone();
    edit(&ana, &conversation, "After two.", question).await.ok();
    let two = text(&second["response"]);
    assert_eq!(told(&world), ["One.", &one, "Two.", &two, "After two."], "a question stands for its turn");
}

async fn a_conversation_can_be_begun_anew(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    ana.send(&conversation, "One.").await.ok();
    let anew = edit(&ana, &conversation, "Uno.", Value::Null).await.ok();
    assert_eq!(told(&world), ["Uno."]);
    assert_eq!(path(&ana, &conversation).await, ["Uno.", &text(&anew["response"])]);
    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    assert_eq!(messages[0]["parent_id"], Value::Null);
}

async fn a_branch_is_told_its_own_past_after_it_left_memory(layout: Layout) {
    let world = world(layout).set("chat.history_messages_max", 5).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut said: Vec<(String, Value)> = Vec::new();
    for number in 0..8 {
        let sent = ana.send(&conversation, &format!("question {number}")).await.ok();
        said.push((text(&sent["response"]), sent["turn_id"].clone()));
    }
    edit(&ana, &conversation, "again", said[3].1.clone()).await.ok();
    assert_eq!(told(&world), ["question 2", &said[2].0, "question 3", &said[3].0, "again"]);
    regenerate(&ana, &said[1].1, json!({})).await.ok();
    assert_eq!(told(&world), ["question 0", &said[0].0, "question 1"]);
    regenerate(&ana, &said[0].1, json!({})).await.ok();
    assert_eq!(told(&world), ["question 0"]);
}

async fn branches_are_once_only_like_any_send(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = ana.send(&conversation, "One.").await.ok();
    let headers = [("content-type", "application/json"), ("idempotency-key", "k1")];
    let again = format!("/turns/{}/regenerate", text(&first["turn_id"]));
    let ask = async |path: &str, body: Value| {
        ana.request(Method::POST, path, &headers, Some(body.to_string().into())).await.unwrap()
    };
    let turn = ask(&again, json!({})).await.ok();
    assert_eq!(ask(&again, json!({})).await.ok(), turn);
    ask(&again, json!({ "model": "large" })).await.fault(422, "idempotency_key_reused");
    let send = format!("/conversations/{conversation}/messages");
    ask(&send, json!({ "content": "One." })).await.fault(422, "idempotency_key_reused");

    let headers = [("content-type", "application/json"), ("idempotency-key", "k2")];
    let body = json!({ "content": "Two.", "parent_id": first["message_id"] });
    let edit = async |body: &Value| {
        ana.request(Method::POST, &send, &headers, Some(body.to_string().into())).await.unwrap()
    };
    assert_eq!(edit(&body).await.ok(), edit(&body).await.ok());
    let elsewhere = json!({ "content": "Two.", "parent_id": turn["id"] });
    edit(&elsewhere).await.fault(422, "idempotency_key_reused");
    assert_eq!(world.provider().calls().len(), 3);
}

async fn a_branch_begins_in_its_own_conversation(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (one, other) = (ana.conversation().await, ana.conversation().await);
    let sent = ana.send(&one, "One.").await.ok();
    ana.send(&other, "Other.").await.ok();
    for parent in [&sent["message_id"], &sent["message"]["parent_id"], &json!(NOWHERE)] {
        edit(&ana, &other, "Two.", parent.clone()).await.fault(404, "message_not_found");
    }
    edit(&ana, NOWHERE, "Two.", sent["message_id"].clone()).await.fault(404, "conversation_not_found");
    edit(&ana, &one, "Two.", json!("x")).await.fault(422, "invalid_body");
    regenerate(&ana, &json!(NOWHERE), json!({})).await.fault(404, "turn_not_found");
    regenerate(&ana, &sent["turn_id"], json!({ "model": "none" })).await.fault(422, "unknown_model");
    ana.delete(&format!("/conversations/{one}")).await.ok();
    regenerate(&ana, &sent["turn_id"], json!({})).await.fault(404, "turn_not_found");
    assert_eq!(world.provider().calls().len(), 2);
}

async fn another_answer_waits_for_its_turn(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = ana.send(&conversation, "One.").await.ok();
    let (user, to) = (ana.clone(), conversation.clone());
    let slow = tokio::spawn(async move { user.send(&to, "Slow. [[sim first_ms=1000]]").await.ok() });
    let runs = async || (world.provider().counters().running == 1).then_some(());
    eventually("the slow turn runs", SOON, runs).await;
    let turn = regenerate(&ana, &first["turn_id"], json!({})).await.ok();
    assert!(slow.is_finished());
    assert_eq!(turn["seq"], 2);
    assert_eq!(told(&world), ["One."]);
    assert_eq!(turn["messages"][1]["content"], json!(answer(&[Message::user("One.")])));
}
