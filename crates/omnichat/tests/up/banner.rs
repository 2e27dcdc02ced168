//! The lines that `omnichat up` prints: they work when pasted.

use std::process::Command;

use llm::{Message, simulator::answer};
use serde_json::Value;
use testkit::{Exit, Signal, Stranger};

use crate::installation::{Installation, run};

/// Shows what the nats CLI would be given, one argument per line.
const SHOW_NATS: &str = r#"nats() { printf '%s\n' nats "$@"; }"#;

#[tokio::test]
async fn the_printed_lines_hold_a_conversation() {
    let mut machine = Installation::new();
    let mut up = machine.up().await;
    let printed = up.process.printed();
    for address in ["http", "nats", "postgres"] {
        assert!(printed.contains(up.run[address].as_str().unwrap()), "{address}: {printed}");
    }
    let http = up.run["http"].as_str().unwrap();
    assert!(printed.contains(&format!("{http}/play\n")), "the page is what a newcomer opens: {printed}");
    assert_eq!(up.run["pid"], up.process.pid());
    assert!(printed.contains("simulated"), "that nobody takes its answers for real ones: {printed}");

    let pasted: Vec<_> =
        printed.lines().filter(|line| line.starts_with("  ") && line.contains('$')).collect();
    assert_eq!(pasted.len(), 8, "{printed}");
    let output = run(Command::new("bash").arg("-c").arg(format!("{SHOW_NATS}\n{}", pasted.join("\n"))));
    let shown = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = shown.lines().collect();
    let user: Value = serde_json::from_str(lines[0]).expect("the answer to the registration");
    assert_eq!(user["email"], "you@example.org");
    let first: Value = serde_json::from_str(lines[1]).expect("the answer to the message");
    let said = answer(&[Message::user("Hello!")]);
    assert_eq!(first["response"], *said);

    let [
        "nats",
        "req",
        subject,
        body,
        "--server",
        server,
        "--token",
        token,
        "--inbox-prefix",
        inbox,
        "--timeout",
        _,
    ] = lines[2..]
    else {
        panic!("another request than expected: {shown}");
    };
    let nats = Stranger::with_token(server, token, inbox).await.unwrap();
    let second = nats.request(subject, &[], body.to_owned()).await.json();
    let said = [Message::user("Hello!"), Message::assistant(said), Message::user("And hello over NATS!")];
    assert_eq!(second["response"], *answer(&said));

    up.process.signal(Signal::INT);
    assert_eq!(up.process.exit().await, Exit::SUCCESS);
    assert!(!machine.data_dir().join("run.json").exists(), "the addresses are nobody's any more");
}
