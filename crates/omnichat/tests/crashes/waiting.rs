//! Turns that wait while something happens to their conversation, its memory, or its owner.

use serde_json::json;
use testkit::{Layout, Role, User, World, both_layouts, eventually, user::text};

use crate::{
    SLOW, SOON,
    ledger::{Ledger, ended},
    provider_was_called, sending, world,
};

both_layouts![
    turns_of_a_deleted_conversation_have_an_outcome_all_the_same,
    turns_left_open_in_a_deleted_conversation_have_an_outcome_too,
    each_waiting_turn_is_asked_its_own_question_however_little_is_remembered,
    waiting_turns_outlive_their_worker_however_little_is_remembered,
    an_attempt_that_is_known_already_is_no_reason_to_give_up_the_partition,
];

/// Questions that wait behind a slow one, sent in this order.
const WAITING: [&str; 3] = ["Bee?", "Sea?", "Dee?"];

/// Has so many turns accepted, one after the other.
async fn accepted(world: &World, turns: i64) {
    let what = format!("{turns} turns are accepted");
    eventually(&what, SOON, async || (Ledger::of(world).await.turns == turns).then_some(())).await;
}

/// A slow turn that runs, and three that wait behind it.
async fn queue(world: &World, ana: &User, conversation: &str) {
    drop(sending(ana, conversation, SLOW, "slow"));
    provider_was_called(world, 1).await;
    for (before, question) in (1..).zip(WAITING) {
        accepted(world, before).await;
        drop(sending(ana, conversation, question, question));
    }
    accepted(world, 4).await;
}

async fn turns_of_a_deleted_conversation_have_an_outcome_all_the_same(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    queue(&world, &ana, &conversation).await;
    ana.delete(&format!("/conversations/{conversation}")).await.ok();
    ana.send(&conversation, "Still there?").await.fault(404, "conversation_not_found");
    ended(&world, 4).await;
    assert_eq!(Ledger::of(&world).await.gaps, 0);
}

async fn turns_left_open_in_a_deleted_conversation_have_an_outcome_too(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    queue(&world, &ana, &conversation).await;
    world.kill(Role::Chat);
    sqlx::query("delete from conversations").execute(world.sql()).await.unwrap();
    world.restart(Role::Chat).await;
    ended(&world, 4).await;
    let ledger = Ledger::of(&world).await;
    assert_eq!((ledger.completed, ledger.answers), (0, 0), "nobody could read an answer");
    assert_eq!(world.provider().calls().len(), 1, "and none is paid for");
}

async fn each_waiting_turn_is_asked_its_own_question_however_little_is_remembered(layout: Layout) {
    let world = world(layout).set("chat.history_messages_max", 2).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    queue(&world, &ana, &conversation).await;
    ended(&world, 4).await;
    asked_in_order(&world, 1);
}

async fn waiting_turns_outlive_their_worker_however_little_is_remembered(layout: Layout) {
    let mut world = world(layout).set("chat.history_messages_max", 2).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    queue(&world, &ana, &conversation).await;
    world.kill(Role::Chat);
    world.restart(Role::Chat).await;
    ended(&world, 4).await;
    // Whether the first of them had been called for, nobody can know, so it counts as called; those behind it had not.
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(4, 1));
    asked_in_order(&world, 2);
}

/// The slow question so many times, then those that waited, each in a call of its own.
fn asked_in_order(world: &World, slow: usize) {
    let asked: Vec<_> = world
        .provider()
        .calls()
        .iter()
        .map(|call| call.messages[call.messages.len() - 1].content.to_string())
        .collect();
    assert_eq!(asked, [vec![SLOW; slow], WAITING.to_vec()].concat());
}

async fn an_attempt_that_is_known_already_is_no_reason_to_give_up_the_partition(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    drop(sending(&ana, &conversation, SLOW, "k1"));
    provider_was_called(&world, 1).await;
    world.kill(Role::Chat);
    // A hang between the load and the record, so that the attempt is known to the table and not to the conversation.
    let mut attempts = world.sql().begin().await.unwrap();
    sqlx::query("insert into attempts select id, 2, 'somebody', now() from turns")
        .execute(&mut *attempts)
        .await
        .unwrap();
    world.begin(Role::Chat);
    let found = async || world.logged(Role::Chat).contains("going on with it").then_some(());
    eventually("the turn is found", SOON, found).await;
    attempts.commit().await.unwrap();
    world.ready(Role::Chat).await;
    ended(&world, 1).await;
    let again = ana.send_with_key(&conversation, SLOW, "k1").await.ok();
    let turn = ana.get(&format!("/turns/{}", text(&again["turn_id"]))).await.ok();
    assert_eq!(turn["attempt"], json!(3));
    ana.send(&conversation, "And now?").await.ok();
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(2, 2));
}
