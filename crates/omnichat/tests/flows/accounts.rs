//! Registering, logging in, and who may come in at all.

use reqwest::Method;
use serde_json::json;
use testkit::{
    Client, Layout, both_layouts,
    user::{PASSWORD, text},
};

use crate::{NOWHERE, fields, world};

both_layouts![
    an_account_is_made_and_used,
    an_address_is_taken_in_any_case,
    a_wrong_password_and_an_unknown_address_look_alike,
    a_hash_of_the_first_omnichat_logs_in_and_is_renewed,
    nothing_but_a_good_token_comes_in,
    a_disabled_account_is_out_at_once,
    an_answer_names_its_request,
];

async fn an_account_is_made_and_used(layout: Layout) {
    let world = world(layout).start().await;
    let client = world.client();
    let account = json!({ "email": "Ana@Example.org", "password": PASSWORD });

    let user = client.post("/auth/register", account.clone()).await.ok();
    assert_eq!(fields(&user), ["created_at", "email", "id"]);
    assert_eq!(user["email"], "ana@example.org");
    assert!(text(&user["created_at"]).ends_with('Z'));

    let session = client.post("/auth/login", account).await.ok();
    assert_eq!(fields(&session), ["access_token", "expires_in", "refresh_token", "token_type"]);
    assert_eq!((&session["token_type"], &session["expires_in"]), (&json!("bearer"), &json!(1800)));

    let ana = client.with_token(&text(&session["access_token"]));
    assert_eq!(ana.get("/auth/validate").await.ok(), json!({ "user_id": user["id"], "valid": true }));
    assert_eq!(ana.get("/auth/me").await.ok(), user);
}

async fn an_address_is_taken_in_any_case(layout: Layout) {
    let world = world(layout).start().await;
    let register = async |email: &str| {
        world.client().post("/auth/register", json!({ "email": email, "password": PASSWORD })).await
    };
    register("ana@example.org").await.ok();
    for email in ["ana@example.org", "ANA@Example.ORG"] {
        let problem = register(email).await.fault(400, "email_taken");
        assert_eq!(problem["detail"], "User already exists");
    }
    register("ana2@example.org").await.ok();
}

async fn a_wrong_password_and_an_unknown_address_look_alike(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let refused = async |email: &str, password: &str| {
        let answer =
            world.client().post("/auth/login", json!({ "email": email, "password": password })).await;
        let mut problem = answer.fault(401, "invalid_credentials");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        problem.as_object_mut().unwrap().remove("request_id");
        problem
    };
    let wrong_password = refused(&ana.email, "not the password").await;
    assert_eq!(wrong_password["detail"], "Invalid credentials");
    assert_eq!(wrong_password, refused("nobody@example.org", PASSWORD).await);
    assert_eq!(wrong_password, refused("not an address", "x").await);
}

/// [`PASSWORD`] as passlib's `pbkdf2_sha256` stores it.
const PASSLIB: &str =
    "$pbkdf2-sha256$29000$MDEyMzQ1Njc4OWFiY2RlZg$vajIaozrb7q4x.G3R5Y.FIe07ZH3QEjPYV1bs8kEikU";

async fn a_hash_of_the_first_omnichat_logs_in_and_is_renewed(layout: Layout) {
    let world = world(layout).start().await;
    let user =
        sqlx::query("insert into users (id, email, password_hash) values ($1::uuid, 'old@example.org', $2)");
    user.bind(NOWHERE).bind(PASSLIB).execute(world.sql()).await.unwrap();
    let log_in = async |password: &str| {
        let account = json!({ "email": "old@example.org", "password": password });
        world.client().post("/auth/login", account).await
    };
    let hash = async || {
        let hash = sqlx::query_scalar::<_, String>("select password_hash from users");
        hash.fetch_one(world.sql()).await.unwrap()
    };

    log_in("not the password").await.fault(401, "invalid_credentials");
    assert_eq!(hash().await, PASSLIB, "a failed login changes nothing");
    let token = text(&log_in(PASSWORD).await.ok()["access_token"]);
    let me = world.client().with_token(&token).get("/auth/me").await.ok();
    assert_eq!((&me["id"], &me["email"]), (&json!(NOWHERE), &json!("old@example.org")));

    let renewed = hash().await;
    assert!(renewed.starts_with("$argon2id$"), "{renewed}");
    log_in(PASSWORD).await.ok();
    log_in("not the password").await.fault(401, "invalid_credentials");
    assert_eq!(hash().await, renewed, "a hash of today stays");
}

async fn nothing_but_a_good_token_comes_in(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let refused = async |client: &Client, headers: &[(&str, &str)], code: &str| {
        for path in ["/auth/me", "/auth/validate", "/projects", &format!("/turns/{NOWHERE}")] {
            let answer = client.request(Method::GET, path, headers, None).await.unwrap();
            answer.fault(401, code);
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    };
    let nobody = world.client();
    refused(&nobody, &[], "missing_token").await;
    let good = format!("Bearer {}", ana.token);
    let (head, signature) = ana.token.rsplit_once('.').unwrap();
    let tampered = format!("Bearer {head}.{}", signature.chars().rev().collect::<String>());
    let (_, claims) = head.split_once('.').unwrap();
    let unsigned = format!("Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    for value in [&tampered, &unsigned, &ana.token, "Basic YTpi", "Bearer", "Bearer x", &good.repeat(2)] {
        refused(&nobody, &[("authorization", value)], "invalid_token").await;
    }
    refused(&ana, &[("authorization", &good)], "invalid_token").await;
    let twice = ana.get(&format!("/auth/me?access_token={}", ana.token)).await;
    twice.fault(401, "invalid_token");
    ana.get("/auth/me").await.ok();
}

async fn a_disabled_account_is_out_at_once(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    sqlx::query("update users set is_active = false").execute(world.sql()).await.unwrap();
    ana.get("/auth/validate").await.fault(401, "account_disabled");
    ana.get("/auth/me").await.fault(401, "account_disabled");
    let account = json!({ "email": ana.email, "password": PASSWORD });
    ana.post("/auth/login", account).await.fault(401, "invalid_credentials");
}

async fn an_answer_names_its_request(layout: Layout) {
    let world = world(layout).start().await;
    let named = async |name: &str| {
        let headers = [("x-request-id", name)];
        let answer = world.client().request(Method::GET, "/auth/me", &headers, None).await.unwrap();
        answer.fault(401, "missing_token");
        answer.header("x-request-id").to_owned()
    };
    assert_eq!(named("my-request-1").await, "my-request-1");
    let made = [named("not usable").await, named(&"x".repeat(200)).await];
    assert!(made.iter().all(|name| name.len() == NOWHERE.len()), "{made:?}");
    assert_ne!(made[0], made[1]);
}
