//! What a new owner of partitions reads before it goes on.

use testkit::{Layout, Role, eventually};
use tokio::task::JoinSet;

use crate::{SOON, world};

/// More than a BRIN index sums up in one piece.
const TURNS: i64 = 1000;
/// It looks through a day, ten minutes at a time.
const LOOKS: i64 = 144;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_reads_recent_turns_once() {
    let mut world = world(Layout::ProcessPerRole).start().await;
    let ana = world.user().await;
    let mut sending = JoinSet::new();
    for conversation in 0..8 {
        let (ana, conversation) = (ana.clone(), (conversation, ana.conversation().await));
        sending.spawn(async move {
            for turn in (conversation.0..TURNS).step_by(8) {
                ana.send(&conversation.1, &format!("turn {turn}")).await.ok();
            }
        });
    }
    sending.join_all().await;
    world.terminate(Role::Chat).await;
    // What a process has read is counted when its connections end.
    let reset = "select pg_stat_reset_single_table_counters('turns_recent'::regclass)";
    sqlx::query(reset).execute(world.sql()).await.unwrap();
    world.begin(Role::Chat);
    world.ready(Role::Chat).await;

    let read = eventually("it has looked through the day", SOON, async || {
        let counted: (i64, i64) = sqlx::query_as(
            "select idx_scan, idx_tup_read from pg_stat_user_indexes where indexrelname = 'turns_recent'",
        )
        .fetch_one(world.sql())
        .await
        .unwrap();
        (counted.0 >= LOOKS).then_some(counted.1)
    })
    .await;
    assert!(read < 3 * TURNS, "{read} entries for {TURNS} turns");
    let conversation = ana.conversation().await;
    ana.send(&conversation, "and on").await.ok();
}
