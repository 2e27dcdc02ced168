//! A send that is answered step by step, through a library that knows replies which end with an empty one.

use serde_json::{Value, json};
use testkit::{Layout, Toolbox, World, toolbox::judged};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_for_many_replies_is_told_every_step() {
    let world =
        World::builder(env!("CARGO_BIN_EXE_omnichat"), Layout::ProcessPerRole).pace(20, 20).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let given = json!({
        "options": {
            "servers": world.nats_url(),
            "token": ana.token,
            "inboxPrefix": format!("_INBOX.{}", ana.id),
        },
        "subject": format!("omnichat.v1.u.{}.conversations.{conversation}.send", ana.id),
    });
    let mut node = Toolbox::open().await.node(include_str!("steps.mjs"));
    node.arg(given.to_string());
    let seen: Value = serde_json::from_str(&judged(node, "the library gets through").await).unwrap();

    let told = seen["told"].as_array().unwrap();
    let names = names(told);
    assert!(names.contains(&"accepted") && names.contains(&"started"), "{names:?}");
    assert_eq!(names.last(), Some(&"completed"));
    let parts: String = told.iter().filter_map(|reply| reply["body"]["text"].as_str()).collect();
    let last = &told.last().unwrap()["body"];
    assert_eq!(json!(parts), last["response"]);
    let stored = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    assert_eq!(stored[1], last["message"]);
    assert_eq!(seen["again"].as_array().unwrap().last().unwrap()["body"], *last);
    assert_eq!(self::names(seen["accepted"].as_array().unwrap()).last(), Some(&"accepted"));
    let refused = &seen["refused"];
    assert_eq!((refused.as_array().unwrap().len(), &refused[0]["status"]), (1, &json!("422")));
}

fn names(replies: &[Value]) -> Vec<&str> {
    replies.iter().filter_map(|reply| reply["event"].as_str()).collect()
}
