//! The same services over NATS, through a client that we did not write.

use llm::{Message, simulator::answer};
use serde_json::{Value, json};
use testkit::{Layout, User, both_layouts, eventually, user::text};

use crate::{NOWHERE, SOON, world};

both_layouts![
    what_http_can_do_nats_can_do,
    message_pack_is_answered_in_message_pack,
    a_fault_has_the_headers_of_a_service_error,
    both_doors_lead_to_the_same_turn,
    a_send_is_ensured_to_be_in_the_queue,
    an_answer_goes_to_an_inbox_of_the_caller_or_nowhere,
    the_steps_of_a_turn_are_told_in_order,
    services_tell_what_they_answer_and_how_that_goes,
];

fn subject(user: &User, rest: &str) -> String {
    format!("omnichat.v1.u.{}.{rest}", user.id)
}

async fn what_http_can_do_nats_can_do(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let nats = world.nats_as(&ana).await;
    let ask = async |rest: &str, body: Value| {
        let reply = nats.request(&subject(&ana, rest), &[], body.to_string()).await;
        assert_eq!(
            (reply.header("Nats-Service-Error-Code"), reply.header("Content-Type")),
            ("", "application/json")
        );
        reply.json()
    };
    assert_eq!(ask("account.get", json!({})).await, ana.get("/auth/me").await.ok());
    let project = ask("projects.create", json!({ "name": "over NATS" })).await;
    assert_eq!(ana.get("/projects").await.ok(), json!([project]));
    let project = text(&project["id"]);
    let conversation = ask("conversations.create", json!({ "project_id": project })).await;
    let id = text(&conversation["id"]);
    assert_eq!(ana.get(&format!("/conversations/{id}")).await.ok(), conversation);
    assert_eq!(ask("conversations.list", json!({ "project_id": project })).await, json!([conversation]));

    let sent = ask(&format!("conversations.{id}.send"), json!({ "content": "hi" })).await;
    assert_eq!(sent["response"], answer(&[Message::user("hi")]));
    let messages = ask(&format!("conversations.{id}.messages"), json!({})).await;
    assert_eq!(messages, ana.get(&format!("/conversations/{id}/messages")).await.ok());
    assert_eq!(messages[1], sent["message"]);
    let turn = text(&sent["turn_id"]);
    assert_eq!(
        ask(&format!("turns.{turn}.get"), json!({})).await,
        ana.get(&format!("/turns/{turn}")).await.ok()
    );
    let done = ask(&format!("projects.{project}.delete"), json!({})).await;
    assert_eq!(done, json!({ "message": "Project deleted successfully" }));
}

async fn message_pack_is_answered_in_message_pack(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let nats = world.nats_as(&ana).await;
    let conversation = ana.conversation().await;
    let send = subject(&ana, &format!("conversations.{conversation}.send"));
    let packed = |value: Value| rmp_serde::to_vec(&value).unwrap();
    let unpacked = |body: &[u8]| rmp_serde::from_slice::<Value>(body).unwrap();
    let headers = [("Content-Type", "application/msgpack")];

    let reply = nats.request(&send, &headers, packed(json!({ "content": "hi" }))).await;
    assert_eq!(reply.header("Content-Type"), "application/msgpack");
    let sent = unpacked(reply.body());
    assert_eq!(sent["response"], answer(&[Message::user("hi")]));
    let messages =
        nats.request(&subject(&ana, &format!("conversations.{conversation}.messages")), &headers, "").await;
    let over_http = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    assert_eq!(unpacked(messages.body()), over_http, "ids and times are the same text as in JSON");
    assert_eq!(sent["message"], over_http[1]);

    let reply = nats.request(&send, &headers, packed(json!({ "content": 7 }))).await;
    assert_eq!(
        (reply.header("Nats-Service-Error-Code"), reply.header("Content-Type")),
        ("422", "application/msgpack")
    );
    assert_eq!(unpacked(reply.body())["errors"][0]["field"], "content");
    let json_wanted = [headers[0], ("Accept", "application/json")];
    let reply = nats.request(&send, &json_wanted, packed(json!({ "content": "again" }))).await;
    assert_eq!(reply.json()["message"]["seq"], 3);
    let reply = nats.request(&send, &[("Content-Type", "text/plain")], "hi").await;
    assert_eq!(reply.header("Nats-Service-Error-Code"), "415");
}

async fn a_fault_has_the_headers_of_a_service_error(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let nats = world.nats_as(&ana).await;
    let foreign = bob.conversation().await;
    let own = ana.conversation().await;
    let busy = "hi [[sim status=429 retry_after=5]]";
    let cases = [
        (format!("projects.{NOWHERE}.get"), json!({}), 404, "project_not_found"),
        (format!("conversations.{foreign}.get"), json!({}), 404, "conversation_not_found"),
        (format!("conversations.{foreign}.send"), json!({ "content": "hi" }), 404, "conversation_not_found"),
        ("conversations.x.send".into(), json!({ "content": "hi" }), 404, "conversation_not_found"),
        ("projects.create".into(), json!({ "name": "a", "colour": "red" }), 422, "invalid_body"),
        (
            format!("conversations.{own}.send"),
            json!({ "content": "hi", "model": "huge" }),
            422,
            "unknown_model",
        ),
        (format!("conversations.{own}.send"), json!({ "content": busy }), 503, "provider_busy"),
    ];
    for (rest, body, status, code) in cases {
        let reply = nats.request(&subject(&ana, &rest), &[("X-Request-Id", "r1")], body.to_string()).await;
        let problem = reply.json();
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{rest}");
        assert_eq!(reply.header("Nats-Service-Error-Code"), status.to_string());
        assert_eq!(
            (reply.header("Nats-Service-Error"), &problem["request_id"]),
            (&*text(&problem["detail"]), &json!("r1"))
        );
        assert_eq!(reply.header("Content-Type"), "application/problem+json");
    }
    assert!(bob.history(&foreign).await.is_empty());
}

async fn both_doors_lead_to_the_same_turn(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let nats = world.nats_as(&ana).await;
    let conversation = ana.conversation().await;
    let send = subject(&ana, &format!("conversations.{conversation}.send"));
    let over_nats = async |key: &str, content: &str| {
        let body = json!({ "content": content }).to_string();
        nats.request(&send, &[("Idempotency-Key", key)], body).await.json()
    };
    let first = ana.send_with_key(&conversation, "hi", "k1").await.ok();
    assert_eq!(over_nats("k1", "hi").await, first);
    let second = over_nats("k2", "hello").await;
    assert_eq!(ana.send_with_key(&conversation, "hello", "k2").await.ok(), second);
    assert_eq!(over_nats("k2", "hi").await["code"], "idempotency_key_reused");
    assert_eq!(world.provider().calls().len(), 2);
}

async fn a_send_is_ensured_to_be_in_the_queue(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let nats = world.nats_as(&ana).await;
    let conversation = ana.conversation().await;
    let send = subject(&ana, &format!("conversations.{conversation}.send"));
    let ensure = async |key: &str, content: &str| {
        let body = json!({ "content": content }).to_string();
        nats.request(&send, &[("Idempotency-Key", key), ("Oc-Ensure", "true")], body).await
    };
    let slow = "hi [[sim first_ms=1500]]";
    let first = tokio::spawn({
        let (ana, conversation) = (ana.clone(), conversation.clone());
        async move { ana.send_with_key(&conversation, slow, "k1").await.ok() }
    });
    let runs = async || (world.provider().calls().len() == 1).then_some(());
    eventually("the turn runs", SOON, runs).await;
    let told = ensure("k1", slow).await;
    assert_eq!((told.header("Oc-Event"), told.body().len()), ("queued", 0));
    assert!(!first.is_finished(), "it is told at once");
    let first = first.await.unwrap();
    let again = ensure("k1", slow).await;
    assert_eq!(again.header("Oc-Event"), "queued", "the queue had it");

    let lost = ensure("k2", "hello").await;
    assert_eq!((lost.header("Oc-Event"), text(&lost.json()["message"]["id"]).is_empty()), ("", false));
    assert_ne!(lost.json()["message"]["id"], first["message"]["id"]);
    assert_eq!(world.provider().calls().len(), 2);
}

async fn an_answer_goes_to_an_inbox_of_the_caller_or_nowhere(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let conversation = ana.conversation().await;
    let hers = world.nats_as(&ana).await;
    let his = world.nats_as(&bob).await;
    let mut his_inbox = his.subscribe(&format!("_INBOX.{}.>", bob.id)).await;
    let mut events = his.subscribe(&format!("omnichat.v1.u.{}.events.>", bob.id)).await;

    let targets = [
        format!("_INBOX.{}.x", bob.id),
        format!("omnichat.v1.u.{}.events.turn.{NOWHERE}", bob.id),
        "$JS.API.STREAM.PURGE.TURNS".to_owned(),
        format!("omnichat.v1.u.{}.projects.create", bob.id),
    ];
    for target in &targets {
        for rest in ["account.get", "projects.list", &format!("conversations.{conversation}.get")] {
            hers.publish(&subject(&ana, rest), target, "").await;
        }
        let send = subject(&ana, &format!("conversations.{conversation}.send"));
        hers.publish(&send, target, r#"{"content":"to somebody else"}"#).await;
    }
    // Each service takes one connection's requests in order: it has seen those before these.
    for rest in ["account.get", "projects.list", &format!("conversations.{conversation}.get")] {
        hers.request(&subject(&ana, rest), &[], "").await;
    }
    let send = subject(&ana, &format!("conversations.{conversation}.send"));
    let good = hers.request(&send, &[], r#"{"content":"to myself"}"#).await.json();
    assert_eq!(good["message"]["seq"], 1, "what could not be answered was not done");
    his.flush().await;
    hers.flush().await;
    assert!(his_inbox.is_empty() && events.is_empty());
    assert_eq!(bob.get("/projects").await.ok(), json!([]));
    assert_eq!(world.provider().calls().len(), 1);
}

async fn the_steps_of_a_turn_are_told_in_order(layout: Layout) {
    let world = world(layout).pace(20, 20).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let nats = world.nats_as(&ana).await;
    let mut events = nats.subscribe(&subject(&ana, "events.turn.*")).await;
    let sent = ana.send(&conversation, "hi").await.ok();
    let (mut names, mut shown) = (Vec::new(), String::new());
    let completed = loop {
        let event = events.next().await;
        assert_eq!(event.subject(), subject(&ana, &format!("events.turn.{}", text(&sent["turn_id"]))));
        names.push(event.header("Oc-Event").to_owned());
        assert_eq!(event.header("Oc-Seq"), names.len().to_string(), "numbered without gap");
        let step = event.json();
        assert_eq!(step["event"], event.header("Oc-Event"));
        match event.header("Oc-Event") {
            "delta" => shown.push_str(&text(&step["text"])),
            "completed" => break step,
            _ => {}
        }
    };
    assert_eq!(names[..2], ["accepted", "started"]);
    assert!(names.len() > 5 && names[2..names.len() - 1].iter().all(|name| name == "delta"), "{names:?}");
    assert_eq!(json!(shown), sent["response"], "the parts are the whole");
    assert_eq!((&completed["message"], &completed["usage"]), (&sent["message"], &sent["usage"]));

    ana.send(&conversation, "and now? [[sim status=500]]").await.fault(502, "provider_failed");
    let mut steps = Vec::new();
    while steps.last().is_none_or(|step: &testkit::Reply| step.header("Oc-Event") != "failed") {
        steps.push(events.next().await);
    }
    let names: Vec<_> = steps.iter().map(|step| step.header("Oc-Event")).collect();
    assert_eq!(names, ["accepted", "started", "restarted", "restarted", "failed"], "three calls in all");
    assert_eq!(steps[4].json()["code"], "provider_failed");
}

async fn services_tell_what_they_answer_and_how_that_goes(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let nats = world.nats_as_staff("inspector").await;
    let stats = async |service: &str, name: &str| {
        let answer = nats.request(&format!("$SRV.STATS.{service}"), &[], "").await.json();
        assert_eq!(answer["type"], "io.nats.micro.v1.stats_response");
        let endpoints = answer["endpoints"].as_array().unwrap().clone();
        endpoints.into_iter().find(|endpoint| endpoint["name"] == name).unwrap()
    };
    let project = ana.project().await;
    for _ in 0..3 {
        ana.get(&format!("/projects/{project}")).await.ok();
    }
    for _ in 0..2 {
        ana.get(&format!("/projects/{NOWHERE}")).await.fault(404, "project_not_found");
    }
    let counted = stats("omnichat-projects", "get_project").await;
    assert_eq!((&counted["num_requests"], &counted["num_errors"]), (&json!(5), &json!(2)), "{counted}");
    assert_eq!(counted["last_error"], "404:project_not_found");
    assert_eq!(counted["subject"], "omnichat.v1.u.*.projects.*.get");
    let (sum, mean) = (&counted["processing_time"], &counted["average_processing_time"]);
    assert_eq!(sum.as_u64().unwrap() / 5, mean.as_u64().unwrap());

    let conversation = ana.conversation().await;
    ana.send(&conversation, "Hello").await.ok();
    ana.send(NOWHERE, "Hello").await.fault(404, "conversation_not_found");
    let counted = stats("omnichat-chat", "send_message").await;
    assert_eq!((&counted["num_requests"], &counted["num_errors"]), (&json!(2), &json!(1)), "{counted}");

    for service in ["omnichat-auth", "omnichat-projects", "omnichat-chat"] {
        let info = nats.request(&format!("$SRV.INFO.{service}"), &[], "").await.json();
        let ping = nats.request(&format!("$SRV.PING.{service}.{}", text(&info["id"])), &[], "").await.json();
        assert_eq!((&ping["name"], &ping["id"]), (&json!(service), &info["id"]));
        let subjects =
            info["endpoints"].as_array().unwrap().iter().map(|endpoint| text(&endpoint["subject"]));
        let mut subjects: Vec<_> = subjects.collect();
        subjects.sort();
        let catalogue = wire::operations::ALL.iter();
        let of_service = catalogue.filter(|info| info.service.name() == service && !info.is_internal());
        let mut expected: Vec<_> = of_service.map(|info| info.wildcard()).collect();
        expected.sort();
        assert_eq!(subjects, expected);
    }
}
