//! Heads that are too large, and who may read what machines ask about.

use ingress::Config;
use wire::limits::{HEADER_BYTES_MAX, HEADERS_MAX, URI_BYTES_MAX};

use crate::world::{Answer, World, config};

fn is(answer: &Answer, status: u16, code: &str) -> bool {
    answer.fault() == (status, code.to_owned())
}

async fn counts(world: &World, limit: &str) -> bool {
    let metrics = world.ask(world.anonymous("GET", "/metrics"), "").await.text();
    metrics.contains(&format!("omnichat_limit_hits_total{{limit=\"{limit}\"}} "))
}

#[tokio::test]
async fn an_address_has_8_kib_at_most() {
    let world = World::new().await;
    let path = |bytes: usize| format!("/livez?{}", "q".repeat(bytes - "/livez?".len()));
    assert_eq!(world.ask(world.anonymous("GET", &path(URI_BYTES_MAX)), "").await.status, 200);
    for bytes in [URI_BYTES_MAX + 1, 60_000] {
        let answer = world.ask(world.anonymous("GET", &path(bytes)), "").await;
        assert!(is(&answer, 414, "uri_too_long"), "{bytes}");
    }
    assert!(counts(&world, "uri_bytes").await);
}

#[tokio::test]
async fn a_request_has_64_headers_of_16_kib_at_most() {
    let world = World::new().await;
    // The client adds one, `content-length`, where there is a body only; the world adds `host`.
    let many = |headers: usize| {
        (1..headers).fold(world.anonymous("GET", "/livez"), |request, number| {
            request.header(format!("x-{number}"), "1")
        })
    };
    assert_eq!(world.ask(many(HEADERS_MAX), "").await.status, 200);
    assert!(is(&world.ask(many(HEADERS_MAX + 1), "").await, 431, "headers_too_large"));
    assert!(counts(&world, "headers").await);

    let host = "host".len() + world.address.to_string().len() + 4;
    let large = |bytes: usize| {
        let value = "v".repeat(bytes - host - "x-large".len() - 4);
        world.anonymous("GET", "/livez").header("x-large", value)
    };
    assert_eq!(world.ask(large(HEADER_BYTES_MAX), "").await.status, 200);
    assert!(is(&world.ask(large(HEADER_BYTES_MAX + 1), "").await, 431, "headers_too_large"));
    assert!(counts(&world, "header_bytes").await);
}

#[tokio::test]
async fn a_head_that_cannot_be_read_whole_is_refused_without_words() {
    let world = World::new().await;
    let long = world.anonymous("GET", "/livez").header("x-large", "v".repeat(200_000));
    let answer = world.ask(long, "").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (431, ""));
}

#[tokio::test]
async fn strangers_hear_whether_we_are_well_and_no_more() {
    let proxies = vec!["127.0.0.1".to_owned()];
    let readers = vec!["198.51.100.0/24".to_owned()];
    let world = World::with(Config { trusted_proxies: proxies, status_readers: readers, ..config() }).await;
    world.health.add("moon", || async { Ok("full".into()) });
    for (client, known) in [(None, true), (Some("198.51.100.7"), true), (Some("192.0.2.1"), false)] {
        let get = |path: &str| {
            let request = world.anonymous("GET", path);
            let request =
                client.iter().fold(request, |request, client| request.header("x-forwarded-for", *client));
            world.ask(request, "")
        };
        assert_eq!(get("/livez").await.status, 200);
        assert_eq!(get("/version").await.status, 200);
        let ready = get("/readyz").await;
        assert_eq!((ready.status.as_u16(), ready.text().contains("moon")), (200, known), "{client:?}");
        assert_eq!(ready.json()["status"], "ready");
        let metrics = get("/metrics").await;
        if known {
            assert_eq!(metrics.status, 200, "{client:?}");
        } else {
            assert!(is(&metrics, 404, "route_not_found"), "{client:?}");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_named_speaks_for_strangers() {
    let world = World::new().await;
    for header in ["x-forwarded-for", "forwarded", "via", "x-real-ip"] {
        let request = world.anonymous("GET", "/metrics").header(header, "127.0.0.1");
        assert!(is(&world.ask(request, "").await, 404, "route_not_found"), "{header}");
    }
}
