//! All that NATS has stored is lost while many turns run.

use std::collections::HashMap;

use llm::simulator::Script;
use testkit::{Layout, Role, User, World, both_layouts, eventually};

use crate::{
    SOON,
    ledger::{Ledger, ended},
    sending, world,
};

both_layouts![every_turn_outlives_the_loss_of_all_that_nats_has_stored];

const USERS: usize = 8;
const TALKS: usize = 25;
const TURNS: usize = USERS * TALKS;
const QUESTION: &str = "What now?";

/// Waits until every turn is accepted, and the model is being called for it.
async fn all_are_open(world: &World) {
    eventually("every turn runs", SOON, async || {
        let calls = world.provider().calls();
        (calls.iter().filter(|call| call.ended.is_none()).count() == TURNS).then_some(())
    })
    .await;
    let ledger = Ledger::of(world).await;
    assert_eq!((ledger.turns, ledger.outcomes), (TURNS as i64, 0), "all are open when the store goes");
}

/// As an operator does then: the streams are made anew, and chat is started again.
async fn every_turn_outlives_the_loss_of_all_that_nats_has_stored(layout: Layout) {
    let mut world = world(layout).start().await;
    let mut talks: Vec<(User, String)> = Vec::new();
    for _ in 0..USERS {
        let user = world.user().await;
        for _ in 0..TALKS {
            let conversation = user.conversation().await;
            talks.push((user.clone(), conversation));
        }
    }
    world.provider().play(Script { hang: true, ..Script::default() });
    let senders: Vec<_> = talks
        .iter()
        .map(|(user, conversation)| sending(user, conversation, QUESTION, conversation))
        .collect();
    all_are_open(&world).await;
    world.lose_nats_store().await;
    world.provider().play(Script::default());
    world.restart(Role::Chat).await;
    ended(&world, TURNS as i64).await;
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(TURNS as i64, TURNS as i64));

    let mut calls: HashMap<String, usize> = HashMap::new();
    for call in world.provider().calls() {
        let (turn, _) = call.call_id.rsplit_once(':').unwrap();
        *calls.entry(turn.to_owned()).or_default() += 1;
    }
    assert_eq!(calls.len(), TURNS);
    assert!(calls.values().all(|calls| *calls <= 3), "{calls:?}");
    for (sender, (user, conversation)) in senders.into_iter().zip(&talks) {
        let again = user.send_with_key(conversation, QUESTION, conversation).await.ok();
        assert_eq!(user.history(conversation).await[1].1, again["response"], "what is kept is what is told");
        // Who waited all the time has heard the same, unless the process that it asked was killed as well.
        if let Ok(Ok(answer)) = sender.await {
            assert_eq!(answer.ok()["turn_id"], again["turn_id"]);
        }
    }
}
