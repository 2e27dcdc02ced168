//! Sessions: how they are renewed, and how they end.

use serde_json::{Value, json};
use testkit::{
    Client, Layout, User, both_layouts, eventually,
    user::{PASSWORD, text},
};

use crate::{NOWHERE, SOON, fields, world};

both_layouts![
    a_session_is_renewed_by_a_token_of_one_use,
    two_refreshes_at_a_time_bring_the_same_successor,
    a_token_shown_again_too_late_ends_its_session,
    what_is_no_refresh_token_is_refused,
    a_logout_ends_one_session,
    a_new_password_ends_every_session,
    a_disabled_user_is_out_within_a_minute,
    guessing_a_password_is_slowed_down,
    a_common_password_is_refused,
];

async fn log_in(client: &Client, user: &User) -> Value {
    client.post("/auth/login", json!({ "email": user.email, "password": PASSWORD })).await.ok()
}

async fn refresh(client: &Client, session: &Value) -> testkit::Answer {
    client.post("/auth/refresh", json!({ "refresh_token": session["refresh_token"] })).await
}

fn of(client: &Client, session: &Value) -> Client {
    client.with_token(&text(&session["access_token"]))
}

async fn a_session_is_renewed_by_a_token_of_one_use(layout: Layout) {
    let world = world(layout).start().await;
    let (client, ana) = (world.client(), world.user().await);
    let mut session = log_in(&client, &ana).await;
    for _ in 0..3 {
        let next = refresh(&client, &session).await.ok();
        assert_eq!(fields(&next), ["access_token", "expires_in", "refresh_token", "token_type"]);
        assert_ne!(next["refresh_token"], session["refresh_token"]);
        assert_eq!(of(&client, &next).get("/auth/me").await.ok()["id"], ana.id);
        session = next;
    }
    let stored = "select count(*) from refresh_tokens where encode(token_hash, 'escape') like $1";
    let shown = text(&session["refresh_token"]);
    let count: i64 =
        sqlx::query_scalar(stored).bind(format!("%{shown}%")).fetch_one(world.sql()).await.unwrap();
    assert_eq!(count, 0, "only a hash is stored");
}

async fn two_refreshes_at_a_time_bring_the_same_successor(layout: Layout) {
    let world = world(layout).start().await;
    let (client, ana) = (world.client(), world.user().await);
    for _ in 0..10 {
        let session = log_in(&client, &ana).await;
        let (one, two) = tokio::join!(refresh(&client, &session), refresh(&client, &session));
        let (one, two) = (one.ok(), two.ok());
        assert_eq!(one["refresh_token"], two["refresh_token"]);
        assert_eq!(refresh(&client, &session).await.ok()["refresh_token"], one["refresh_token"]);
        refresh(&client, &one).await.ok();
    }
}

async fn a_token_shown_again_too_late_ends_its_session(layout: Layout) {
    let world = world(layout).start().await;
    let (client, ana) = (world.client(), world.user().await);
    let (stolen, other) = (log_in(&client, &ana).await, log_in(&client, &ana).await);
    let next = refresh(&client, &stolen).await.ok();
    let earlier =
        "update refresh_tokens set used_at = used_at - interval '11 seconds' where used_at is not null";
    sqlx::query(earlier).execute(world.sql()).await.unwrap();
    refresh(&client, &stolen).await.fault(401, "invalid_token");
    refresh(&client, &next).await.fault(401, "invalid_token");
    of(&client, &next).get("/auth/me").await.fault(401, "invalid_token");
    refresh(&client, &other).await.ok();
}

async fn what_is_no_refresh_token_is_refused(layout: Layout) {
    let world = world(layout).start().await;
    let (client, ana) = (world.client(), world.user().await);
    let session = log_in(&client, &ana).await;
    let access = text(&session["access_token"]);
    let refused = async |token: &str| {
        let answer = client.post("/auth/refresh", json!({ "refresh_token": token })).await;
        answer.fault(401, "invalid_token");
    };
    for token in ["", "x", NOWHERE, &access, &"A".repeat(43)] {
        refused(token).await;
    }
    client
        .post("/auth/refresh", json!({ "refresh_token": "x".repeat(4097) }))
        .await
        .fault(422, "invalid_body");
    client.post("/auth/refresh", json!({})).await.fault(422, "invalid_body");
    let over = "update refresh_tokens set expires_at = now() - interval '1 second'";
    sqlx::query(over).execute(world.sql()).await.unwrap();
    refresh(&client, &session).await.fault(401, "invalid_token");
    let idle = log_in(&client, &ana).await;
    let old = "update refresh_tokens set created_at = now() - interval '8 days'";
    sqlx::query(old).execute(world.sql()).await.unwrap();
    refresh(&client, &idle).await.fault(401, "invalid_token");
    let disabled = log_in(&client, &ana).await;
    sqlx::query("update users set is_active = false").execute(world.sql()).await.unwrap();
    refresh(&client, &disabled).await.fault(401, "invalid_token");
}

async fn a_logout_ends_one_session(layout: Layout) {
    let world = world(layout).start().await;
    let (client, ana) = (world.client(), world.user().await);
    let (one, two) = (log_in(&client, &ana).await, log_in(&client, &ana).await);
    let bye = of(&client, &one).post_nothing("/auth/logout").await.ok();
    assert_eq!(bye, json!({ "message": "Logged out successfully" }));
    of(&client, &one).get("/auth/me").await.fault(401, "invalid_token");
    refresh(&client, &one).await.fault(401, "invalid_token");
    of(&client, &two).get("/auth/me").await.ok();
    refresh(&client, &two).await.ok();
}

async fn a_new_password_ends_every_session(layout: Layout) {
    let world = world(layout).start().await;
    let (client, ana) = (world.client(), world.user().await);
    let (one, two) = (log_in(&client, &ana).await, log_in(&client, &ana).await);
    let change = |current: &str, new: &str| json!({ "current": current, "new": new });
    let ana_once = of(&client, &one);
    ana_once
        .post("/auth/password", change("wrong password", "another password"))
        .await
        .fault(401, "invalid_credentials");
    ana_once.post("/auth/password", change(PASSWORD, "short")).await.fault(422, "invalid_body");
    ana_once.post("/auth/password", change(PASSWORD, "password1")).await.fault(422, "invalid_body");
    let new = "пароль with ünicode";
    ana_once.post("/auth/password", change(PASSWORD, new)).await.ok();
    ana_once.get("/auth/me").await.fault(401, "invalid_token");
    for session in [&one, &two] {
        refresh(&client, session).await.fault(401, "invalid_token");
    }
    client
        .post("/auth/login", json!({ "email": ana.email, "password": PASSWORD }))
        .await
        .fault(401, "invalid_credentials");
    client.post("/auth/login", json!({ "email": ana.email, "password": new })).await.ok();
}

async fn a_disabled_user_is_out_within_a_minute(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    ana.get("/projects").await.ok();
    sqlx::query("update users set is_active = false").execute(world.sql()).await.unwrap();
    let out = async || (ana.get("/projects").await.status == 401).then_some(());
    eventually("the user is out", 3 * SOON, out).await;
    ana.get("/projects").await.fault(401, "account_disabled");
}

async fn guessing_a_password_is_slowed_down(layout: Layout) {
    let world = world(layout).start().await;
    let (client, ana, ben) = (world.client(), world.user().await, world.user().await);
    let guess = async |email: &str, password: &str| {
        client.post("/auth/login", json!({ "email": email, "password": password })).await
    };
    for email in [ana.email.as_str(), "nobody@example.org"] {
        for _ in 0..5 {
            guess(email, "not the password").await.fault(401, "invalid_credentials");
        }
        let slowed = guess(&email.to_uppercase(), PASSWORD).await;
        slowed.fault(429, "rate_limited");
        assert!((1..=60).contains(&slowed.header("retry-after").parse::<u32>().unwrap()));
    }
    guess(&ben.email, PASSWORD).await.ok();
    let in_again = async || (guess(&ana.email, PASSWORD).await.status == 200).then_some(());
    eventually("the delay is over", SOON, in_again).await;
}

async fn a_common_password_is_refused(layout: Layout) {
    let world = world(layout).start().await;
    for password in ["password1", "Password1", "12345678"] {
        let account = json!({ "email": "ana@example.org", "password": password });
        let problem = world.client().post("/auth/register", account).await.fault(422, "invalid_body");
        assert_eq!(problem["errors"][0]["code"], "too_common", "{problem}");
    }
}
