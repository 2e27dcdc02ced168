//! The events of a conversation: a second reader sees what the first one does.

use serde_json::{Value, json};
use testkit::{EventStream, Exit, Layout, Role, User, both_layouts, user::text};

use crate::{NOWHERE, world};

both_layouts![
    a_second_reader_sees_messages_arrive,
    what_is_anothers_has_no_conversation_events,
    a_lost_connection_to_nats_is_told,
    a_process_that_ends_sends_the_readers_of_conversations_to_the_next,
];

fn events(conversation: &str) -> String {
    format!("/conversations/{conversation}/events")
}

async fn next(stream: &mut EventStream) -> Value {
    let event = stream.next().await.expect("the stream goes on");
    assert_eq!((event.data["event"].as_str(), event.id.as_str()), (Some(&*event.name), ""));
    event.data
}

/// The next two events are a turn's; gives its id.
async fn a_turn(stream: &mut EventStream, kind: &str, status: &str) -> String {
    let (accepted, ended) = (next(stream).await, next(stream).await);
    assert_eq!((&accepted["event"], &accepted["kind"]), (&json!("turn_accepted"), &json!(kind)));
    assert_eq!((&ended["event"], &ended["status"]), (&json!("turn_ended"), &json!(status)));
    assert_eq!(accepted["turn_id"], ended["turn_id"]);
    text(&ended["turn_id"])
}

async fn a_second_reader_sees_messages_arrive(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (conversation, other) = (ana.conversation().await, ana.conversation().await);
    let mut stream = ana.stream(&events(&conversation), &[]).await.unwrap();
    let headers = ["content-type", "cache-control", "x-accel-buffering"].map(|name| stream.header(name));
    assert_eq!(headers, ["text/event-stream", "no-store", "no"]);
    let nats = world.nats_as(&ana).await;
    let subject = format!("omnichat.v1.u.{}.events.conversation.{conversation}", ana.id);
    let mut over_nats = nats.subscribe(&subject).await;

    ana.send(&other, "somewhere else").await.ok();
    let sent = ana.send(&conversation, "hi").await.ok();
    let accepted = next(&mut stream).await;
    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    let expected = json!({
        "event": "turn_accepted",
        "turn_id": sent["turn_id"],
        "kind": "send",
        "message_id": messages[0]["id"],
        "queue_position": 0,
    });
    assert_eq!(accepted, expected);
    let ended = next(&mut stream).await;
    assert_eq!(ended, json!({ "event": "turn_ended", "turn_id": sent["turn_id"], "status": "completed" }));
    for expected in [accepted, ended] {
        let told = over_nats.next().await;
        assert_eq!(
            (told.json(), told.header("Oc-Event")),
            (expected.clone(), expected["event"].as_str().unwrap())
        );
    }

    let path = format!("/turns/{}", text(&sent["turn_id"]));
    ana.post(&format!("{path}/regenerate"), json!({})).await.ok();
    a_turn(&mut stream, "regenerate", "completed").await;
    ana.send(&conversation, "[[sim status=403]]").await.fault(502, "provider_misconfigured");
    a_turn(&mut stream, "send", "failed").await;
    let sending = tokio::spawn({
        let (ana, conversation) = (ana.clone(), conversation.clone());
        async move { ana.send(&conversation, "hi [[sim hang]]").await }
    });
    let accepted = next(&mut stream).await;
    ana.post_nothing(&format!("/turns/{}/cancel", text(&accepted["turn_id"]))).await.ok();
    sending.await.unwrap().fault(410, "turn_cancelled");
    assert_eq!(next(&mut stream).await["status"], "cancelled");
    ana.patch(&format!("/conversations/{conversation}"), json!({ "title": "a title" })).await.ok();
    assert_eq!(next(&mut stream).await, json!({ "event": "updated" }));
    ana.delete(&format!("/conversations/{conversation}")).await.ok();
    assert_eq!(next(&mut stream).await, json!({ "event": "deleted" }));
    assert!(stream.next().await.is_none(), "nothing comes after that");
}

async fn what_is_anothers_has_no_conversation_events(layout: Layout) {
    let world = world(layout).set("limits.streams_per_user", 1).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let conversation = ana.conversation().await;
    let refused =
        async |user: &User, conversation: &str| user.stream(&events(conversation), &[]).await.unwrap_err();
    refused(&bob, &conversation).await.fault(404, "conversation_not_found");
    refused(&bob, NOWHERE).await.fault(404, "conversation_not_found");
    world.client().stream(&events(&conversation), &[]).await.unwrap_err().fault(401, "missing_token");
    let open = ana.stream(&events(&conversation), &[]).await.unwrap();
    refused(&ana, &conversation).await.fault(429, "rate_limited");
    drop(open);
}

async fn a_lost_connection_to_nats_is_told(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut stream = ana.stream(&events(&conversation), &[]).await.unwrap();
    world.restart_nats().await;
    assert_eq!(next(&mut stream).await, json!({ "event": "missed" }));
    let sent = ana.send_with_key(&conversation, "hi", "k1").await;
    assert_eq!(sent.status, 200, "{sent:?}");
    a_turn(&mut stream, "send", "completed").await;
}

async fn a_process_that_ends_sends_the_readers_of_conversations_to_the_next(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut stream = ana.stream(&events(&conversation), &[]).await.unwrap();
    let (exit, rest) = tokio::join!(world.terminate(Role::Ingress), stream.rest());
    assert_eq!((exit, rest.len(), stream.retry_ms), (Exit::SUCCESS, 0, Some(1000)));
}
