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

/// Messages that were read so far.
async fn fetched(world: &World) -> i64 {
    scans(world).await;
    let rows =
        "select (idx_tup_fetch + seq_tup_read)::bigint from pg_stat_user_tables where relname = 'messages'";
    sqlx::query_scalar(rows).fetch_one(world.sql()).await.unwrap()
}

/// 10,000 messages, of which the model is told a hundred.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_of_a_long_conversation_reads_no_more_than_its_window() {
    let mut world = world(Layout::OneProcess).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = ana.send(&conversation, "hi").await.ok();
    // On a connection that is closed then: what it read itself is reported before we count.
    let mut connection = world.sql().acquire().await.unwrap().detach();
    for sql in [
        "insert into turns (id, conversation_id, user_id, partition, seq, body_hash, kind, user_message_id, model, created_at)
         select ('01920000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, conversation_id, user_id, partition, n, body_hash,
                'send', ('01920000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, model, created_at
         from turns, generate_series(1, 4999) n",
        "insert into outcomes (turn_id, status, assistant_message_id, finished_at)
         select id, 'completed', id, created_at from turns where seq > 0",
        "insert into messages (id, conversation_id, parent_id, turn_id, seq, role, content, created_at)
         select t.user_message_id, t.conversation_id, p.id, t.id, 2 * t.seq, 'user', 'question ' || t.seq, t.created_at
         from turns t join turns p on p.seq = t.seq - 1",
        "insert into messages (id, conversation_id, parent_id, turn_id, seq, role, content, created_at)
         select id, conversation_id, user_message_id, id, 2 * seq + 1, 'assistant', 'answer ' || seq, created_at
         from turns where seq > 0",
        "vacuum analyze",
        "select pg_stat_force_next_flush()",
    ] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    sqlx::Connection::close(connection).await.unwrap();
    assert_eq!(world.terminate(Role::Chat).await, Exit::SUCCESS);
    let before = fetched(&world).await;
    world.restart(Role::Chat).await;
    ana.send(&conversation, "And now?").await.ok();
    let turn = first["turn_id"].as_str().unwrap();
    ana.post(&format!("/turns/{turn}/regenerate"), serde_json::json!({})).await.ok();
    let middle =
        serde_json::json!({ "content": "again", "parent_id": "01920000-0000-7000-8000-0000000009c4" });
    ana.post(&format!("/conversations/{conversation}/messages"), middle).await.ok();
    assert_eq!(world.provider().calls().last().unwrap().messages.len(), 99, "the window is full");
    assert_eq!(world.terminate(Role::Chat).await, Exit::SUCCESS);
    let read = fetched(&world).await - before;
    assert!(read < 3_000, "{read} messages were read");
}
