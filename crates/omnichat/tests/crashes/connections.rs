//! Servers that go away and come back while turns run.

use llm::{Message, simulator::answer};
use testkit::{Layout, User, both_layouts};

use crate::{
    SLOW,
    ledger::{Ledger, ended},
    provider_was_called, sending, world,
};

both_layouts![turns_outlive_a_restart_of_nats, turns_outlive_the_connections_to_postgres];

const TALKS: usize = 5;

async fn conversations(user: &User) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..TALKS {
        all.push(user.conversation().await);
    }
    all
}

async fn turns_outlive_a_restart_of_nats(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversations = conversations(&ana).await;
    let senders: Vec<_> =
        conversations.iter().map(|conversation| sending(&ana, conversation, SLOW, conversation)).collect();
    provider_was_called(&world, TALKS).await;
    world.restart_nats().await;
    for sender in senders {
        let sent = sender.await.unwrap().unwrap().ok();
        assert_eq!(sent["response"], answer(&[Message::user(SLOW)]), "who waited is answered");
    }
    for conversation in &conversations {
        ana.send(conversation, "And now?").await.ok();
    }
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(2 * TALKS as i64, 0));
    assert_eq!(world.provider().calls().len(), 2 * TALKS);
}

async fn turns_outlive_the_connections_to_postgres(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversations = conversations(&ana).await;
    let cut = async || {
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid()";
        sqlx::query(cut).execute(world.sql()).await.unwrap();
    };
    let senders: Vec<_> =
        conversations.iter().map(|conversation| sending(&ana, conversation, SLOW, conversation)).collect();
    provider_was_called(&world, TALKS).await;
    cut().await;
    for sender in senders {
        let sent = sender.await.unwrap().unwrap().ok();
        assert_eq!(sent["response"], answer(&[Message::user(SLOW)]));
    }
    cut().await;
    for conversation in &conversations {
        ana.send(conversation, "And now?").await.ok();
    }
    ended(&world, 2 * TALKS as i64).await;
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(2 * TALKS as i64, 0));
    assert_eq!(world.provider().calls().len(), 2 * TALKS);
}
