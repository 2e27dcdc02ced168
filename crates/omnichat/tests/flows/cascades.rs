//! What goes with what is deleted: unreadable at once, removed for good later.

use serde_json::{Value, json};
use testkit::{Answer, Layout, User, World, both_layouts, eventually, user::text};

use crate::{NOWHERE, SOON, world};

both_layouts![
    what_goes_with_a_conversation_a_project_or_a_user_is_nowhere,
    a_conversation_is_deleted_once,
    what_was_deleted_is_removed_for_good,
];

/// A conversation with one turn, sent with a key.
struct Talk {
    conversation: String,
    turn: String,
    key: String,
}

async fn talk(user: &User, project: &str, key: &str) -> Talk {
    let conversation = text(&user.post("/conversations", json!({ "project_id": project })).await.ok()["id"]);
    let turn = text(&user.send_with_key(&conversation, "hi", key).await.ok()["turn_id"]);
    Talk { conversation, turn, key: key.into() }
}

/// What every way to a conversation's things answers.
async fn reads(world: &World, user: &User, of: &Talk) -> Vec<Answer> {
    let path = format!("/conversations/{}", of.conversation);
    let nats = world.nats_as(user).await;
    let find = format!("omnichat.v1.u.{}.turns.find", user.id);
    let found = nats.request(&find, &[], json!({ "idempotency_key": of.key }).to_string()).await;
    assert_eq!(found.json()["code"], "turn_not_found");
    vec![
        user.get(&path).await,
        user.get(&format!("{path}/messages")).await,
        user.get(&format!("{path}/messages?branch=all&limit=1")).await,
        user.patch(&path, json!({ "title": "t" })).await,
        user.delete(&path).await,
        user.send_with_key(&of.conversation, "hi", &of.key).await,
        user.send(&of.conversation, "again").await,
        user.get(&format!("/turns/{}", of.turn)).await,
    ]
}

/// A fault's body without the names of the request.
fn said(answer: &Answer) -> (u16, Value) {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    body.as_object_mut().unwrap().remove("request_id");
    (answer.status, body)
}

async fn what_goes_with_a_conversation_a_project_or_a_user_is_nowhere(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, ben) = (world.user().await, world.user().await);
    let (project, other) = (ana.project().await, ana.project().await);
    let alone = talk(&ana, &other, "k1").await;
    let of_project = talk(&ana, &project, "k2").await;
    let kept = talk(&ana, &other, "k3").await;
    let of_user = talk(&ben, &ben.project().await, "k1").await;
    let calls = world.provider().calls().len();

    // Who is connected stays so for some seconds, and finds nothing.
    let nats = world.nats_as(&ben).await;
    ana.delete(&format!("/conversations/{}", alone.conversation)).await.ok();
    ana.delete(&format!("/projects/{project}")).await.ok();
    ana.get(&format!("/conversations/project/{project}")).await.fault(404, "project_not_found");
    sqlx::query("delete from users where id = $1::uuid").bind(&ben.id).execute(world.sql()).await.unwrap();

    let never = Talk { conversation: NOWHERE.into(), turn: NOWHERE.into(), key: "never".into() };
    let nothing: Vec<_> = reads(&world, &ana, &never).await.iter().map(said).collect();
    assert!(nothing.iter().all(|(status, _)| *status == 404), "{nothing:?}");
    for gone in [&alone, &of_project] {
        let answers: Vec<_> = reads(&world, &ana, gone).await.iter().map(said).collect();
        assert_eq!(answers, nothing, "as if it had never been");
    }
    for (path, code) in [
        (format!("conversations.{}.get", of_user.conversation), "conversation_not_found"),
        (format!("conversations.{}.messages", of_user.conversation), "conversation_not_found"),
        (format!("turns.{}.get", of_user.turn), "turn_not_found"),
    ] {
        let answer = nats.request(&format!("omnichat.v1.u.{}.{path}", ben.id), &[], "").await;
        assert_eq!(answer.json()["code"], code);
    }
    let send = format!("omnichat.v1.u.{}.conversations.{}.send", ben.id, of_user.conversation);
    let answer = nats.request(&send, &[], r#"{"content":"hi"}"#).await;
    assert_eq!(answer.json()["code"], "conversation_not_found");

    assert_eq!(world.provider().calls().len(), calls, "nothing was asked for what is gone");
    assert_eq!(ana.history(&kept.conversation).await.len(), 2);
    ana.send(&kept.conversation, "go on").await.ok();
}

async fn a_conversation_is_deleted_once(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let path = format!("/conversations/{conversation}");
    ana.delete(&path).await.ok();
    ana.delete(&path).await.fault(404, "conversation_not_found");
    ana.send(&conversation, "hi").await.fault(404, "conversation_not_found");
    assert!(world.provider().calls().is_empty());
}

/// Rows that are left of a conversation and of its turn.
async fn rows(world: &World, of: &Talk) -> i64 {
    let sql = "select (select count(*) from conversations where id = $1::uuid)
                    + (select count(*) from deleted_conversations where id = $1::uuid)
                    + (select count(*) from turns where conversation_id = $1::uuid)
                    + (select count(*) from messages where conversation_id = $1::uuid)
                    + (select count(*) from outcomes where turn_id = $2::uuid)
                    + (select count(*) from attempts where turn_id = $2::uuid)
                    + (select count(*) from cancels where turn_id = $2::uuid)
                    + (select count(*) from partial_answers where turn_id = $2::uuid)
                    + (select count(*) from dead_letters where turn_id = $2::uuid)
                    + (select count(*) from redrives where turn_id = $2::uuid)";
    sqlx::query_scalar(sql).bind(&of.conversation).bind(&of.turn).fetch_one(world.sql()).await.unwrap()
}

async fn what_was_deleted_is_removed_for_good(layout: Layout) {
    let world = world(layout).set("chat.purge_every_s", 1).set("chat.purge_after_hours", 1).start().await;
    let ana = world.user().await;
    let (project, other) = (ana.project().await, ana.project().await);
    let alone = talk(&ana, &other, "k1").await;
    let of_project = talk(&ana, &project, "k2").await;
    let (kept, young) = (talk(&ana, &other, "k3").await, talk(&ana, &other, "k4").await);
    let sql = async |sql: &'static str, of: &Talk| {
        sqlx::query(sql).bind(&of.conversation).execute(world.sql()).await.unwrap();
    };
    let more = "insert into turns (id, conversation_id, user_id, partition, seq, body_hash, kind, user_message_id, model, created_at)
                select gen_random_uuid(), conversation_id, user_id, 0, n, body_hash, 'send', gen_random_uuid(), model, created_at
                from turns, generate_series(1, 120) n where conversation_id = $1::uuid";
    sql(more, &of_project).await;
    let questions = "insert into messages (id, conversation_id, turn_id, seq, role, content, created_at)
                     select user_message_id, conversation_id, id, 2 * seq, 'user', 'hi', created_at
                     from turns where conversation_id = $1::uuid and seq > 0";
    sql(questions, &of_project).await;
    for insert in [
        "insert into attempts select id, 2, 'w', now() from turns where conversation_id = $1::uuid",
        "insert into cancels select id, now() from turns where conversation_id = $1::uuid",
        "insert into partial_answers select id, 'so far', now() from turns where conversation_id = $1::uuid",
        "insert into dead_letters select id, conversation_id, user_id, 'r', now() from turns where conversation_id = $1::uuid",
        "insert into redrives select id, id, now() from turns where conversation_id = $1::uuid",
    ] {
        sql(insert, &of_project).await;
        sql(insert, &alone).await;
    }
    ana.delete(&format!("/projects/{project}")).await.ok();
    for of in [&alone, &young] {
        ana.delete(&format!("/conversations/{}", of.conversation)).await.ok();
    }
    let untouched = [rows(&world, &kept).await, rows(&world, &young).await];
    ana.send_with_key(&kept.conversation, "hi", "k1").await.fault(422, "idempotency_key_reused");

    let aged = "update conversations set deleted_at = now() - interval '61 minutes' where id = $1::uuid";
    sql(aged, &alone).await;
    let aged =
        "update deleted_conversations set deleted_at = now() - interval '61 minutes' where id = $1::uuid";
    sql(aged, &of_project).await;
    eventually("what was deleted is removed", SOON, async || {
        (rows(&world, &alone).await + rows(&world, &of_project).await == 0).then_some(())
    })
    .await;
    assert_eq!([rows(&world, &kept).await, rows(&world, &young).await], untouched);
    ana.get(&format!("/turns/{}", young.turn)).await.fault(404, "turn_not_found");
    ana.send_with_key(&kept.conversation, "hi", "k1").await.ok();
}
