//! Stopped, started again, killed, started twice.

use llm::{Message, simulator::answer};
use serde_json::json;
use testkit::{Exit, Signal, User, eventually};

use crate::{SOON, installation::Installation};

const SLOW: &str = "Tell me. [[sim first_ms=100 chunk_ms=100]]";

#[tokio::test]
async fn everything_is_there_after_a_restart_and_nobody_else_may_use_it() {
    let mut machine = Installation::new();
    let mut up = machine.up().await;
    let ana = User::register(&up.client()).await;
    let conversation = ana.conversation().await;
    ana.send(&conversation, "Hello!").await.ok();
    let history = ana.history(&conversation).await;

    let mut second = machine.start();
    assert_eq!(second.exit().await, Exit { code: Some(1), signal: None });
    let refusal = second.last_words();
    assert!(refusal.contains(&up.process.pid().to_string()), "names who has it: {refusal}");
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    ana.get("/auth/me").await.ok();

    up.process.signal(Signal::INT);
    assert_eq!(up.process.exit().await, Exit::SUCCESS);
    let up = machine.up().await;
    let ana = up.client().with_token(&ana.token);
    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    assert_eq!(messages.as_array().unwrap().len(), history.len());
    assert_eq!(messages[1]["content"], *history[1].1);
    let next = json!({ "content": "And now?" });
    let next = ana.post(&format!("/conversations/{conversation}/messages"), next).await.ok();
    assert!(next["response"].as_str().unwrap().contains("message 2 of this conversation"));
}

#[tokio::test]
async fn a_turn_survives_that_everything_is_killed_at_once() {
    let mut machine = Installation::new();
    let up = machine.up().await;
    let ana = User::register(&up.client()).await;
    let conversation = ana.conversation().await;
    let sender = {
        let (ana, conversation) = (ana.clone(), conversation.clone());
        tokio::spawn(async move { ana.try_send_with_key(&conversation, SLOW, "k1").await })
    };
    let accepted = async || (ana.history(&conversation).await.len() == 1).then_some(());
    eventually("the turn is accepted", SOON, accepted).await;
    up.kill_everything().await;
    assert!(sender.await.unwrap().is_err());

    let up = machine.up().await;
    let client = up.client().with_token(&ana.token);
    let messages = eventually("the turn is finished without its sender", SOON, async || {
        let messages = client.get(&format!("/conversations/{conversation}/messages")).await.ok();
        (messages.as_array().unwrap().len() == 2).then_some(messages)
    })
    .await;
    assert_eq!(messages[1]["content"], *answer(&[Message::user(SLOW)]));
    let turn = client.get(&format!("/turns/{}", messages[0]["turn_id"].as_str().unwrap())).await.ok();
    assert_eq!((&turn["status"], &turn["attempt"]), (&json!("completed"), &json!(2)));
}
