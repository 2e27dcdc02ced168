//! Clients that hold a connection and do not use it, and a service that does not answer.

use std::{num::NonZeroU32, time::Duration};

use bus::Incoming;
use ingress::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{interval, timeout},
};
use wire::{ConversationId, operations};

use crate::world::{World, config, subscribed};

/// Far beyond every limit here: a connection that is open then is never closed.
const PATIENCE: Duration = Duration::from_secs(60);
/// One after the other, a client would take for ever with them.
const DRIP: Duration = Duration::from_millis(50);

/// One second for everything, but for what `change` says.
async fn impatient(change: impl FnOnce(&mut Config)) -> World {
    let second = NonZeroU32::MIN;
    let mut config = Config {
        header_read_timeout_s: second,
        body_read_timeout_s: second,
        idle_timeout_s: second,
        ..config()
    };
    change(&mut config);
    World::with(config).await
}

/// Sends this at once, then `drip` again and again, until the other side closes; all that it said.
async fn stall(world: &World, what: &str, first: &str, drip: &str) -> String {
    let (mut reading, mut writing) = TcpStream::connect(world.address).await.unwrap().into_split();
    writing.write_all(first.as_bytes()).await.unwrap();
    let dripping = async {
        let mut pace = interval(DRIP);
        while !drip.is_empty() && writing.write_all(drip.as_bytes()).await.is_ok() {
            pace.tick().await;
        }
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    let closed = async {
        tokio::select! {
            // A reset after the answer is a way to close.
            _ = reading.read_to_end(&mut said) => {}
            () = dripping => {}
        }
    };
    timeout(PATIENCE, closed).await.unwrap_or_else(|_| panic!("{what}: it is never closed"));
    String::from_utf8(said).unwrap()
}

const LIVE: &str = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed() {
    const LOGIN: &str = "POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let body = format!("{LOGIN}Content-Length: 1000\r\n\r\n{{");
    let chunks = format!("{LOGIN}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n");
    let cases = [
        ("nothing sent", "", "", "", "head_time"),
        ("half a head", "GET /livez HTTP/1.1\r\nHost: a\r\n", "", "408", "head_time"),
        ("a head, byte by byte", "GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: ", "x", "408", "head_time"),
        ("half a body", &body, "", "408", "body_time"),
        ("a body, byte by byte", &body, " ", "408", "body_time"),
        ("a body, chunk by chunk", &chunks, "1\r\n \r\n", "408", "body_time"),
        ("idle after an answer", LIVE, "", "200", "idle_time"),
    ];
    let world = impatient(|_| {}).await;
    for (what, first, drip, status, limit) in cases {
        let said = stall(&world, what, first, drip).await;
        let expected = if status.is_empty() {
            said.is_empty()
        } else {
            said.starts_with(&format!("HTTP/1.1 {status} "))
        };
        assert!(expected && said.matches("HTTP/1.1 ").count() <= 1, "{what}: {said}");
        if status == "408" {
            assert!(
                said.contains("\"code\":\"request_timed_out\"") && said.contains("connection: close"),
                "{said}"
            );
        }
        let counted = format!("omnichat_limit_hits_total{{limit=\"{limit}\"}} ");
        let metrics = world.ask(world.anonymous("GET", "/metrics"), "").await.text();
        assert!(metrics.contains(&counted), "{what}: {metrics}");
    }
}

#[tokio::test]
async fn a_second_head_has_its_own_time() {
    let world = impatient(|config| config.idle_timeout_s = NonZeroU32::new(600).unwrap()).await;
    let (mut reading, mut writing) = TcpStream::connect(world.address).await.unwrap().into_split();
    writing.write_all(LIVE.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let length = reading.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
    writing.write_all(b"GET /livez HTT").await.unwrap();
    let mut said = String::new();
    timeout(PATIENCE, reading.read_to_string(&mut said)).await.unwrap().unwrap();
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answers_is_cut_off() {
    let world = impatient(|config| config.header_read_timeout_s = NonZeroU32::new(600).unwrap()).await;
    let (reading, mut writing) = TcpStream::connect(world.address).await.unwrap().into_split();
    // Far more answers than the buffers on the way hold, so that in the end neither side can go on.
    let asking = async { while writing.write_all(LIVE.repeat(100).as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, asking).await.expect("it is closed in the end");
    drop(reading);
}

/// A world in which this operation is asked for and nobody answers.
async fn silent(world: &World, operation: &wire::OperationInfo) {
    let service = world.service().await;
    service.subscribe_operation(operation, |_: Incoming| std::future::ready(())).await.unwrap();
    subscribed(&service).await;
}

#[tokio::test]
async fn a_request_has_its_time_and_a_send_has_more() {
    let world = impatient(|config| {
        config.total_timeout_s = NonZeroU32::MIN;
        config.request_timeout_s = NonZeroU32::new(2).unwrap();
        config.answer_timeout_s = NonZeroU32::new(2).unwrap();
    })
    .await;
    silent(&world, &operations::GET_ACCOUNT.info).await;
    let answer = world.ask(world.request("GET", "/auth/me"), "").await;
    assert_eq!(answer.fault(), (503, "unavailable".into()));
    let metrics = world.ask(world.anonymous("GET", "/metrics"), "").await.text();
    assert!(metrics.contains("omnichat_limit_hits_total{limit=\"total_time\"} "), "{metrics}");

    silent(&world, &operations::SEND_MESSAGE.info).await;
    let path = format!("/conversations/{}/messages", ConversationId::new());
    let answer = world.ask_json("POST", &path, "{}").await;
    assert_eq!(answer.fault(), (504, "answer_pending".into()), "it was waited for");
}
