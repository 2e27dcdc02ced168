//! Who may connect to NATS, for how long, and with which rights.

use serde_json::{Value, json};
use testkit::{Layout, RawNats, Role, both_layouts, eventually, user::text};

use crate::{SOON, world};

both_layouts![
    a_good_credential_opens_the_door,
    a_bad_one_does_not,
    a_key_asks_what_its_scopes_allow,
    who_may_not_stay_is_put_out,
    a_connection_ends_with_its_token,
    while_nobody_judges_nobody_comes_in,
    two_judges_share_the_door,
    staff_see_the_queue_and_no_user,
];

async fn a_good_credential_opens_the_door(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let key = text(&ana.post("/auth/api-keys", json!({ "name": "a key" })).await.ok()["key"]);
    for credential in [&ana.token, &key] {
        let nats = world.try_nats(credential, &ana.id).await.unwrap();
        let me = nats.request(&format!("omnichat.v1.u.{}.account.get", ana.id), &[], "").await.json();
        assert_eq!(text(&me["id"]), ana.id);
    }
    let listed = ana.get("/auth/api-keys").await.ok();
    assert!(listed[0]["last_used_at"].is_string(), "{listed}");
}

async fn a_bad_one_does_not(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let made = ana.post("/auth/api-keys", json!({ "name": "a key" })).await.ok();
    let key = text(&made["key"]);
    ana.delete(&format!("/auth/api-keys/{}", text(&made["id"]))).await.ok();
    let account = json!({ "email": ana.email, "password": testkit::user::PASSWORD });
    let session = world.client().post("/auth/login", account).await.ok();
    let refresh = text(&session["refresh_token"]);
    let mut forged = ana.token.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.push(last);
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", ana.token.split('.').nth(1).unwrap());
    for bad in ["", "garbage", &forged, &unsigned, &key, &refresh, &"x".repeat(3_000), "oc_00000000_"] {
        let refused = world.try_nats(bad, &ana.id).await.map(drop).unwrap_err();
        assert!(refused.contains("authorization violation"), "{bad:.40}: {refused}");
    }
    world.sql_disable(&ana).await;
    assert!(world.try_nats(&ana.token, &ana.id).await.is_err(), "a disabled user");
}

async fn a_key_asks_what_its_scopes_allow(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let key = async |scopes: Value| {
        let made = ana.post("/auth/api-keys", json!({ "name": "a key", "scopes": scopes })).await.ok();
        RawNats::connect(&world.nats_url(), &text(&made["key"])).await.unwrap()
    };
    let subject = |rest: &str| format!("omnichat.v1.u.{}.{rest}", ana.id);
    let read =
        ["account.get", "projects.list", &format!("conversations.{conversation}.messages")].map(subject);
    let chat = [format!("conversations.{conversation}.send"), "conversations.create".into()]
        .map(|rest| subject(&rest));
    let admin =
        ["projects.create", "api_keys.create", &format!("conversations.{conversation}.delete")].map(subject);
    let own = format!("_INBOX.{}.x", ana.id);
    for (scope, allowed, denied) in [
        ("read", &read[..], [&chat[..], &admin[..]]),
        ("chat", &chat[..], [&read[..], &admin[..]]),
        ("admin", &admin[1..2], [&read[..], &chat[..1]]),
    ] {
        let mut nats = key(json!([scope])).await;
        for subject in denied.into_iter().flatten() {
            let refusal = nats.publish(subject, &own, "x").await;
            assert!(refusal.is_some_and(|refusal| refusal.contains("Permissions")), "{scope}: {subject}");
        }
        for subject in allowed {
            assert_eq!(nats.publish(subject, &own, "x").await, None, "{scope}: {subject}");
        }
        let heard = nats.subscribe(&subject("events.>"), "").await;
        assert_eq!(heard.is_none(), scope == "read", "{scope}: {heard:?}");
    }
}

async fn who_may_not_stay_is_put_out(layout: Layout) {
    let world = world(layout).set("auth.recheck_connections_s", 1).start().await;
    let (ana, ben, eva, zoe) =
        (world.user().await, world.user().await, world.user().await, world.user().await);
    let made = eva.post("/auth/api-keys", json!({ "name": "a key" })).await.ok();
    let disabled = world.nats_as(&ana).await;
    let logged_out = world.nats_as(&ben).await;
    let taken_back = world.try_nats(&text(&made["key"]), &eva.id).await.unwrap();
    let her_session = world.nats_as(&eva).await;
    let stays = world.nats_as(&zoe).await;
    world.sql_disable(&ana).await;
    ben.post("/auth/logout", json!({})).await.ok();
    eva.delete(&format!("/auth/api-keys/{}", text(&made["id"]))).await.ok();
    for (nats, who) in
        [(&disabled, "a disabled user"), (&logged_out, "an ended session"), (&taken_back, "a key")]
    {
        eventually(&format!("{who} is out"), SOON, async || (!nats.is_connected()).then_some(())).await;
    }
    for (nats, user) in [(&her_session, &eva), (&stays, &zoe)] {
        assert!(nats.is_connected());
        nats.request(&format!("omnichat.v1.u.{}.account.get", user.id), &[], "").await;
    }
}

async fn a_connection_ends_with_its_token(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let made = ana.post("/auth/api-keys", json!({ "name": "a key" })).await.ok();
    let sooner = sqlx::query("update api_keys set expires_at = now() + interval '3 seconds'");
    sooner.execute(world.sql()).await.unwrap();
    let nats = world.try_nats(&text(&made["key"]), &ana.id).await.unwrap();
    assert!(nats.is_connected());
    eventually("the server ends it", SOON, async || (!nats.is_connected()).then_some(())).await;
}

async fn while_nobody_judges_nobody_comes_in(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let before = world.nats_as(&ana).await;
    world.kill(Role::Auth);
    // Just when the server gives up asking it sends its first ping, which a client library may take for a welcome.
    let entered = RawNats::connect(&world.nats_url(), &ana.token).await;
    assert!(entered.is_err(), "a door that nobody keeps is shut");
    let staff = world.nats_as_staff("inspector").await;
    staff.request("$JS.API.STREAM.NAMES", &[], "").await;
    assert!(before.is_connected(), "who is in stays in");
    world.restart(Role::Auth).await;
    world.nats_as(&ana).await;
}

async fn two_judges_share_the_door(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    if layout == Layout::ProcessPerRole {
        let old = world.replace(Role::Auth).await;
        for _ in 0..20 {
            world.nats_as(&ana).await;
        }
        drop(old);
        world.nats_as(&ana).await;
    }
}

async fn staff_see_the_queue_and_no_user(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    for name in ["operator", "inspector"] {
        let nats = world.nats_as_staff(name).await;
        let info = nats.request("$JS.API.STREAM.INFO.TURNS", &[], "").await.json();
        assert_eq!(info["config"]["name"], "TURNS");
        let consumers = nats.request("$JS.API.CONSUMER.LIST.TURNS", &[], "").await.json();
        assert_eq!(consumers["total"], 16, "{consumers}");
        let ping = nats.request("$SRV.PING.omnichat-chat", &[], "").await.json();
        assert_eq!(ping["name"], "omnichat-chat");
        let mut raw = world.raw_nats_as_staff(name).await;
        for subject in ["omnichat.v1.u.>", "_INBOX.>", &format!("_INBOX.{}.>", ana.id), ">"] {
            assert!(raw.subscribe(subject, "").await.is_some(), "{name} listens to {subject}");
        }
        let own = format!("_INBOX.{name}.x");
        for subject in [format!("omnichat.v1.u.{}.account.get", ana.id), "omnichat.i.auth.key".into()] {
            assert!(raw.publish(&subject, &own, "").await.is_some(), "{name} asks {subject}");
        }
        let changes = raw.publish("$JS.API.STREAM.MSG.GET.TURNS", &own, r#"{"seq":1}"#).await;
        assert_eq!(changes.is_some(), name == "inspector", "{name}: {changes:?}");
    }
}
