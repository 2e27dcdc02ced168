//! The conversations in memory: those that are idle leave when there are too many, and come back as they were.

use testkit::{Layout, User, World, eventually};

use crate::{SOON, world};

/// Several for each of the 16 partitions, wherever they happen to fall; also where the busy one is.
const CONVERSATIONS: usize = 120;
/// A partition asks only its own to leave, and not the one that has just come.
const LEFT_MAX: usize = 16;

async fn alive(world: &World) -> usize {
    let metrics = world.client().get("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let count = metrics.lines().find_map(|line| line.strip_prefix("omnichat_conversations_alive "));
    count.expect("it is counted").parse().unwrap()
}

async fn spoken_to(user: &User) -> String {
    let conversation = user.conversation().await;
    user.send(&conversation, &format!("the first of {conversation}")).await.ok();
    conversation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_are_idle_leave_when_there_are_too_many_and_come_back_whole() {
    let world = world(Layout::OneProcess).set("chat.conversations_max", 1).start().await;
    let ana = world.user().await;
    let busy = ana.conversation().await;
    let sender = ana.clone();
    let slow = {
        let busy = busy.clone();
        tokio::spawn(async move { sender.send(&busy, "slowly [[sim chunk_ms=100 chunks=100]]").await })
    };
    eventually("the call has begun", SOON, async || world.provider().calls().pop()).await;

    let first = spoken_to(&ana).await;
    for _ in 1..CONVERSATIONS {
        spoken_to(&ana).await;
    }
    let few = async || (alive(&world).await <= LEFT_MAX).then_some(());
    eventually("those that are idle have left", SOON, few).await;

    slow.await.unwrap().ok();
    let said = ana.send(&first, "and the second").await.ok();
    let calls = world.provider().calls();
    let told: Vec<_> = calls.last().unwrap().messages.iter().map(|it| it.content.to_string()).collect();
    assert_eq!(
        (told.len(), &*told[0]),
        (3, &*format!("the first of {first}")),
        "it is told what was said before"
    );
    assert_eq!(said["message"]["seq"], 3);
    assert_eq!(calls.len(), CONVERSATIONS + 2, "who had something in hand was left alone");
}
