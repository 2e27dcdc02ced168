//! A queue that is away for a moment, as that of a cluster is that has no leader.

use llm::{Message, simulator::answer};
use testkit::{Layout, both_layouts};

use crate::world;

both_layouts![a_message_waits_for_a_queue_that_is_away];

/// Sent over NATS, where nobody but the front would send it again.
async fn a_message_waits_for_a_queue_that_is_away(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let (nats, staff) = (world.nats_as(&ana).await, world.nats_as_staff("provisioner").await);
    let deleted = staff.request("$JS.API.STREAM.DELETE.TURNS", &[], "").await;
    assert_eq!(deleted.json()["success"], true);
    let (sender, subject) =
        (nats.clone(), format!("omnichat.v1.u.{}.conversations.{conversation}.send", ana.id));
    let sending = tokio::spawn(async move {
        sender.request(&subject, &[("Idempotency-Key", "k1")], r#"{"content":"Hello."}"#).await
    });
    nats.flush().await;
    world.command_line(&["provision"]).await;
    let reply = sending.await.unwrap();
    assert_eq!(reply.header("Nats-Service-Error-Code"), "", "{:?}", reply.body());
    assert_eq!(reply.json()["response"], answer(&[Message::user("Hello.")]));
    assert_eq!(world.provider().calls().len(), 1, "however often it was sent to the queue");
}
