//! Users on NATS who try what is not theirs, by words of the protocol that no library would say.

use serde_json::json;
use testkit::{Layout, RawNats, User, World, both_layouts, eventually, user::text};

use crate::{NOWHERE, SOON, world};

both_layouts![
    nobody_listens_to_others,
    nobody_speaks_for_others,
    no_answer_goes_where_its_asker_may_not_publish,
    nobody_reaches_the_queue_by_a_header,
    a_subscription_too_many_is_refused,
];

async fn raw(world: &World, user: &User) -> RawNats {
    RawNats::connect(&world.nats_url(), &user.token).await.unwrap()
}

fn is_denied(refusal: Option<String>, what: &str) {
    let refusal = refusal.unwrap_or_else(|| panic!("{what}: the server lets it pass"));
    assert!(refusal.contains("Permissions Violation"), "{what}: {refusal}");
}

async fn nobody_listens_to_others(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let mut nats = raw(&world, &bob).await;
    let of_ana = [
        format!("_INBOX.{}.>", ana.id),
        format!("omnichat.v1.u.{}.events.>", ana.id),
        format!("omnichat.v1.u.{}.>", ana.id),
        format!("_INBOX.*.{}", ana.id),
    ];
    let of_nobody = [
        ">",
        "*",
        "*.>",
        "_INBOX.>",
        "_INBOX.*.>",
        "_INBOX.ingress.>",
        "omnichat.>",
        "omnichat.v1.u.>",
        "omnichat.v1.u.*.events.>",
        "omnichat.v1.u.*.conversations.*.send",
        "omnichat.v1.auth.login",
        "omnichat.q.>",
        "omnichat.i.>",
        "$SRV.>",
        "$SRV.PING",
        "$SYS.>",
        "$SYS.REQ.USER.AUTH",
        "$JS.>",
        "$JS.EVENT.ADVISORY.>",
        "$JS.ACK.>",
    ];
    for subject in of_ana.iter().map(String::as_str).chain(of_nobody) {
        is_denied(nats.subscribe(subject, "").await, subject);
        is_denied(nats.subscribe(subject, "omnichat-chat").await, subject);
    }
    // Requests to oneself are the services' to take, not the user's own.
    is_denied(nats.subscribe(&format!("omnichat.v1.u.{}.>", bob.id), "omnichat-auth").await, "own requests");
    for own in [format!("_INBOX.{}.>", bob.id), format!("omnichat.v1.u.{}.events.>", bob.id)] {
        assert_eq!(nats.subscribe(&own, "").await, None, "{own}");
    }
    let conversation = ana.conversation().await;
    ana.send(&conversation, "for my eyes only").await.ok();
    let heard = nats.say("").await.unwrap();
    assert_eq!(heard, Vec::<String>::new(), "nothing of hers came");
}

async fn nobody_speaks_for_others(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let mut nats = raw(&world, &bob).await;
    let inbox = format!("_INBOX.{}.x", bob.id);
    let project = ana.project().await;
    let subjects = [
        format!("omnichat.v1.u.{}.projects.create", ana.id),
        format!("omnichat.v1.u.{}.projects.{project}.delete", ana.id),
        format!("omnichat.v1.u.{}.events.turn.{NOWHERE}", ana.id),
        // Not even to oneself: whoever reads events can believe them.
        format!("omnichat.v1.u.{}.events.turn.{NOWHERE}", bob.id),
        format!("_INBOX.{}.x", ana.id),
        format!("_INBOX.{}.x", bob.id),
        "_INBOX.ingress.x".into(),
        format!("omnichat.q.turn.{}.{NOWHERE}", bob.id),
        format!("omnichat.q.p.3.{}.{NOWHERE}", bob.id),
        "omnichat.i.auth.session".into(),
        "omnichat.i.auth.key".into(),
        "omnichat.v1.auth.login".into(),
        "omnichat.v9.auth.login".into(),
        "$SRV.PING".into(),
        "$SRV.STATS.omnichat-chat".into(),
        "$SYS.REQ.USER.AUTH".into(),
        "$SYS.REQ.SERVER.PING.CONNZ".into(),
        "$SYS.REQ.ACCOUNT.PING.CONNZ".into(),
        "$JS.API.INFO".into(),
        "$JS.API.STREAM.NAMES".into(),
        "$JS.API.STREAM.INFO.TURNS".into(),
        "$JS.API.STREAM.CREATE.MINE".into(),
        "$JS.API.STREAM.DELETE.TURNS".into(),
        "$JS.API.STREAM.PURGE.TURNS".into(),
        "$JS.API.STREAM.MSG.GET.TURNS".into(),
        "$JS.API.DIRECT.GET.TURNS".into(),
        "$JS.API.CONSUMER.CREATE.TURNS.mine".into(),
        "$JS.API.CONSUMER.MSG.NEXT.TURNS.p00".into(),
        "$JS.API.CONSUMER.UNPIN.TURNS.p00".into(),
        "$JS.API.CONSUMER.RESET.TURNS.p00".into(),
        "$JS.ACK.TURNS.p00.1.1.1.1.0".into(),
        "$JS.FC.TURNS.p00.x".into(),
    ];
    for subject in &subjects {
        is_denied(nats.publish(subject, &inbox, "{}").await, subject);
    }
    ana.get(&format!("/projects/{project}")).await.ok();
    assert_eq!(ana.get("/projects").await.ok().as_array().unwrap().len(), 1);
}

/// The confused deputy: the server does not look at reply subjects, so the services do.
async fn no_answer_goes_where_its_asker_may_not_publish(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let conversation = bob.conversation().await;
    let hers = world.nats_as(&ana).await;
    let mut her_inbox = hers.subscribe(&format!("_INBOX.{}.>", ana.id)).await;
    let mut her_events = hers.subscribe(&format!("omnichat.v1.u.{}.events.>", ana.id)).await;
    let mut nats = raw(&world, &bob).await;
    let inbox = format!("_INBOX.{}.x", bob.id);
    assert_eq!(nats.subscribe(&format!("_INBOX.{}.>", bob.id), "").await, None);

    let long = format!("_INBOX.{}.{}", bob.id, "x".repeat(300));
    let targets = [
        format!("_INBOX.{}.x", ana.id),
        format!("omnichat.v1.u.{}.events.turn.{NOWHERE}", ana.id),
        format!("omnichat.v1.u.{}.projects.create", ana.id),
        "$JS.API.STREAM.DELETE.TURNS".into(),
        "$JS.API.STREAM.PURGE.TURNS".into(),
        "$JS.API.CONSUMER.RESET.TURNS.p00".into(),
        "$JS.API.CONSUMER.UNPIN.TURNS.p00".into(),
        format!("omnichat.q.turn.{}.{conversation}", bob.id),
        "omnichat.i.auth.session".into(),
        "$SYS.REQ.USER.AUTH".into(),
        long,
    ];
    let asks = ["account.get", "projects.list", &format!("conversations.{conversation}.get")];
    let send = format!("omnichat.v1.u.{}.conversations.{conversation}.send", bob.id);
    for target in &targets {
        for rest in asks {
            assert_eq!(nats.publish(&format!("omnichat.v1.u.{}.{rest}", bob.id), target, "").await, None);
        }
        assert_eq!(nats.publish(&send, target, r#"{"content":"to somebody else"}"#).await, None);
    }
    let acknowledged = nats.publish(&send, "$JS.ACK.TURNS.p00.1.1.1.1.0", "{}").await;
    is_denied(acknowledged, "this one the server looks at itself");
    // Each service takes one connection's requests in order: it has seen those before these.
    // All of it at once: what comes while it is said is among the answers.
    let mut good: String =
        asks.iter().map(|rest| format!("PUB omnichat.v1.u.{}.{rest} {inbox} 0\r\n\r\n", bob.id)).collect();
    let message = r#"{"content":"to myself"}"#;
    good += &format!("PUB {send} {inbox} {}\r\n{message}\r\n", message.len());
    let mut answers = nats.say(&good).await.unwrap();
    let mut heard = async || {
        answers.extend(nats.say("").await.unwrap());
        let came = answers.iter().filter(|line| line.starts_with("HMSG")).count();
        (came >= 4).then_some(came)
    };
    assert_eq!(eventually("four answers in his own inbox", SOON, &mut heard).await, 4);
    hers.flush().await;
    assert!(her_inbox.is_empty() && her_events.is_empty());
    assert_eq!(ana.get("/projects").await.ok(), json!([]));
    assert_eq!(bob.history(&conversation).await.len(), 2, "what could not be answered was not done");
    let dropped = world.client().get("/metrics").await;
    if layout == Layout::OneProcess {
        let metrics = String::from_utf8_lossy(&dropped.body).into_owned();
        let counted = metrics.lines().find_map(|line| line.strip_prefix("omnichat_bad_replies_total "));
        assert_eq!(counted, Some("44"), "each is counted");
    }
    let operator = world.nats_as_staff("operator").await;
    let stream = operator.request("$JS.API.STREAM.INFO.TURNS", &[], "").await.json();
    assert_eq!(stream["config"]["name"], "TURNS", "the stream is still there");
}

/// Message ids of a stream are one space for everybody, a roll-up empties it: no header of a user's reaches one.
async fn nobody_reaches_the_queue_by_a_header(layout: Layout) {
    let world = world(layout).pace(30, 30).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let (hers, his) = (ana.conversation().await, bob.conversation().await);
    let mut nats = raw(&world, &bob).await;
    let inbox = format!("_INBOX.{}.x", bob.id);
    let send = format!("omnichat.v1.u.{}.conversations.{his}.send", bob.id);
    let poison = [
        format!("Nats-Msg-Id: {}/{hers}/k1", ana.id),
        "Nats-Rollup: all".into(),
        "Nats-Rollup: sub".into(),
        "Nats-TTL: 1s".into(),
        "Nats-Expected-Stream: OTHER".into(),
        "Nats-Expected-Last-Sequence: 999".into(),
        "Nats-Schedule: @every 1s\r\nNats-Schedule-Target: omnichat.q.turn.x.y".into(),
        "Nats-Batch-Id: b\r\nNats-Batch-Sequence: 1".into(),
        format!("Oc-Reply: _INBOX.{}.x", ana.id),
        "Oc-Turn: 01920000-0000-7000-8000-000000000000".into(),
        "Nats-Trace-Only: true".into(),
    ];
    for (n, headers) in poison.iter().enumerate() {
        let body = json!({ "content": format!("poison {n}") }).to_string();
        let sent = nats.publish_with(&send, &inbox, headers, &body).await;
        assert_eq!(sent, None, "{headers}");
        let sent = ana.send_with_key(&hers, &format!("hi {n}"), &format!("k{n}")).await.ok();
        assert_eq!(sent["message"]["seq"], 2 * n + 1, "{headers}: hers is neither lost nor doubled");
    }
    let all = async || (bob.history(&his).await.len() == 2 * poison.len()).then_some(());
    eventually("his own turns have run", SOON, all).await;
    let trace = format!("Nats-Trace-Dest: _INBOX.{}.trace", ana.id);
    is_denied(nats.publish_with(&send, &inbox, &trace, "{}").await, "a trace that goes to somebody else");
}

async fn a_subscription_too_many_is_refused(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let mut nats = raw(&world, &bob).await;
    let many: String = (1..=2_048).map(|n| format!("SUB _INBOX.{}.{n} {n}\r\n", bob.id)).collect();
    assert_eq!(nats.say(&many).await, Ok(Vec::new()));
    let refusal = nats.say(&format!("SUB _INBOX.{}.x 5000\r\n", bob.id)).await;
    let refusal = refusal.map_or_else(|ended| ended, |said| said.join("\n"));
    assert!(refusal.to_lowercase().contains("maximum subscriptions"), "{refusal}");
    assert_eq!(text(&ana.get("/auth/me").await.ok()["id"]), ana.id);
}
