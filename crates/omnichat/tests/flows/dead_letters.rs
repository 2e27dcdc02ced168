//! Turns that were given up: an operator finds them, and has them answered after all.

use serde_json::{Value, json};
use testkit::{Layout, Role, World, both_layouts, eventually, user::text};

use crate::{SOON, world};

both_layouts![
    a_turn_that_was_given_up_is_found_and_answered_after_all,
    a_turn_over_which_its_actor_fails_is_given_up_and_blocks_nobody,
];

async fn shown(world: &World, turn: &str) -> Value {
    serde_json::from_str(&world.command_line(&["dead-letters", "show", turn]).await).unwrap()
}

async fn a_turn_that_was_given_up_is_found_and_answered_after_all(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let question = "Tell me. [[sim hang]]";
    let (user, to) = (ana.clone(), conversation.clone());
    let sender = tokio::spawn(async move { user.try_send_with_key(&to, question, "k1").await });
    let called = async || (world.provider().counters().running == 1).then_some(());
    eventually("the provider is called", SOON, called).await;
    assert_eq!(world.command_line(&["dead-letters", "list"]).await, "");
    // As if two other processes had died of it before.
    let attempts =
        "insert into attempts select t.id, n, 'somebody', now() from turns t, generate_series(2, 3) n";
    sqlx::query(attempts).execute(world.sql()).await.unwrap();
    world.restart(Role::Chat).await;
    let given_up = async || {
        let again = ana.send_with_key(&conversation, question, "k1").await;
        (again.status == 502).then(|| text(&again.fault(502, "attempts_exhausted")["turn_id"]))
    };
    let turn = eventually("the turn is given up", SOON, given_up).await;
    sender.abort();
    assert_eq!(world.provider().calls().len(), 1, "it is not called for a fourth time");

    let listed = world.command_line(&["dead-letters", "list"]).await;
    assert_eq!(listed.lines().count(), 1);
    assert!(listed.contains(&turn) && listed.contains(&ana.id) && listed.contains("redriven -"), "{listed}");
    let letter = shown(&world, &turn).await;
    assert_eq!((&letter["attempts"], &letter["conversation"]), (&json!(3), &json!(conversation)));
    assert_eq!(letter["reason"], "the processes that called for it ended");

    // The directive stands in the question; only what is said later is told to be quick.
    sqlx::query("alter table messages disable trigger messages_are_facts")
        .execute(world.sql())
        .await
        .unwrap();
    sqlx::query("update messages set content = 'Tell me.'").execute(world.sql()).await.unwrap();
    world.restart(Role::Chat).await;
    let redriven = world.command_line(&["dead-letters", "redrive", &turn]).await;
    assert_eq!(world.command_line(&["dead-letters", "redrive", &turn]).await, redriven, "once is enough");
    let new_turn = text(&shown(&world, &turn).await["redriven_as"]);
    assert!(redriven.contains(&new_turn), "{redriven}");
    let new_turn = ana.get(&format!("/turns/{new_turn}")).await.ok();
    assert_eq!((&new_turn["kind"], &new_turn["status"]), (&json!("regenerate"), &json!("completed")));
    assert_eq!(ana.get(&format!("/turns/{turn}")).await.ok()["status"], "failed", "an outcome never changes");
    assert_eq!(ana.history(&conversation).await.len(), 2);
    assert_eq!(world.provider().calls().len(), 2);
}

/// The database refuses to store how this turn ended, whatever that is, so that its actor has no way on and fails.
const POISON: &str = "
    create function refuse_poison() returns trigger language plpgsql as $$
    begin
        if new.fault_code is distinct from 'attempts_exhausted'
           and exists (select from turns t join messages m on m.id = t.user_message_id
                       where t.id = new.turn_id and m.content = 'poison') then
            raise exception 'poison' using errcode = 'check_violation';
        end if;
        return new;
    end $$;
    create trigger poison before insert on outcomes for each row execute function refuse_poison();";

async fn a_turn_over_which_its_actor_fails_is_given_up_and_blocks_nobody(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    sqlx::raw_sql(POISON).execute(world.sql()).await.unwrap();
    let conversation = ana.conversation().await;
    let partition = |id: &str| wire::subject::partition_of(id.parse().unwrap(), 16);
    let mut neighbour = ana.conversation().await;
    while partition(&neighbour) != partition(&conversation) {
        neighbour = ana.conversation().await;
    }
    let (user, to) = (ana.clone(), conversation.clone());
    let poisoned = tokio::spawn(async move { user.send(&to, "poison").await });
    let called = async || (!world.provider().calls().is_empty()).then_some(());
    eventually("the provider is called", SOON, called).await;
    let (user, to) = (ana.clone(), conversation.clone());
    let behind = tokio::spawn(async move { user.send(&to, "behind").await });
    let mut answered = 0;
    while !poisoned.is_finished() {
        ana.send(&neighbour, "hi").await.ok();
        answered += 1;
    }
    assert!(answered > 10, "the partition went on: {answered}");
    poisoned.await.unwrap().fault(502, "attempts_exhausted");
    behind.await.unwrap().ok();
    let calls = world.provider().calls();
    let poison = calls.iter().filter(|call| call.messages.last().unwrap().content == *"poison");
    assert_eq!(poison.count(), 3);
    let listed = world.command_line(&["dead-letters", "list"]).await;
    assert!(listed.contains("the actor that had it in hand failed, 3 times in a row"), "{listed}");
}
