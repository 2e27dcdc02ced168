//! Cases 11 and 21 to 25: bytes that are not quite HTTP. Whatever is answered, no second request is smuggled in, and
//! the next connection finds everything as it was.

use std::time::Duration;

use testkit::{Layout, World};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::Table;

const PATIENCE: Duration = Duration::from_secs(40);

/// What is sent, and the statuses of which one must come, or 0: the connection is closed without a word.
type Row = (u16, &'static str, String, &'static [u16]);

fn rows() -> Vec<Row> {
    let post = |headers: &str, body: &str| {
        format!(
            "POST /auth/login HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
        )
    };
    let get = |headers: &str| format!("GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
    let headers = |count: usize| (0..count).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let at = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let inner = "GET /version HTTP/1.1\r\nHost: h\r\n\r\n";
    vec![
        (11, "TRACE", "TRACE /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".into(), &[405]),
        (
            11,
            "CONNECT",
            "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nConnection: close\r\n\r\n".into(),
            &[400, 404, 405],
        ),
        (21, "10 GB announced", post("Content-Length: 10737418240\r\n", "{"), &[413]),
        (22, "two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "{}"), &[400]),
        (22, "a length that is none", post("Content-Length: five\r\n", "{}"), &[400]),
        (22, "a length below zero", post("Content-Length: -1\r\n", "{}"), &[400]),
        (
            22,
            "a length and chunks",
            post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{inner}")),
            &[400, 422],
        ),
        (22, "chunks that are none", post("Transfer-Encoding: chunked\r\n", "zz\r\n"), &[400]),
        (22, "an unknown transfer", post("Transfer-Encoding: gzip\r\n", "x"), &[400, 501]),
        (23, "no Host", "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n".into(), &[400]),
        (23, "two Hosts", get("Host: h\r\n"), &[400]),
        (23, "two Hosts that differ", get("Host: other\r\n"), &[400]),
        (
            23,
            "another host in the target",
            "GET http://other/livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".into(),
            &[400],
        ),
        (24, "64 headers", get(&headers(62)), &[200]),
        (24, "65 headers", get(&headers(63)), &[431]),
        (24, "a header of 17 KB", get(&format!("X-Large: {}\r\n", "x".repeat(17_000))), &[431]),
        (24, "a header of 600 KB", get(&format!("X-Large: {}\r\n", "x".repeat(600_000))), &[431, 0]),
        (24, "200 headers", get(&headers(200)), &[431]),
        (24, "a folded header", get("X-Folded: a\r\n b\r\n"), &[400]),
        (24, "NUL in a value", get("X-Nul: a\0b\r\n"), &[400]),
        (24, "a space before the colon", get("X-Space : a\r\n"), &[400]),
        (24, "no name", get(": a\r\n"), &[400]),
        (24, "another protocol", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n".into(), &[400, 0]),
        (25, "a target of 9 KB", at(&format!("/livez?{}", "x".repeat(9_000))), &[414]),
        (25, "a target of 70 KB", at(&format!("/livez?{}", "x".repeat(70_000))), &[414, 431]),
        (25, "a target with a raw byte", at("/livez\u{1}"), &[400]),
        (24, "HTTP/0.9", "GET /livez\r\n\r\n".into(), &[400, 0]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_quite_http_is_refused() {
    let world = World::builder(env!("CARGO_BIN_EXE_omnichat"), Layout::OneProcess).start().await;
    let mut table = Table::default();
    for (case, what, bytes, statuses) in rows() {
        let answer = exchange(&world, bytes.as_bytes()).await;
        let found = status(&answer);
        let answers = answer.matches("HTTP/1.1 ").count();
        let well = statuses.contains(&found) && answers <= 1 && !answer.contains("\"omnichat\"");
        let alive = world.client().get("/livez").await.status == 200;
        let outcome =
            if well && alive { Ok(()) } else { Err(format!("{found}, not {statuses:?}: {answer:.300}")) };
        table.row(case, what, outcome);
    }
}

/// Sends all of it, whether it is taken or not, and reads until the other side closes.
async fn exchange(world: &World, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.http()).await.unwrap();
    // The other side may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}
