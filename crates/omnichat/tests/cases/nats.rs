//! Cases 69 to 78 and 83: requests over NATS, each answered with its fault or by nobody, and bytes that are not NATS's.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use testkit::{Layout, Reply, Stranger, User, World, user::text};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::Table;

const PATIENCE: Duration = Duration::from_secs(40);
const PACKED: &[(&str, &str)] = &[("Content-Type", "application/msgpack")];
/// What is expected where nobody listens.
const NOBODY: (u16, &str) = (0, "no responders");

async fn world() -> World {
    World::builder(env!("CARGO_BIN_EXE_omnichat"), Layout::OneProcess).start().await
}

/// The rest of a subject after the user, headers and body; the fault's status and code.
type Row = (u16, &'static str, String, Vec<(&'static str, String)>, Bytes, (u16, &'static str));

fn row(
    case: u16,
    what: &'static str,
    rest: impl Into<String>,
    headers: &[(&'static str, &str)],
    body: impl Into<Bytes>,
    expected: (u16, &'static str),
) -> Row {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    (case, what, rest.into(), headers, body.into(), expected)
}

fn bodies() -> Vec<Row> {
    let make = "projects.create";
    let (malformed, unfit) = ((400, "malformed_body"), (422, "invalid_body"));
    let deep = [&b"\x81\xa9variables\x81\xa1a"[..], &[0x91; 10_000]].concat();
    vec![
        row(69, "no JSON", make, &[], "name", malformed),
        row(69, "MessagePack that is not declared", make, &[], &b"\x81\xa4name\xa1a"[..], malformed),
        row(69, "JSON that is declared as MessagePack", make, PACKED, r#"{"name":"a"}"#, unfit),
        row(69, "an array of 2^32 - 1 elements", make, PACKED, &b"\xdd\xff\xff\xff\xff"[..], unfit),
        row(69, "a map of 2^32 - 1 entries", make, PACKED, &b"\xdf\xff\xff\xff\xff"[..], malformed),
        row(
            69,
            "a text of 2^32 - 1 bytes",
            make,
            PACKED,
            &b"\x81\xa4name\xdb\xff\xff\xff\xff"[..],
            malformed,
        ),
        row(69, "arrays within arrays", make, PACKED, vec![0x91; 10_000], unfit),
        row(69, "arrays within an object", "conversations.create", PACKED, deep, malformed),
        row(69, "JSON arrays within arrays", make, &[], "[".repeat(10_000), malformed),
        row(69, "bytes after the end", make, PACKED, &b"\x81\xa4name\xa1a\xc0"[..], malformed),
        row(69, "a type of no meaning", make, PACKED, &b"\xc1"[..], unfit),
        row(
            69,
            "an unknown encoding",
            make,
            &[("Content-Type", "text/html")],
            "x",
            (415, "unsupported_media_type"),
        ),
        row(70, "nothing where something is needed", make, &[], "", (422, "invalid_body")),
        row(71, "one byte too many", make, &[], " ".repeat(128 * 1024 + 1), (413, "body_too_large")),
        row(
            77,
            "a thousand headers and a large one",
            "projects.list",
            &[("X-Large", &"x".repeat(100_000))],
            "",
            (200, ""),
        ),
    ]
}

fn subjects() -> Vec<Row> {
    let nothing = (404, "project_not_found");
    let mut rows: Vec<_> = ["*", ">", "\u{202e}", "\u{1b}[31m", "'", "%2e", "x", "-"]
        .map(|token| row(73, "a token that is no id", format!("projects.{token}.get"), &[], "", nothing))
        .into();
    rows.push(row(73, "a long token", format!("projects.{}.get", "x".repeat(2_000)), &[], "", nothing));
    rows.push(row(73, "250 tokens", format!("projects{}.get", ".x".repeat(250)), &[], "", NOBODY));
    rows.push(row(78, "an unknown operation", "projects.frobnicate", &[], "", NOBODY));
    rows.push(row(78, "an operation of no service", "billing.list", &[], "", NOBODY));
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_answered_as_the_table_says() {
    let world = world().await;
    let ana = world.user().await;
    let nats = world.nats_as(&ana).await;
    let mut table = Table::default();
    for (case, what, rest, headers, body, expected) in bodies().into_iter().chain(subjects()) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = nats.try_request(&subject(&ana, &rest), &headers, body).await;
        table.row(case, &format!("{what}: {rest:.60}"), is(reply, expected));
    }
    assert_eq!(ana.get("/projects").await.ok(), json!([]), "nothing was made of any of it");
}

fn subject(user: &User, rest: &str) -> String {
    format!("omnichat.v1.u.{}.{rest}", user.id)
}

fn is(reply: Result<Reply, String>, (status, code): (u16, &str)) -> Result<(), String> {
    let found = match &reply {
        Err(error) if status == 0 && error.contains(code) => return Ok(()),
        Err(error) => error.clone(),
        Ok(reply) => format!(
            "{} {:.200}",
            reply.header("Nats-Service-Error-Code"),
            String::from_utf8_lossy(reply.body())
        ),
    };
    let wanted = if status == 200 { String::new() } else { status.to_string() };
    let well =
        reply.is_ok_and(|reply| reply.header("Nats-Service-Error-Code") == wanted && found.contains(code));
    if well { Ok(()) } else { Err(format!("{found}, not {status} {code}")) }
}

/// Case 75: what JetStream would do with a header happens to streams alone, and no request goes to one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_streams_obey_are_only_headers() {
    let world = world().await;
    let ana = world.user().await;
    let nats = world.nats_as(&ana).await;
    let headers = [
        ("Nats-Msg-Id", "1"),
        ("Nats-Rollup", "all"),
        ("Nats-TTL", "1s"),
        ("Nats-Expected-Stream", "TURNS"),
        ("Nats-Expected-Last-Sequence", "0"),
        ("Nats-Schedule", "@every 1s"),
        ("Nats-Schedule-Target", "omnichat.q.turn.x.y"),
    ];
    let conversation = ana.conversation().await;
    let send = subject(&ana, &format!("conversations.{conversation}.send"));
    for n in 1..=2 {
        let body = json!({ "content": format!("message {n}") }).to_string();
        let sent = nats.request(&send, &headers, body).await.json();
        assert_eq!(sent["message"]["seq"], 2 * n - 1, "{sent}");
    }
    assert_eq!(ana.history(&conversation).await.len(), 4, "the second is no repeat of the first");
    assert_eq!(world.provider().calls().len(), 2);
}

/// Case 76: the caller is the fourth token, whatever a header says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_does_not_say_who_asks() {
    let world = world().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let nats: Stranger = world.nats_as(&bob).await;
    let info = json!({ "acc": "SYSTEM", "user": ana.id, "name": ana.id }).to_string();
    let headers = [("Nats-Request-Info", info.as_str()), ("X-User", &ana.id), ("Oc-User", &ana.id)];
    let seen = nats.request(&subject(&bob, "account.get"), &headers, "").await.json();
    assert_eq!(text(&seen["id"]), bob.id);
}

/// What is sent to NATS's port, and what is in the answer before the connection ends.
fn garbage() -> Vec<(u16, &'static str, Vec<u8>, &'static str)> {
    let anonymous = r#"CONNECT {"verbose":false,"pedantic":false,"lang":"x","version":"1","protocol":1}"#;
    vec![
        (71, "a message larger than any", b"PUB x 9000000\r\n".to_vec(), "-ERR"),
        (77, "headers larger than any", b"HPUB x 8000000 9000000\r\n".to_vec(), "-ERR"),
        (79, "nobody", format!("{anonymous}\r\nPING\r\n").into_bytes(), "Authorization Violation"),
        (
            79,
            "nobody, who subscribes",
            format!("{anonymous}\r\nSUB > 1\r\n").into_bytes(),
            "Authorization Violation",
        ),
        (83, "HTTP", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), "-ERR"),
        (83, "a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n".to_vec(), "-ERR"),
        (83, "a line that never ends", vec![b'x'; 100_000], "-ERR"),
        (83, "zeros", vec![0; 10_000], "-ERR"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_nats_is_turned_away() {
    let world = world().await;
    let ana = world.user().await;
    let mut table = Table::default();
    for (case, what, bytes, wanted) in garbage() {
        let answer = exchange(&world.nats_url(), &bytes).await;
        let well = answer.starts_with("INFO ") && answer.contains(wanted);
        table.row(case, what, if well { Ok(()) } else { Err(format!("{answer:.600}")) });
        ana.get("/projects").await.ok();
    }
}

/// Sends all of it, and reads until the server closes.
async fn exchange(url: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("nats://")).await.unwrap();
    // The server may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}
