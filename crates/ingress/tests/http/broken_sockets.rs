//! Cases 62, 63 and 65: sockets that are not opened, and those that end for what comes over them, or does not.

use std::{num::NonZeroU32, time::Duration};

use futures::SinkExt;
use ingress::Config;
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::TcpSocket,
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::Message;
use wire::limits::{ANSWER_BYTES_MAX, SOCKET_CONTROLS_MAX, SOCKET_MESSAGE_BYTES_MAX};

use crate::{
    sockets::{Socket, end},
    streams::{Chat, counted},
    world::{World, config},
};

/// Far beyond every time here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A frame as it stands on the wire: its first byte has the end and the kind.
fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        short @ ..126 => frame.push(mask | u8::try_from(short).unwrap()),
        middle @ ..0x1_0000 => {
            frame.push(mask | 126);
            frame.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            frame.push(mask | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    if masked {
        // It masks with nothing, so that what is sent can be read here.
        frame.extend([0; 4]);
    }
    frame.extend(payload);
    frame
}

/// What it is, the address, headers beside those of every WebSocket, and the status and code of the answer.
type Knock<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str);

#[tokio::test]
async fn a_socket_is_refused_before_it_opens() {
    let allowed = vec!["https://app.example.org".to_owned()];
    let world = World::with(Config { allowed_origins: allowed, ..config() }).await;
    let own = format!("http://{}", world.address);
    let token = format!("Bearer {}", world.token(world.user));
    let protocols = "sec-websocket-protocol";
    let cases: [Knock<'_>; 13] = [
        ("a program", "/ws", &[], 101, ""),
        ("a page of this server", "/ws", &[("origin", &own)], 101, ""),
        ("a page that is let in", "/ws", &[("origin", "https://app.example.org")], 101, ""),
        ("a foreign page", "/ws", &[("origin", "https://evil.example")], 403, "origin_not_allowed"),
        ("a page from nowhere", "/ws", &[("origin", "null")], 403, "origin_not_allowed"),
        ("two pages", "/ws", &[("origin", &own), ("origin", &own)], 403, "origin_not_allowed"),
        ("another protocol", "/ws", &[(protocols, "mqtt")], 400, "malformed_request"),
        ("a token in the address", "/ws?access_token=a", &[], 401, "invalid_token"),
        ("the same, called otherwise", "/ws?token=a", &[], 401, "invalid_token"),
        ("a token in its header", "/ws", &[("authorization", &token)], 101, ""),
        ("another scheme", "/ws", &[("authorization", "Basic YTpi")], 401, "invalid_token"),
        (
            "two tokens",
            "/ws",
            &[("authorization", &token), (protocols, "omnichat.v1, bearer.a")],
            401,
            "invalid_token",
        ),
        ("an earlier version", "/ws", &[("sec-websocket-version", "8")], 426, "upgrade_required"),
    ];
    for (what, path, headers, status, code) in cases {
        let mut request = world.anonymous("GET", path).header("connection", "Upgrade");
        request =
            request.header("upgrade", "websocket").header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
        if !headers.iter().any(|(name, _)| *name == "sec-websocket-version") {
            request = request.header("sec-websocket-version", "13");
        }
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = world.ask(request, "").await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        if status == 101 {
            assert_eq!(answer.header("upgrade"), "websocket", "{what}");
        } else {
            assert_eq!(answer.fault(), (status, code.into()), "{what}");
        }
    }
    let plain = world.ask(world.request("GET", "/ws"), "").await;
    assert_eq!((plain.fault(), plain.header("upgrade")), ((426, "upgrade_required".into()), "websocket"));
    let posted = world.ask(world.request("POST", "/ws"), "").await;
    assert_eq!(posted.fault(), (405, "method_not_allowed".into()));
}

#[tokio::test]
async fn what_is_no_message_ends_the_socket_with_its_code() {
    const TEXT: u8 = 0x81;
    const PING: u8 = 0x89;
    let world = World::new().await;
    let most = "x".repeat(SOCKET_MESSAGE_BYTES_MAX);
    let part = "x".repeat(SOCKET_MESSAGE_BYTES_MAX / 2);
    let pieces = [frame(0x01, true, part.as_bytes()), frame(0, true, part.as_bytes()), frame(0, true, b"x")];
    let pings = vec![frame(PING, true, b""); SOCKET_CONTROLS_MAX as usize + 1].concat();
    let cases: [(&str, Vec<u8>, u16, &str); 12] = [
        ("a byte more than may be", frame(TEXT, true, format!("{most}x").as_bytes()), 1009, "too_big"),
        ("a length beyond all bounds", [&[TEXT, 0xff][..], &[0x7f; 8], &[0; 4]].concat(), 1009, "too_big"),
        ("the same in pieces", pieces.concat(), 1009, "too_big"),
        ("bytes", frame(0x82, true, b"{}"), 1003, "binary"),
        ("unmasked", frame(TEXT, false, b"{}"), 1002, "malformed"),
        ("compressed, as nobody agreed", frame(0xc1, true, b"{}"), 1002, "malformed"),
        ("a kind that there is not", frame(0x83, true, b""), 1002, "malformed"),
        ("a ping in pieces", frame(0x09, true, b""), 1002, "malformed"),
        ("a ping too long", frame(PING, true, &[0; 126]), 1002, "malformed"),
        ("a piece of nothing", frame(0x80, true, b"x"), 1002, "malformed"),
        ("no UTF-8", frame(TEXT, true, b"\xff"), 1007, "not_utf8"),
        ("pings, and nothing but pings", pings, 1008, "flooded"),
    ];
    for (what, bytes, code, reason) in cases {
        let mut socket = Socket::open(&world, world.user).await;
        socket.0.get_mut().write_all(&bytes).await.unwrap();
        assert_eq!(socket.end().await, end(code, reason), "{what}");
    }
    // What is a message, and makes no sense, is answered.
    let mut socket = Socket::open(&world, world.user).await;
    socket.0.send(Message::text(&most)).await.unwrap();
    assert_eq!(socket.error().await, ("malformed_body".into(), 400));
    for (said, code, status) in [
        ("{", "malformed_body", 400),
        ("[]", "invalid_body", 422),
        (r#"{"op":"fly"}"#, "invalid_body", 422),
        (r#"{"op":"ping","extra":1}"#, "invalid_body", 422),
        (r#"{"op":"cancel","turn_id":"x"}"#, "turn_not_found", 404),
    ] {
        socket.0.send(Message::text(said)).await.unwrap();
        assert_eq!(socket.error().await, (code.into(), status), "{said}");
    }
    assert_eq!(socket.ask(json!({ "op": "ping" })).await["event"], "reply", "and it goes on");
    assert!(counted(&world, "omnichat_socket_messages_total{op=\"unreadable\"}").await >= Some(5.0));
    assert!(counted(&world, "omnichat_sockets_in_flight").await >= Some(1.0));
    drop(socket);
    world.drain.begin();
    assert!(world.drain.finish(PATIENCE).await.is_empty(), "none of them is left over");
}

#[tokio::test]
async fn whoever_does_not_say_who_they_are_is_turned_away() {
    let world = World::new().await;
    let mut silent = Socket::knock(&world, "omnichat.v1").await;
    let mut said = Socket::knock(&world, "omnichat.v1").await;
    said.say(&json!({ "op": "ping", "ref": "1" })).await;
    assert_eq!(said.error().await, ("missing_token".into(), 401));
    assert_eq!(said.end().await, end(4401, "missing_token"));
    drop(said);
    for first in [None, Some(json!({ "op": "auth", "token": "abc" }))] {
        let protocols = if first.is_some() { "omnichat.v1" } else { "omnichat.v1, bearer.abc" };
        let mut wrong = Socket::knock(&world, protocols).await;
        if let Some(first) = first {
            wrong.say(&first).await;
        }
        assert_eq!(wrong.error().await, ("invalid_token".into(), 401));
        assert_eq!(wrong.end().await, end(4401, "invalid_token"));
    }
    assert_eq!(silent.come().await, end(4401, "missing_token"), "after five seconds of nothing");
    assert!(counted(&world, "omnichat_sockets_ended_total{reason=\"not_let_in\"}").await >= Some(4.0));
}

/// The library answers pings only while it is read from.
#[tokio::test]
async fn who_answers_no_ping_is_left() {
    let world = World::with(Config { stream_heartbeat_s: NonZeroU32::MIN, ..config() }).await;
    let socket = Socket::open(&world, world.user).await;
    let until = Instant::now() + PATIENCE;
    while counted(&world, "omnichat_sockets_ended_total{reason=\"silent\"}").await.is_none() {
        assert!(Instant::now() < until, "it is waited for and waited for");
    }
    drop(socket);
    let mut lively = Socket::open(&world, world.user).await;
    let quiet = timeout(Duration::from_secs(5), lively.come()).await;
    assert!(quiet.is_err(), "whoever answers stays, though nothing else is said: {quiet:?}");
}

/// Each byte of the text takes six in a frame, so that much is told and little is said.
#[tokio::test]
async fn who_takes_nothing_is_given_up() {
    let world = World::with(Config { stream_stall_s: NonZeroU32::MIN, ..config() }).await;
    let chat = Chat::play(&world).await;
    let slow = TcpSocket::new_v4().unwrap();
    slow.set_recv_buffer_size(4096).unwrap();
    let token = format!("omnichat.v1, bearer.{}", world.token(world.user));
    let mut silent = Socket::over(slow, &world, &token).await;
    let mut reader = Socket::open(&world, world.user).await;
    let watch = json!({ "op": "watch", "turn_id": chat.turn, "ref": "asked" });
    silent.say(&watch).await;
    reader.ask(watch).await;
    chat.asked.clone().wait_for(|times| *times >= 2).await.unwrap();

    let piece = "\u{1}".repeat(16 * 1024);
    for attempt in 1..=3 {
        for offset in (0..ANSWER_BYTES_MAX).step_by(piece.len()) {
            chat.say(attempt, offset, &piece).await;
            let text = loop {
                let frame = reader.frame().await;
                if frame["event"] == "delta" {
                    break frame["data"]["text"].clone();
                }
            };
            assert!(text == json!(piece), "{attempt} {offset}");
        }
    }
    let until = Instant::now() + PATIENCE;
    while counted(&world, "omnichat_sockets_ended_total{reason=\"lagged\"}").await.is_none() {
        assert!(Instant::now() < until, "it is waited for and waited for");
    }
    drop(silent);
    chat.complete(3, "x").await;
    while reader.frame().await["event"] != "completed" {}
}
