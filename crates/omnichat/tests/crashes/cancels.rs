//! What was cancelled stays so, whoever dies next.

use serde_json::json;
use testkit::{Layout, Role, Signal, both_layouts, eventually, user::text};

use crate::{
    SLOW, SOON,
    ledger::{Ledger, ended},
    provider_was_called, sending, world,
};

both_layouts![
    a_turn_that_was_cancelled_is_called_for_by_nobody_after_a_crash,
    a_wish_that_was_stored_is_kept_by_the_next_owner,
    a_turn_is_cancelled_though_its_owner_was_frozen,
    a_turn_is_cancelled_though_its_owner_cannot_store_it,
];

async fn a_turn_that_was_cancelled_is_called_for_by_nobody_after_a_crash(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    drop(sending(&ana, &conversation, SLOW, "k1"));
    provider_was_called(&world, 1).await;
    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    let turn = text(&messages[0]["turn_id"]);
    let cancelled = ana.post(&format!("/turns/{turn}/cancel"), json!({})).await.ok();
    world.kill(Role::Chat);
    world.restart(Role::Chat).await;
    ended(&world, 1).await;
    assert_eq!(ana.get(&format!("/turns/{turn}")).await.ok(), cancelled);
    ana.send_with_key(&conversation, SLOW, "k1").await.fault(410, "turn_cancelled");
    ana.send(&conversation, "And now?").await.ok();
    assert_eq!(world.provider().calls().len(), 2, "one for each turn");
}

/// Whoever was asked died before it could tell anybody: nobody was answered, and the wish counts all the same.
async fn a_wish_that_was_stored_is_kept_by_the_next_owner(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let sender = sending(&ana, &conversation, SLOW, "k1");
    provider_was_called(&world, 1).await;
    world.kill(Role::Chat);
    sqlx::query("insert into cancels select id, now() from turns").execute(world.sql()).await.unwrap();
    world.restart(Role::Chat).await;
    ended(&world, 1).await;
    sender.abort();
    ana.send_with_key(&conversation, SLOW, "k1").await.fault(410, "turn_cancelled");
    assert_eq!(world.provider().calls().len(), 1);
    assert_eq!(Ledger::of(&world).await.repeated_calls, 0);
}

async fn a_turn_is_cancelled_though_its_owner_was_frozen(layout: Layout) {
    // The broker gives some requests to the frozen one.
    let mut world = world(layout).set("http.request_timeout_s", 1).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let sender = sending(&ana, &conversation, "Tell me. [[sim hang]]", "k1");
    provider_was_called(&world, 1).await;
    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    let turn = text(&messages[0]["turn_id"]);
    world.signal(Role::Chat, Signal::STOP);
    let frozen = world.replace(Role::Chat).await;
    let cancelled = async || {
        let answer = ana.post(&format!("/turns/{turn}/cancel"), json!({})).await;
        (answer.status == 200).then(|| answer.ok())
    };
    let cancelled = eventually("the turn is cancelled", SOON, cancelled).await;
    assert_eq!(cancelled["status"], "cancelled");
    frozen.signal(Signal::CONT);
    if layout == Layout::ProcessPerRole {
        sender.await.unwrap().unwrap().fault(410, "turn_cancelled");
    }
    ana.send_with_key(&conversation, "Tell me. [[sim hang]]", "k1").await.fault(410, "turn_cancelled");
    let ledger = Ledger::of(&world).await;
    assert_eq!((ledger.outcomes, ledger.answers), (1, 0));
}

async fn a_turn_is_cancelled_though_its_owner_cannot_store_it(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let sender = sending(&ana, &conversation, SLOW, "k1");
    provider_was_called(&world, 1).await;
    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    let turn = text(&messages[0]["turn_id"]);
    let mut taking = world.sql().begin().await.unwrap();
    sqlx::query("select from partition_owner for update").execute(&mut *taking).await.unwrap();
    let cancelled = ana.post(&format!("/turns/{turn}/cancel"), json!({})).await.ok();
    assert_eq!(cancelled["status"], "cancelled");
    assert!(!sender.is_finished(), "its owner does not know yet");
    taking.commit().await.unwrap();
    sender.await.unwrap().unwrap().fault(410, "turn_cancelled");
    let ledger = Ledger::of(&world).await;
    assert_eq!((ledger.outcomes, ledger.answers), (1, 0));
}
