//! API keys: made, used in the place of tokens, taken back.

use serde_json::{Value, json};
use testkit::{Client, Layout, User, both_layouts, eventually, user::text};

use crate::{NOWHERE, SOON, fields, world};

both_layouts![
    a_key_is_shown_once_and_used_like_a_token,
    a_key_does_what_its_scopes_say,
    a_key_that_was_taken_back_or_ended_is_refused,
    a_key_of_somebody_else_is_not_found,
    what_is_wrong_with_a_key_is_told,
];

async fn made(user: &User, request: Value) -> (Client, Value) {
    let key = user.post("/auth/api-keys", request).await.ok();
    (user.with_token(&text(&key["key"])), key)
}

async fn a_key_is_shown_once_and_used_like_a_token(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (service, key) = made(&ana, json!({ "name": "a script" })).await;
    assert_eq!(
        fields(&key),
        ["created_at", "expires_at", "id", "key", "last_used_at", "name", "prefix", "scopes"]
    );
    assert!(text(&key["key"]).starts_with(&text(&key["prefix"])));
    assert_eq!(key["scopes"], json!(["read", "chat", "admin"]));
    assert_eq!(service.get("/auth/me").await.ok()["id"], ana.id);
    let project = text(&service.post("/projects", json!({ "name": "by key" })).await.ok()["id"]);
    assert_eq!(ana.get(&format!("/projects/{project}")).await.ok()["name"], "by key");

    let listed = ana.get("/auth/api-keys").await.ok();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(
        fields(&listed[0]),
        ["created_at", "expires_at", "id", "last_used_at", "name", "prefix", "scopes"]
    );
    assert!(listed[0]["last_used_at"].is_string());
    let stored: Vec<u8> =
        sqlx::query_scalar("select secret_hash from api_keys").fetch_one(world.sql()).await.unwrap();
    assert_eq!(stored.len(), 32, "only a hash is stored");
    service.post_nothing("/auth/logout").await.fault(403, "insufficient_scope");
}

async fn a_key_does_what_its_scopes_say(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let messages = format!("/conversations/{conversation}/messages");
    let hello = json!({ "content": "Hello" });
    let (reader, _) = made(&ana, json!({ "name": "r", "scopes": ["read"] })).await;
    reader.get(&messages).await.ok();
    reader.get("/projects").await.ok();
    let problem = reader.post(&messages, hello.clone()).await.fault(403, "insufficient_scope");
    assert!(text(&problem["detail"]).contains("chat"), "{problem}");
    reader.post("/projects", json!({ "name": "n" })).await.fault(403, "insufficient_scope");
    reader.post("/auth/api-keys", json!({ "name": "n" })).await.fault(403, "insufficient_scope");
    let (chatter, _) = made(&ana, json!({ "name": "c", "scopes": ["chat", "read"] })).await;
    chatter.post(&messages, hello).await.ok();
    chatter.delete(&format!("/conversations/{conversation}")).await.fault(403, "insufficient_scope");
    assert_eq!(ana.get("/projects").await.ok().as_array().unwrap().len(), 1, "nothing was made");
}

async fn a_key_that_was_taken_back_or_ended_is_refused(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (service, key) = made(&ana, json!({ "name": "a", "expires_at": "2999-01-01T00:00:00Z" })).await;
    service.get("/projects").await.ok();
    let path = format!("/auth/api-keys/{}", text(&key["id"]));
    assert_eq!(ana.delete(&path).await.ok(), json!({ "message": "API key deleted successfully" }));
    ana.delete(&path).await.fault(404, "api_key_not_found");
    let out = async || (service.get("/projects").await.status == 401).then_some(());
    eventually("the key is refused", 3 * SOON, out).await;
    assert_eq!(ana.get("/auth/api-keys").await.ok(), json!([]));

    let (ended, _) = made(&ana, json!({ "name": "b", "expires_at": "2999-01-01T00:00:00Z" })).await;
    sqlx::query("update api_keys set expires_at = now() - interval '1 second'")
        .execute(world.sql())
        .await
        .unwrap();
    ended.get("/projects").await.fault(401, "token_expired");
    let typo = format!("{}x", &text(&key["key"])[..60]);
    ana.with_token(&typo).get("/projects").await.fault(401, "invalid_token");
    ana.with_token("oc_").get("/projects").await.fault(401, "invalid_token");
}

async fn a_key_of_somebody_else_is_not_found(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, ben) = (world.user().await, world.user().await);
    let (service, key) = made(&ana, json!({ "name": "a" })).await;
    let foreign = ben.delete(&format!("/auth/api-keys/{}", text(&key["id"]))).await;
    foreign.fault(404, "api_key_not_found");
    ben.delete(&format!("/auth/api-keys/{NOWHERE}")).await.fault(404, "api_key_not_found");
    ben.delete("/auth/api-keys/x").await.fault(404, "api_key_not_found");
    assert_eq!(ben.get("/auth/api-keys").await.ok(), json!([]));
    service.get("/projects").await.ok();
}

async fn what_is_wrong_with_a_key_is_told(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    for (request, field) in [
        (json!({}), "name"),
        (json!({ "name": " " }), "name"),
        (json!({ "name": "n", "scopes": [] }), "scopes"),
        (json!({ "name": "n", "scopes": ["root"] }), "scopes[0]"),
        (json!({ "name": "n", "expires_at": "2001-01-01T00:00:00Z" }), "expires_at"),
        (json!({ "name": "n", "expires_at": "tomorrow" }), "expires_at"),
        (json!({ "name": "n", "user_id": NOWHERE }), "user_id"),
    ] {
        let problem = ana.post("/auth/api-keys", request.clone()).await.fault(422, "invalid_body");
        assert_eq!(problem["errors"][0]["field"], field, "{request}: {problem}");
    }
    for number in 0..100 {
        ana.post("/auth/api-keys", json!({ "name": format!("key {number}") })).await.ok();
    }
    ana.post("/auth/api-keys", json!({ "name": "one more" })).await.fault(422, "invalid_body");
}
