//! What is decided at the door, without any service.

use http_body_util::BodyExt;
use wire::{ProjectId, limits::BODY_BYTES_MAX};

use crate::world::{Answer, World, config};

const JSON: &str = "application/json";

fn is(answer: &Answer, status: u16, code: &str) -> bool {
    answer.fault() == (status, code.to_owned())
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_told_apart() {
    let world = World::new().await;
    for path in ["/", "/nothing", "/projects/", "/auth", "/projects/%2e%2e%2f/prompts/x/y", "//projects"] {
        let answer = world.ask(world.anonymous("GET", path), "").await;
        assert!(is(&answer, 404, "route_not_found"), "{path}");
    }
    let cases = [
        ("TRACE", "/projects", "GET,HEAD,POST"),
        ("BREW", "/projects", "GET,HEAD,POST"),
        ("OPTIONS", "/auth/login", "POST"),
        ("GET", "/auth/login", "POST"),
    ];
    for (method, path, allowed) in cases {
        let answer = world.ask(world.anonymous(method, path), "").await;
        assert!(is(&answer, 405, "method_not_allowed"), "{method} {path}");
        let mut allow: Vec<_> = answer.header("allow").split(',').collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn a_request_for_two_hosts_is_refused() {
    let world = World::new().await;
    let answer = world.ask(world.anonymous("GET", "/livez").header("host", "other.example"), "").await;
    assert!(is(&answer, 400, "malformed_request"));
}

#[tokio::test]
async fn nothing_of_a_user_is_shown_without_a_token() {
    let world = World::new().await;
    let id = ProjectId::new();
    let paths = [
        ("GET", "/auth/validate".to_owned()),
        ("GET", "/auth/me".to_owned()),
        ("GET", "/projects".to_owned()),
        ("POST", "/projects".to_owned()),
        ("GET", "/projects/not-an-id".to_owned()),
        ("DELETE", format!("/projects/{id}")),
        ("GET", format!("/projects/{id}/prompts")),
        ("PUT", format!("/projects/{id}/prompts/{id}")),
        ("POST", "/conversations".to_owned()),
        ("GET", format!("/conversations/project/{id}")),
        ("PATCH", format!("/conversations/{id}")),
        ("POST", format!("/conversations/{id}/messages")),
        ("GET", format!("/turns/{id}")),
    ];
    for (method, path) in paths {
        let answer = world.ask(world.anonymous(method, &path), "").await;
        assert!(is(&answer, 401, "missing_token"), "{method} {path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let request = world.request(method, &path).header("authorization", "Bearer x");
        assert!(is(&world.ask(request, "").await, 401, "invalid_token"), "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_not_an_id_names_nothing() {
    let world = World::new().await;
    let id = ProjectId::new();
    let long = "x".repeat(8_000);
    for bad in ["x", "%00", "%ff", "*", "%3E", "%7B00000000-0000-0000-0000-000000000000%7D", "a.b", &long] {
        let cases = [
            (format!("/projects/{bad}"), "project_not_found"),
            (format!("/projects/{bad}/prompts/{id}"), "project_not_found"),
            (format!("/projects/{id}/prompts/{bad}"), "prompt_not_found"),
            (format!("/conversations/project/{bad}"), "project_not_found"),
            (format!("/conversations/{bad}/messages"), "conversation_not_found"),
            (format!("/turns/{bad}"), "turn_not_found"),
        ];
        for (path, code) in cases {
            let answer = world.ask(world.request("GET", &path), "").await;
            // Only the id that is looked at first can be told to be missing when its text is no UTF-8.
            assert!(is(&answer, 404, code) || bad == "%ff" && answer.status == 404, "{path:.80}");
        }
    }
}

#[tokio::test]
async fn a_body_is_json_and_says_so() {
    let world = World::new().await;
    let refused = [
        vec![],
        vec![("content-type", "text/plain")],
        vec![("content-type", "application/x-www-form-urlencoded")],
        vec![("content-type", "application/json; charset=utf-16")],
        vec![("content-type", "application/jsonp")],
        vec![("content-type", JSON), ("content-type", JSON)],
        vec![("content-type", JSON), ("content-encoding", "gzip")],
        vec![("content-type", JSON), ("content-encoding", "identity, br")],
    ];
    for headers in refused {
        let request = headers
            .iter()
            .fold(world.request("POST", "/projects"), |r, (name, value)| r.header(*name, *value));
        assert!(is(&world.ask(request, "{}").await, 415, "unsupported_media_type"), "{headers:?}");
    }
    // These pass the door, and find nobody behind it.
    let passed = [
        vec![("content-type", "Application/JSON ; Charset=\"UTF-8\"")],
        vec![("content-type", JSON), ("content-encoding", "identity")],
    ];
    for headers in passed {
        let request = headers
            .iter()
            .fold(world.request("POST", "/projects"), |r, (name, value)| r.header(*name, *value));
        assert!(is(&world.ask(request, "{}").await, 503, "unavailable"), "{headers:?}");
    }
    assert!(is(&world.ask(world.request("POST", "/projects"), "").await, 503, "unavailable"));
}

#[tokio::test]
async fn a_body_has_128_kib_at_most() {
    let world = World::new().await;
    let answer = world.ask_json("POST", "/projects", &"x".repeat(BODY_BYTES_MAX)).await;
    assert!(is(&answer, 503, "unavailable"), "it passes the door");
    let answer = world.ask_json("POST", "/projects", &"x".repeat(BODY_BYTES_MAX + 1)).await;
    assert!(is(&answer, 413, "body_too_large"));
    assert_eq!(answer.header("connection"), "close");
}

#[tokio::test]
async fn an_idempotency_key_is_checked_before_the_message() {
    let world = World::new().await;
    let path = format!("/conversations/{}/messages", ProjectId::new());
    let request = world.request("POST", &path).header("idempotency-key", "k".repeat(256));
    assert!(is(&world.ask(request, "").await, 400, "invalid_idempotency_key"));
}

#[tokio::test]
async fn every_answer_carries_its_names_and_is_private() {
    let world = World::new().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for path in ["/livez", "/readyz", "/version", "/metrics", "/projects", "/nothing"] {
        let request = world.anonymous("GET", path).header("x-request-id", "r-1").header("traceparent", trace);
        let answer = world.ask(request, "").await;
        assert_eq!(answer.header("x-request-id"), "r-1", "{path}");
        assert_eq!(answer.header("traceparent"), trace, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("cache-control") == "no-store", !answer.status.is_success(), "{path}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
        let unnamed = world.ask(world.anonymous("GET", path), "").await;
        assert_eq!(unnamed.header("x-request-id").len(), 36, "{path}");
        assert_eq!(unnamed.header("traceparent").len(), 55, "{path}");
    }
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_use_the_api() {
    let origin = "https://app.example.org";
    let world = World::with(ingress::Config { allowed_origins: vec![origin.into()], ..config() }).await;
    let preflight = |origin: &str| {
        let request = world.anonymous("OPTIONS", "/projects/x").header("origin", origin);
        request.header("access-control-request-method", "PATCH")
    };
    let answer = world.ask(preflight(origin), "").await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (204, origin));
    assert!(answer.header("access-control-allow-methods").contains("PATCH"));
    for header in ["authorization", "content-type", "idempotency-key", "x-request-id"] {
        assert!(answer.header("access-control-allow-headers").contains(header), "{header}");
    }
    let answer = world.ask(world.anonymous("GET", "/projects").header("origin", origin), "").await;
    assert!(is(&answer, 401, "missing_token"), "faults can be read as well");
    assert_eq!(answer.header("access-control-allow-origin"), origin);
    assert_eq!(
        answer.header("access-control-expose-headers"),
        "x-request-id, retry-after, link, location, preference-applied, ratelimit, ratelimit-policy"
    );
    assert_eq!(answer.header("vary"), "origin");

    let answer = world.ask(preflight("https://evil.example"), "").await;
    assert!(is(&answer, 405, "method_not_allowed"));
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    assert_eq!(answer.header("vary"), "origin");
}

#[tokio::test]
async fn readiness_follows_the_checks() {
    let world = World::new().await;
    assert_eq!(world.ask(world.anonymous("GET", "/livez"), "").await.json()["status"], "live");
    assert_eq!(world.ask(world.anonymous("GET", "/readyz"), "").await.json()["status"], "ready");
    world.health.add("moon", || async { Err("not full".into()) });
    let answer = world.ask(world.anonymous("GET", "/readyz"), "").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.json()["checks"][0]["detail"], "not full");
    assert_eq!(world.ask(world.anonymous("GET", "/livez"), "").await.status, 200);
}

#[tokio::test]
async fn a_panic_is_answered_and_the_process_lives() {
    let world = World::new().await;
    world.health.add("fragile", || async { panic!("on purpose") });
    let mut client = world.connect().await;
    let request = || world.anonymous("GET", "/readyz").body(bytes::Bytes::new()).unwrap();
    for _ in 0..2 {
        let answer = crate::world::send(&mut client, request()).await;
        assert!(is(&answer, 500, "internal"));
        assert!(!answer.text().contains("purpose"));
    }
}

#[tokio::test]
async fn requests_are_counted_by_template_and_without_their_ids() {
    let world = World::new().await;
    let id = ProjectId::new();
    world.ask(world.anonymous("GET", &format!("/turns/{id}?secret=1")), "").await;
    world.ask(world.anonymous("BREW", "/never-seen-before"), "").await;
    let metrics = world.ask(world.anonymous("GET", "/metrics"), "").await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = metrics.text();
    for part in [
        r#"omnichat_http_requests_total{route="/turns/{turn}",method="GET",status="401"}"#,
        r#"omnichat_http_requests_total{route="unknown",method="other",status="404"}"#,
        r#"omnichat_http_request_seconds_bucket{route="/turns/{turn}","#,
        "# HELP omnichat_http_requests_in_flight ",
        "omnichat_http_requests_in_flight ",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains(&id.to_string()) && !text.contains("secret") && !text.contains("never-seen"));
}

#[tokio::test]
async fn the_head_of_an_answer_can_be_asked_for_alone() {
    let world = World::new().await;
    let mut client = world.connect().await;
    client.ready().await.unwrap();
    let request = world.anonymous("HEAD", "/version").body(bytes::Bytes::new()).unwrap();
    let answer = client.send_request(request.map(http_body_util::Full::new)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.collect().await.unwrap().to_bytes().is_empty());
}
