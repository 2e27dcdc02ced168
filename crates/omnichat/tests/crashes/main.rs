//! What is accepted is answered exactly once, whatever is killed, cut, lost or told to stop meanwhile.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "a test awaits the tasks it spawns, or ends with them")]

mod cancels;
mod cluster;
mod connections;
mod drain;
mod ledger;
mod load;
mod plans;
mod queue;
mod store;
mod waiting;
mod workers;

use std::time::Duration;

use testkit::{Answer, Layout, User, World, WorldBuilder, eventually};
use tokio::task::JoinHandle;

/// Longer than the way back from any crash takes.
const SOON: Duration = Duration::from_secs(30);
/// A question that is answered in two seconds, word by word.
const SLOW: &str = "Tell me. [[sim first_ms=100 chunk_ms=60]]";

fn world(layout: Layout) -> WorldBuilder {
    World::builder(env!("CARGO_BIN_EXE_omnichat"), layout)
}

/// A send that goes on while the test does something else.
fn sending(
    user: &User,
    conversation: &str,
    content: &str,
    key: &str,
) -> JoinHandle<Result<Answer, reqwest::Error>> {
    let (user, conversation) = (user.clone(), conversation.to_owned());
    let (content, key) = (content.to_owned(), key.to_owned());
    tokio::spawn(async move { user.try_send_with_key(&conversation, &content, &key).await })
}

/// Waits until the provider has been called this often, and the last calls are at work.
async fn provider_was_called(world: &World, times: usize) {
    let what = format!("the provider is called {times} times");
    eventually(&what, SOON, async || {
        let calls = world.provider().calls();
        (calls.len() == times && calls.last()?.ended.is_none()).then_some(())
    })
    .await;
}
