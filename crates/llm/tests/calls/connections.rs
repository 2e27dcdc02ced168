//! Connections: opened, used again, refused.

use llm::{CallError, Phase, Timeouts};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::{
    ask::{KEY, PATIENT, answer, gateway, prompt, simulator},
    raw::{Act, DONE, FINISH, Raw, delta, stream},
};

#[tokio::test]
async fn one_connection_serves_call_after_call() {
    let simulator = simulator().await;
    let gateway = gateway(simulator.base_url(), PATIENT);
    let good = ["hi", "[[sim chunk_ms=2]]", "[[sim no_done]]", "[[sim drip]]"];
    let refused = ["[[sim status=429]]", "[[sim status=500]]", "[[sim error_in_200]]"];
    for said in good.into_iter().chain(refused).cycle().take(28) {
        let _ = answer(&gateway, said).await;
    }
    assert_eq!(simulator.counters().connections, 1, "{:?}", simulator.counters());
}

#[tokio::test]
async fn a_call_carries_its_id_its_trace_and_the_key() {
    let raw = Raw::streaming(delta("hi") + FINISH + DONE).await;
    let gateway = gateway(raw.base_url(), PATIENT);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut prompt = prompt("hi", "turn-7:2");
    prompt.traceparent = Some(trace.to_owned());
    gateway.call(prompt).await.unwrap();
    let request = raw.requests().remove(0);
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
    for header in [
        "x-client-request-id: turn-7:2",
        &format!("traceparent: {trace}"),
        &format!("authorization: Bearer {KEY}"),
        "accept: text/event-stream",
        "content-type: application/json",
    ] {
        assert!(request.contains(&format!("\r\n{header}\r\n")), "{header} is missing in {request}");
    }
    assert!(request.ends_with("\"stream_options\":{\"include_usage\":true}}"), "{request}");
}

#[tokio::test]
async fn a_call_id_that_is_no_header_is_refused() {
    let raw = Raw::streaming("").await;
    let refused = gateway(raw.base_url(), PATIENT).call(prompt("hi", "a\r\nb: c")).await.err();
    assert!(matches!(refused, Some(CallError::InvalidPrompt(_))), "{refused:?}");
    assert_eq!(raw.requests().len(), 0);
}

#[tokio::test]
async fn an_unreachable_provider_is_unavailable() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let refused = answer(&gateway(format!("http://{addr}/v1"), PATIENT), "hi").await.unwrap_err().1;
    assert_eq!(refused, CallError::Unavailable("it refuses connections"));

    let unspeakable = format!("http://{}.internal/v1", "x".repeat(64)); // fails before anybody is asked
    let nameless = answer(&gateway(unspeakable, PATIENT), "hi").await.unwrap_err().1;
    assert_eq!(nameless, CallError::Unavailable("its name does not resolve"));
}

#[tokio::test]
async fn a_connection_closed_before_the_answer_is_unavailable() {
    for head in ["", "HTTP/1.1 200 OK\r\ncontent-", "not http at all\r\n\r\n"] {
        let raw = Raw::playing(vec![vec![Act::Send(head.into())]]).await;
        let broken = answer(&gateway(raw.base_url(), PATIENT), "hi").await.unwrap_err().1;
        assert_eq!(broken, CallError::Unavailable("it broke the connection before it answered"), "{head}");
    }
}

#[tokio::test]
async fn https_needs_a_provider_that_speaks_it() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    let speaking_http = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        connection
    };
    let patient = gateway(url.clone(), PATIENT);
    let (failed, _connection) = tokio::join!(answer(&patient, "hi"), speaking_http);
    assert_eq!(failed.unwrap_err().1, CallError::Unavailable("the TLS handshake failed"));

    // Now nobody accepts, and the kernel lets the connection wait.
    let late = answer(&gateway(url, Timeouts { connect_ms: 150, ..PATIENT }), "hi").await.unwrap_err().1;
    assert_eq!(late, CallError::TimedOut(Phase::Connect));
}

#[tokio::test]
async fn a_finished_answer_does_not_wait_for_the_connection_to_close() {
    let body = stream(delta("hi") + FINISH + DONE);
    let raw = Raw::playing(vec![vec![Act::Send(body), Act::Hold]]).await;
    let (text, _) = answer(&gateway(raw.base_url(), PATIENT), "hi").await.unwrap();
    assert_eq!(text, "hi");
}
