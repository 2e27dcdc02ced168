//! What a turn costs does not grow with what is stored.

use testkit::{Exit, Layout, Role, World, eventually};

use crate::{SOON, world};

/// The tables of a turn's path.
const TABLES: [&str; 5] = ["conversations", "messages", "outcomes", "partition_owner", "turns"];

/// How often each table was read from end to end. A server process reports what it did when it ends, so this waits until
/// all but our own have ended.
async fn scans(world: &World) -> Vec<i64> {
    eventually("the program's connections are closed", SOON, async || {
        let others = "select count(*) from pg_stat_activity where datname = current_database()
                      and application_name like 'omnichat%'";
        let others: i64 = sqlx::query_scalar(others).fetch_one(world.sql()).await.unwrap();
        (others == 0).then_some(())
    })
    .await;
    let scans = "select seq_scan from pg_stat_user_tables where relname = any ($1) order by relname";
    sqlx::query_scalar(scans).bind(&TABLES[..]).fetch_all(world.sql()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_scan_no_table_though_all_were_empty_at_first() {
    let mut world = world(Layout::OneProcess).start().await;
    let ana = world.user().await;
    // From now on Postgres knows that the tables are empty, and would rather scan them than use an index.
    sqlx::query("vacuum analyze").execute(world.sql()).await.unwrap();
    let talk = async |world: &mut World, turns: usize| {
        let before = scans(world).await;
        world.restart(Role::Chat).await;
        let conversations = [ana.conversation().await, ana.conversation().await];
        for turn in 0..turns {
            ana.send(&conversations[turn % 2], "hi").await.ok();
        }
        assert_eq!(world.terminate(Role::Chat).await, Exit::SUCCESS);
        let after = scans(world).await;
        before.iter().zip(after).map(|(before, after)| after - before).collect::<Vec<_>>()
    };
    assert_eq!(world.terminate(Role::Chat).await, Exit::SUCCESS);
    let few = talk(&mut world, 2).await;
    let many = talk(&mut world, 200).await;
    assert_eq!(many, few, "scans of {TABLES:?} do not grow with the turns");
}
