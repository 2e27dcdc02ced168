//! What one address and one user may do how often.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Layout, User, World, both_layouts, eventually, user::PASSWORD};
use tokio::{task::JoinSet, time::timeout};

use crate::{SOON, world};

/// Between two looks at what runs.
const GLANCE: Duration = Duration::from_millis(20);

both_layouts![
    an_address_is_held_to_its_limit,
    only_a_trusted_proxy_names_the_client,
    a_user_is_held_to_a_limit_at_both_doors,
    a_slow_turn_counts_once_and_what_is_ensured_counts,
    turns_that_run_at_a_time_are_bounded,
    as_many_turns_wait_as_the_key_says,
    as_many_turns_are_open_as_the_key_says,
    a_model_is_told_so_many_messages_and_the_oldest_are_left_out,
    a_limit_of_zero_is_none,
];

async fn post(world: &World, path: &str, body: Value, forwarded: Option<&str>) -> Answer {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(forwarded.map(|client| ("x-forwarded-for", client)));
    let body = Some(body.to_string().into());
    world.client().request(Method::POST, path, &headers, body).await.unwrap()
}

fn nobody(number: usize) -> Value {
    json!({ "email": format!("nobody{number}@example.org"), "password": PASSWORD })
}

async fn an_address_is_held_to_its_limit(layout: Layout) {
    let world = world(layout)
        .set("limits.logins_per_address_per_min", 3)
        .set("limits.registrations_per_address_per_min", 2)
        .set("limits.refreshes_per_address_per_min", 1)
        .start()
        .await;
    let refresh = json!({ "refresh_token": "x" });
    for (path, limit, name, status) in [
        ("/auth/login", 3, "logins", 401),
        ("/auth/register", 2, "registrations", 200),
        ("/auth/refresh", 1, "refreshes", 401),
    ] {
        let body = |number| if name == "refreshes" { refresh.clone() } else { nobody(number) };
        for number in 0..limit {
            // A claim about the address is nobody's but the client's own.
            let answer = post(&world, path, body(number), Some(&format!("192.0.2.{number}"))).await;
            assert_eq!(answer.status, status, "{path} {number}: {answer:?}");
            assert_eq!(answer.header("ratelimit-policy"), format!("\"{name}\";q={limit};w=60"));
            let left = answer.header("ratelimit").to_owned();
            assert!(left.starts_with(&format!("\"{name}\";r={};t=", limit - number - 1)), "{left}");
        }
        let above = post(&world, path, body(limit), Some("192.0.2.200")).await;
        above.fault(429, "rate_limited");
        assert!((1..=60).contains(&above.header("retry-after").parse::<u32>().unwrap()));
        assert!(above.header("ratelimit").starts_with(&format!("\"{name}\";r=0;t=")), "{above:?}");
    }
    let metrics = world.client().get("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    for name in ["logins", "registrations", "refreshes"] {
        let line = format!("omnichat_limit_hits_total{{limit=\"{name}\"}} 1");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}

async fn only_a_trusted_proxy_names_the_client(layout: Layout) {
    let world = world(layout)
        .set("limits.logins_per_address_per_min", 1)
        .set("http.trusted_proxies", r#"["127.0.0.0/8"]"#)
        .start()
        .await;
    let try_from =
        async |forwarded: &str| post(&world, "/auth/login", nobody(0), Some(forwarded)).await.status;
    assert_eq!(try_from("192.0.2.1").await, 401);
    assert_eq!(try_from("192.0.2.1").await, 429);
    assert_eq!(try_from("192.0.2.2").await, 401);
    assert_eq!(try_from("192.0.2.99, 192.0.2.1").await, 429, "what the client claims before is not believed");
    assert_eq!(try_from("192.0.2.3, 127.0.0.9").await, 401, "the proxies' own addresses are skipped");
}

async fn a_user_is_held_to_a_limit_at_both_doors(layout: Layout) {
    let world = world(layout).set("limits.turns_per_user_per_min", 3).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let conversation = ana.conversation().await;
    let nats = world.nats_as(&ana).await;
    let subject = format!("omnichat.v1.u.{}.conversations.{conversation}.send", ana.id);
    let over_nats = async || nats.request(&subject, &[], r#"{"content":"hi"}"#).await;

    ana.send(&conversation, "").await.fault(422, "invalid_body");
    let first = ana.send(&conversation, "hi").await;
    first.ok();
    assert_eq!(first.header("ratelimit-policy"), r#""turns";q=3;w=60"#);
    assert!(
        first.header("ratelimit").starts_with(r#""turns";r=2;t="#),
        "what is no message does not count: {first:?}"
    );
    let second = over_nats().await;
    assert_eq!(second.header("Nats-Service-Error-Code"), "");
    assert_eq!(second.header("RateLimit-Policy"), r#""turns";q=3;w=60"#);
    assert!(second.header("RateLimit").starts_with(r#""turns";r=1;t="#), "{:?}", second.headers());
    // A turn that fails has taken from the limit as well.
    let third = ana.send(&conversation, "[[sim status=403]]").await;
    third.fault(502, "provider_misconfigured");
    assert!(third.header("ratelimit").starts_with(r#""turns";r=0;t="#), "{third:?}");

    let above = ana.send(&conversation, "hi").await;
    above.fault(429, "rate_limited");
    assert!((1..=60).contains(&above.header("retry-after").parse::<u32>().unwrap()));
    assert!(above.header("ratelimit").starts_with(r#""turns";r=0;t="#), "{above:?}");
    let above = over_nats().await;
    assert_eq!(
        (above.header("Nats-Service-Error-Code"), &above.json()["code"]),
        ("429", &json!("rate_limited"))
    );
    assert!((1..=60).contains(&above.json()["retry_after"].as_u64().unwrap()));
    assert!(above.header("RateLimit").starts_with(r#""turns";r=0;t="#), "{:?}", above.headers());
    assert_eq!(world.provider().calls().len(), 3);

    let hers = bob.conversation().await;
    bob.send(&hers, "hi").await.ok();
    if layout == Layout::OneProcess {
        assert_eq!(hits(&world, "turns").await, 2);
    }
}

async fn a_slow_turn_counts_once_and_what_is_ensured_counts(layout: Layout) {
    let world = world(layout).set("limits.turns_per_user_per_min", 4).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let nats = world.nats_as(&ana).await;
    let subject = format!("omnichat.v1.u.{}.conversations.{conversation}.send", ana.id);
    let body = r#"{"content":"hi"}"#;
    let ensure =
        async |key| nats.request(&subject, &[("Idempotency-Key", key), ("Oc-Ensure", "true")], body).await;

    // The ingress looks for what takes so long, and that is not counted.
    ana.send(&conversation, "hi [[sim first_ms=900]]").await.ok();
    let second = ensure("k2").await;
    assert_eq!(second.header("Nats-Service-Error-Code"), "");
    assert!(second.header("RateLimit").starts_with(r#""turns";r=2;t="#), "{:?}", second.headers());
    let again = ensure("k2").await;
    assert_eq!(again.header("Oc-Event"), "queued");
    assert!(again.header("RateLimit").starts_with(r#""turns";r=1;t="#), "{:?}", again.headers());
    // Whoever is to be answered: a user may name any inbox.
    let headers = [("Idempotency-Key", "k4"), ("Oc-Ensure", "true")];
    nats.publish_with(&subject, "_INBOX.ingress.nowhere", &headers, body).await;
    let runs = async || (world.provider().calls().len() == 3).then_some(());
    eventually("the third runs", SOON, runs).await;
    let fifth = ensure("k5").await;
    assert_eq!(fifth.header("Nats-Service-Error-Code"), "429", "{:?}", fifth.headers());
}

async fn turns_that_run_at_a_time_are_bounded(layout: Layout) {
    let world = world(layout)
        .set("limits.running_turns_per_user", 2)
        .set("limits.running_turns_per_node", 3)
        .start()
        .await;
    let (ana, bob, eva) = (world.user().await, world.user().await, world.user().await);
    let slow = "hi [[sim first_ms=3000]]";
    let mut sent = JoinSet::new();
    let mut begin = async |user: &User| {
        let (user, conversation) = (user.clone(), user.conversation().await);
        let calls = world.provider().calls().len();
        sent.spawn(async move { user.send(&conversation, slow).await });
        let runs = async || (world.provider().calls().len() > calls).then_some(());
        eventually("the turn runs", SOON, runs).await;
    };
    let others = [ana.conversation().await, eva.conversation().await];
    begin(&ana).await;
    begin(&ana).await;
    let above = ana.send(&others[0], "hi").await;
    above.fault(429, "rate_limited");
    assert!((1..=60).contains(&above.header("retry-after").parse::<u32>().unwrap()));
    begin(&bob).await;
    let above = eva.send(&others[1], "hi").await;
    above.fault(503, "overloaded");
    assert!((1..=60).contains(&above.header("retry-after").parse::<u32>().unwrap()));
    for answer in sent.join_all().await {
        answer.ok();
    }
    ana.send(&others[0], "hi").await.ok();
    eva.send(&others[1], "hi").await.ok();

    // What comes at one moment is not refused, and still no more than two of hers run at a time.
    let before = world.provider().calls().len();
    let outcomes = async || -> usize {
        let count: i64 =
            sqlx::query_scalar("select count(*) from outcomes").fetch_one(world.sql()).await.unwrap();
        count.try_into().unwrap()
    };
    let ended = outcomes().await;
    let mut sent = JoinSet::new();
    let mut conversations = Vec::new();
    for _ in 0..8 {
        conversations.push(ana.conversation().await);
    }
    for conversation in conversations {
        let user = ana.clone();
        sent.spawn(async move { user.send(&conversation, "hi [[sim first_ms=300]]").await.status });
    }
    let mut answers = Vec::new();
    while !sent.is_empty() {
        // What was begun until now and has no outcome a moment later runs.
        let begun = world.provider().calls().len() - before;
        let concluded = outcomes().await - ended;
        assert!(begun <= 2 + concluded, "{begun} were begun, and only {concluded} have ended");
        if let Ok(Some(answer)) = timeout(GLANCE, sent.join_next()).await {
            answers.push(answer.unwrap());
        }
    }
    assert!(answers.iter().all(|status| [200, 429].contains(status)), "{answers:?}");
}

async fn as_many_turns_wait_as_the_key_says(layout: Layout) {
    let world = world(layout).set("limits.waiting_turns_per_conversation", 1).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut sent = JoinSet::new();
    let mut begin = |content: &'static str| {
        let (user, conversation) = (ana.clone(), conversation.clone());
        sent.spawn(async move { user.send(&conversation, content).await });
    };
    begin("hi [[sim first_ms=3000]]");
    let calls = async || (world.provider().calls().len() == 1).then_some(());
    eventually("the first one runs", SOON, calls).await;
    begin("this one waits");
    let waits = async || {
        let turns: i64 =
            sqlx::query_scalar("select count(*) from turns").fetch_one(world.sql()).await.unwrap();
        (turns == 2).then_some(())
    };
    eventually("the second one waits", SOON, waits).await;
    ana.send(&conversation, "too many").await.fault(429, "conversation_busy");
    for answer in sent.join_all().await {
        answer.ok();
    }
}

async fn as_many_turns_are_open_as_the_key_says(layout: Layout) {
    let world = world(layout).set("limits.open_turns", 2).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let mut sent = JoinSet::new();
    for user in [&ana, &bob] {
        let (user, conversation) = (user.clone(), user.conversation().await);
        sent.spawn(async move { user.send(&conversation, "hi [[sim first_ms=3000]]").await });
    }
    let hers = ana.conversation().await;
    let calls = async || (world.provider().calls().len() == 2).then_some(());
    eventually("both run", SOON, calls).await;
    let above = ana.send(&hers, "too many").await;
    above.fault(503, "overloaded");
    assert!((1..=60).contains(&above.header("retry-after").parse::<u32>().unwrap()));
    if layout == Layout::OneProcess {
        assert_eq!(hits(&world, "open_turns").await, 1);
    }
    for answer in sent.join_all().await {
        answer.ok();
    }
    ana.send(&hers, "and now").await.ok();
}

async fn a_model_is_told_so_many_messages_and_the_oldest_are_left_out(layout: Layout) {
    let world = world(layout).set("chat.history_messages_max", 3).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    for question in ["one", "two", "three"] {
        ana.send(&conversation, question).await.ok();
    }
    let told: Vec<_> = world.provider().calls().into_iter().map(|call| call.messages).collect();
    assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [1, 3, 3]);
    assert_eq!([1, 2].map(|call| told[call][0].content.to_string()), ["one", "two"]);
    if layout == Layout::OneProcess {
        assert_eq!(hits(&world, "history_messages").await, 1, "three are what may be told");
    }
}

/// How often a limit was met.
async fn hits(world: &World, limit: &str) -> u64 {
    let metrics = world.client().get("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let name = format!("omnichat_limit_hits_total{{limit=\"{limit}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

async fn a_limit_of_zero_is_none(layout: Layout) {
    let world = world(layout).start().await;
    for number in 0..15 {
        let answer = post(&world, "/auth/login", nobody(number), None).await;
        answer.fault(401, "invalid_credentials");
        assert_eq!(answer.header("ratelimit"), "");
    }
}
