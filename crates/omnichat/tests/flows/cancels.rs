//! Cancelling: final, heard at once by the provider, and told to everybody who waits.

use llm::simulator::Ended;
use serde_json::{Value, json};
use testkit::{Answer, Layout, User, World, both_layouts, eventually, user::text};
use tokio::{task::JoinHandle, time::Instant};

use crate::{SOON, world};

both_layouts![
    a_running_turn_is_stopped_at_once_and_keeps_what_was_said,
    a_turn_that_waits_is_never_called_for,
    a_turn_that_has_ended_stays_as_it_is,
    a_cancelled_turn_is_cancelled_for_every_repeat,
    a_deleted_conversation_is_stopped_and_those_who_wait_are_told,
    a_call_is_stopped_though_the_word_of_it_was_lost,
];

fn sending(user: &User, conversation: &str, content: &str, key: &str) -> JoinHandle<Answer> {
    let (user, conversation) = (user.clone(), conversation.to_owned());
    let (content, key) = (content.to_owned(), key.to_owned());
    tokio::spawn(async move { user.send_with_key(&conversation, &content, &key).await })
}

/// The turn of the message at this place, once it is accepted.
async fn turn_at(user: &User, conversation: &str, place: usize) -> String {
    let path = format!("/conversations/{conversation}/messages");
    let accepted = async || {
        let messages = user.get(&path).await.ok();
        messages.get(place).map(|message| text(&message["turn_id"]))
    };
    eventually("the message is accepted", SOON, accepted).await
}

async fn cancel(user: &User, turn: &str) -> Value {
    user.post(&format!("/turns/{turn}/cancel"), json!({})).await.ok()
}

/// Waits until the provider's first call has ended, and tells how.
async fn first_call_ended(world: &World) -> Ended {
    let ended = async || world.provider().calls().first().and_then(|call| call.ended);
    eventually("the call has ended", SOON, ended).await
}

async fn a_running_turn_is_stopped_at_once_and_keeps_what_was_said(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let nats = world.nats_as(&ana).await;
    let mut events = nats.subscribe(&format!("omnichat.v1.u.{}.events.turn.*", ana.id)).await;
    let sender = sending(&ana, &conversation, "Tell me. [[sim chunk_ms=50 chunks=1000]]", "k1");
    while events.next().await.header("Oc-Event") != "delta" {}
    let turn = turn_at(&ana, &conversation, 0).await;

    let asked = Instant::now();
    let cancelled = cancel(&ana, &turn).await;
    assert_eq!(first_call_ended(&world).await, Ended::ClientGone);
    let took = asked.elapsed();
    assert!(took.as_millis() < 1_000, "the provider was stopped after {took:?}");
    assert_eq!((&cancelled["status"], &cancelled["fault"]), (&json!("cancelled"), &Value::Null));
    assert_eq!(cancelled["messages"].as_array().unwrap().len(), 1, "what was said is no message");
    let problem = sender.await.unwrap().fault(410, "turn_cancelled");
    assert_eq!(problem["turn_id"], json!(turn));
    while events.next().await.header("Oc-Event") != "cancelled" {}
    // An owner that is slow stores it after the cancel was answered.
    let said = async || {
        let turn = ana.get(&format!("/turns/{turn}")).await.ok();
        (turn["partial"] != Value::Null).then_some(turn)
    };
    let mut now = eventually("what was said is kept", SOON, said).await;
    assert!(text(&now["partial"]).starts_with("You said"), "{now}");
    now["partial"] = cancelled["partial"].clone();
    assert_eq!(now, cancelled, "what was answered is final");

    ana.send(&conversation, "And now?").await.ok();
    let told: Vec<_> =
        world.provider().calls()[1].messages.iter().map(|message| message.content.to_string()).collect();
    assert_eq!(told, ["Tell me. [[sim chunk_ms=50 chunks=1000]]", "And now?"]);
}

async fn a_turn_that_waits_is_never_called_for(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = sending(&ana, &conversation, "first [[sim hang]]", "k1");
    let running = turn_at(&ana, &conversation, 0).await;
    let second = sending(&ana, &conversation, "second", "k2");
    let waiting = turn_at(&ana, &conversation, 1).await;
    let third = sending(&ana, &conversation, "third", "k3");
    turn_at(&ana, &conversation, 2).await;

    let cancelled = cancel(&ana, &waiting).await;
    assert_eq!((&cancelled["status"], &cancelled["partial"]), (&json!("cancelled"), &Value::Null));
    second.await.unwrap().fault(410, "turn_cancelled");
    assert!(!first.is_finished() && !third.is_finished());
    assert_eq!(cancel(&ana, &running).await["status"], "cancelled");
    first.await.unwrap().fault(410, "turn_cancelled");
    third.await.unwrap().ok();
    let calls = world.provider().calls();
    let asked: Vec<_> = calls.iter().map(|call| call.messages.last().unwrap().content.to_string()).collect();
    assert_eq!(asked, ["first [[sim hang]]", "third"]);
}

async fn a_turn_that_has_ended_stays_as_it_is(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let sent = ana.send(&conversation, "hi").await.ok();
    let turn = text(&sent["turn_id"]);
    let before = ana.get(&format!("/turns/{turn}")).await.ok();
    assert_eq!(cancel(&ana, &turn).await, before);
    let nats = world.nats_as(&ana).await;
    let reply = nats.request(&format!("omnichat.v1.u.{}.turns.{turn}.cancel", ana.id), &[], "").await;
    assert_eq!(reply.json(), before, "over NATS as well");
    let failed = ana.send(&conversation, "no [[sim status=400]]").await.fault(502, "provider_rejected");
    assert_eq!(cancel(&ana, &text(&failed["turn_id"])).await["status"], "failed");
    let cancels: i64 =
        sqlx::query_scalar("select count(*) from cancels").fetch_one(world.sql()).await.unwrap();
    assert_eq!(cancels, 0);
}

async fn a_cancelled_turn_is_cancelled_for_every_repeat(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = sending(&ana, &conversation, "hi [[sim hang]]", "k1");
    let turn = turn_at(&ana, &conversation, 0).await;
    let again = cancel(&ana, &turn).await;
    first.await.unwrap().fault(410, "turn_cancelled");
    assert_eq!(cancel(&ana, &turn).await, again);
    let repeat = ana.send_with_key(&conversation, "hi [[sim hang]]", "k1").await;
    assert_eq!(repeat.fault(410, "turn_cancelled")["turn_id"], json!(turn));
    assert_eq!(world.provider().calls().len(), 1);
}

async fn a_deleted_conversation_is_stopped_and_those_who_wait_are_told(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = sending(&ana, &conversation, "first [[sim chunk_ms=50 chunks=1000]]", "k1");
    let turn = turn_at(&ana, &conversation, 0).await;
    let called = async || (world.provider().counters().running == 1).then_some(());
    eventually("the provider is called", SOON, called).await;
    let second = sending(&ana, &conversation, "second", "k2");
    turn_at(&ana, &conversation, 1).await;
    let asked = Instant::now();
    ana.delete(&format!("/conversations/{conversation}")).await.ok();
    ana.get(&format!("/turns/{turn}")).await.fault(404, "turn_not_found");
    assert_eq!(first_call_ended(&world).await, Ended::ClientGone);
    let took = asked.elapsed();
    assert!(took.as_millis() < 1_000, "the provider was stopped after {took:?}");
    first.await.unwrap().fault(404, "conversation_not_found");
    second.await.unwrap().fault(404, "conversation_not_found");
    let answers: i64 = sqlx::query_scalar("select count(*) from messages where role = 'assistant'")
        .fetch_one(world.sql())
        .await
        .unwrap();
    assert_eq!(answers, 0);
    assert_eq!(world.provider().calls().len(), 1);
}

/// As if whoever was asked had died between storing the wish and telling it.
async fn a_call_is_stopped_though_the_word_of_it_was_lost(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (one, other) = (ana.conversation().await, ana.conversation().await);
    let cancelled = sending(&ana, &one, "one [[sim hang]]", "k1");
    turn_at(&ana, &one, 0).await;
    sqlx::query("insert into cancels select id, now() from turns").execute(world.sql()).await.unwrap();
    cancelled.await.unwrap().fault(410, "turn_cancelled");
    let deleted = sending(&ana, &other, "other [[sim hang]]", "k2");
    turn_at(&ana, &other, 0).await;
    sqlx::query("update conversations set deleted_at = now()").execute(world.sql()).await.unwrap();
    deleted.await.unwrap().fault(404, "conversation_not_found");
}
