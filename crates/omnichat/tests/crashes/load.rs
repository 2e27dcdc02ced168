//! Many conversations at once.

use std::{collections::HashMap, sync::Arc};

use llm::{Message, Role, simulator::answer};
use testkit::{Layout, User};
use tokio::sync::Semaphore;

use crate::{ledger::Ledger, world};

const USERS: usize = 8;
const CONVERSATIONS: usize = 200;
const TURNS: usize = 10;
const CONCURRENCY: usize = 64;

/// What is said in the beginning names the conversation, so that the provider's log can be told apart.
fn question(conversation: usize, turn: usize) -> String {
    format!("conversation {conversation}, question {turn}")
}

/// The whole conversation, as it must be.
fn talk(conversation: usize) -> Vec<Message> {
    let mut said = Vec::new();
    for turn in 0..TURNS {
        said.push(Message::user(question(conversation, turn)));
        said.push(Message::assistant(answer(&said)));
    }
    said
}

async fn hold(user: User, number: usize, permits: Arc<Semaphore>) -> String {
    let conversation = user.conversation().await;
    let expected = talk(number);
    for turn in 0..TURNS {
        let permit = permits.acquire().await.unwrap();
        let sent = user.send(&conversation, &question(number, turn)).await.ok();
        drop(permit);
        assert_eq!(
            sent["response"],
            expected[2 * turn + 1].content.to_string(),
            "conversation {number}, turn {turn}"
        );
        assert_eq!(sent["message"]["seq"], 2 * turn + 1);
    }
    conversation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_conversations_are_held_at_once() {
    let world = world(Layout::OneProcess).pace(5, 0).start().await;
    let mut users = Vec::new();
    for _ in 0..USERS {
        users.push(world.user().await);
    }
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let talks: Vec<_> = (0..CONVERSATIONS)
        .map(|number| tokio::spawn(hold(users[number % USERS].clone(), number, permits.clone())))
        .collect();
    let mut ids = Vec::new();
    for talk in talks {
        ids.push(talk.await.unwrap());
    }
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered((CONVERSATIONS * TURNS) as i64, 0));

    let mut calls: HashMap<String, Vec<Vec<Message>>> = HashMap::new();
    for call in world.provider().calls() {
        calls.entry(call.messages[0].content.to_string()).or_default().push(call.messages);
    }
    for number in 0..CONVERSATIONS {
        let expected = talk(number);
        let told = &calls[&question(number, 0)];
        assert_eq!(told.len(), TURNS, "one call per turn");
        for (turn, told) in told.iter().enumerate() {
            assert!(
                *told == expected[..=2 * turn],
                "conversation {number}, call {turn}: exactly what came before"
            );
        }
        let kept = users[number % USERS].history(&ids[number]).await;
        let role = |message: &Message| if message.role == Role::User { "user" } else { "assistant" };
        let expected: Vec<_> =
            expected.iter().map(|it| (role(it).to_owned(), it.content.to_string())).collect();
        assert_eq!(kept, expected);
    }
}
