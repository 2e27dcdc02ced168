//! Cases 7 to 32, 48, 53, 60, 66 and 68: requests over HTTP, each refused with its fault or taken as it is.

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Layout, User, World, user::PASSWORD, user::text};

use crate::Table;

async fn world() -> World {
    World::builder(env!("CARGO_BIN_EXE_omnichat"), Layout::OneProcess).start().await
}

const NOWHERE: &str = "01920000-0000-7000-8000-000000000000";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Method, path, headers and body of a request; its answer's status and code.
type Row = (u16, String, Method, String, Vec<(&'static str, String)>, Bytes, u16, &'static str);

fn posted(case: u16, what: &str, path: &str, body: impl Into<Bytes>, status: u16, code: &'static str) -> Row {
    let headers = vec![(JSON.0, JSON.1.to_owned())];
    (case, what.into(), Method::POST, path.into(), headers, body.into(), status, code)
}

fn got(
    case: u16,
    what: &str,
    path: &str,
    headers: &[(&'static str, &str)],
    status: u16,
    code: &'static str,
) -> Row {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    (case, what.into(), Method::GET, path.into(), headers, Bytes::new(), status, code)
}

/// Ids and paths, for a user who has this project.
fn addresses(project: &str) -> Vec<Row> {
    let html = [("accept", "text/html")];
    let target = |bytes: usize| format!("/projects?{}", "x".repeat(bytes - "/projects?".len()));
    let not_found =
        |what: &str, id: &str| got(10, what, &format!("/projects/{id}"), &[], 404, "project_not_found");
    vec![
        got(
            10,
            "an id in capitals is the same",
            &format!("/projects/{}", project.to_uppercase()),
            &[],
            200,
            "",
        ),
        not_found("braces", &format!("%7B{project}%7D")),
        not_found("no hyphens", &project.replace('-', "")),
        not_found("nil", "00000000-0000-0000-0000-000000000000"),
        not_found("version 1", "c232ab00-9414-11ec-b3c8-9f6bdeced846"),
        got(25, "NUL in the path", "/projects/%00", &[], 404, "project_not_found"),
        got(25, "a way up", "/projects/%2e%2e%2fauth%2fme", &[], 404, "project_not_found"),
        got(25, "a percent sign that stands for nothing", "/projects/%zz", &[], 404, "project_not_found"),
        got(25, "UTF-8 longer than need be", "/projects/%c0%af", &[], 404, "project_not_found"),
        got(25, "8 KiB", &target(8_192), &[], 200, ""),
        got(25, "8 KiB and a byte", &target(8_193), &[], 414, "uri_too_long"),
        got(11, "an unknown path", "/projects/x/y/z", &[], 404, "route_not_found"),
        got(19, "only HTML wanted", "/projects", &html, 200, ""),
        got(19, "only HTML wanted, of a fault", "/nothing", &html, 404, "route_not_found"),
    ]
}

/// What is wrong with JSON before it is looked at.
fn documents(project: &str, messages: &str) -> Vec<Row> {
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(10_000), close.repeat(10_000));
        format!(r#"{{"project_id":"{project}","variables":{{"a":{open}1{close}}}}}"#)
    };
    let setting = |value: &str| format!(r#"{{"content":"a","settings":{{"temperature":{value}}}}}"#);
    let malformed =
        |case, what: &str, path: &str, body: String| posted(case, what, path, body, 400, "malformed_body");
    vec![
        malformed(12, "two documents", "/projects", r#"{"name":"a"}{"name":"b"}"#.into()),
        malformed(16, "deep arrays", "/conversations", deep("[", "]")),
        malformed(16, "deep objects", "/conversations", deep(r#"{"a":"#, "}")),
        malformed(17, "a number too large", messages, setting("1e999")),
        malformed(17, "not a number", messages, setting("NaN")),
        posted(17, "a boolean in quotes", messages, setting(r#""true""#), 422, "invalid_body"),
        posted(17, "zero below zero", messages, setting("-0"), 200, ""),
    ]
}

/// What is too long or too short, and what is not.
fn lengths(messages: &str) -> Vec<Row> {
    let content = |bytes: usize| {
        json!({ "content": "\u{10ffff}".repeat(bytes / 4) + &"x".repeat(bytes % 4) }).to_string()
    };
    let named = |name: &str| json!({ "name": name }).to_string();
    let account = |email: &str, password: &str| json!({ "email": email, "password": password }).to_string();
    let wrong =
        |case, what: &str, path: &str, body: String| posted(case, what, path, body, 422, "invalid_body");
    let register = "/auth/register";
    vec![
        posted(29, "as much as fits", messages, content(32_768), 200, ""),
        wrong(32, "one byte more than fits", messages, content(32_769)),
        posted(32, "a name counts characters", "/projects", named(&"\u{10ffff}".repeat(255)), 200, ""),
        wrong(32, "one character too many", "/projects", named(&"\u{10ffff}".repeat(256))),
        wrong(48, "no name", "/projects", named("")),
        posted(48, "one of a name", "/projects", named("twice"), 200, ""),
        posted(48, "another of that name", "/projects", named("twice"), 200, ""),
        wrong(53, "a line end in an address", register, account("a@b.org\r\nx: y", "long enough")),
        wrong(53, "NUL in a password", register, account("a@b.org", "long\0enough")),
        wrong(53, "a password that everybody has", register, account("a@b.org", "password123")),
        posted(
            53,
            "a password of 1 MB",
            register,
            account("a@b.org", &"p".repeat(1 << 20)),
            413,
            "body_too_large",
        ),
    ]
}

/// What is not the sender's to say.
fn assignments(project: &str, messages: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut forged = |case, path: &str, mut body: Value, field: &str| {
        body[field] = json!(7);
        rows.push(posted(case, field, path, body.to_string(), 422, "invalid_body"));
    };
    for field in ["id", "user_id", "role", "created_at", "version", "is_active", "__proto__"] {
        forged(14, "/projects", json!({ "name": "a" }), field);
        forged(14, messages, json!({ "content": "a" }), field);
    }
    for field in ["seq", "epoch", "turn_id", "base_url", "api_key", "headers"] {
        forged(14, messages, json!({ "content": "a" }), field);
    }
    forged(48, &format!("/projects/{project}/prompts"), json!({ "name": "p", "content": "c" }), "version");
    rows
}

/// Where the reader of a stream says that it is. The answer of `turn` is some 40 bytes of its first attempt.
fn places(turn: &str) -> Vec<Row> {
    let path = format!("/turns/{turn}/events");
    let asked = |what: &str, query: &str, id: &str| {
        let headers: &[_] = if id.is_empty() { &[] } else { &[("last-event-id", id)] };
        got(60, what, &format!("{path}{query}"), headers, 400, "invalid_event_id")
    };
    let numbered = |what: &str, number: &str| asked(what, "", &format!("{turn}:{number}"));
    let mut rows = vec![
        asked("of another turn", "", &format!("{NOWHERE}:1")),
        asked("of no turn", "", "x:1"),
        asked("a bare number", "", "1"),
        asked("a bare turn", "", turn),
        asked("two different ones", "?starting_after=1", &format!("{turn}:0")),
        asked("no number in the query", "?starting_after=x", ""),
        asked("below zero in the query", "?starting_after=-1", ""),
        asked("nothing in the query", "?starting_after=", ""),
        numbered("nothing", ""),
        numbered("below zero", "-1"),
        numbered("no number", "x"),
        numbered("a fraction", "1.5"),
        numbered("larger than any", "99999999"),
        numbered("larger than a machine's", "99999999999999999999999"),
        numbered("between two attempts", "9000001"),
        numbered("more text than there is", "11000000"),
        numbered("a later attempt", "20000001"),
        numbered("an attempt too many", "40000001"),
    ];
    let twice = vec![("last-event-id", format!("{turn}:1")), ("last-event-id", format!("{turn}:1"))];
    rows.push((60, "two".into(), Method::GET, path.clone(), twice, Bytes::new(), 400, "invalid_event_id"));
    let query = "?starting_after=1&starting_after=1";
    rows.push(got(60, "two in the query", &format!("{path}{query}"), &[], 400, "malformed_request"));
    rows.push(got(60, "of nothing", &format!("/turns/{NOWHERE}/events"), &[], 404, "turn_not_found"));
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_answered_as_the_table_says() {
    let world = world().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let conversation = text(&ana.post("/conversations", json!({ "project_id": project })).await.ok()["id"]);
    let messages = format!("/conversations/{conversation}/messages");
    let turn = text(&ana.send(&conversation, "Good morning!").await.ok()["turn_id"]);
    let rows = [
        addresses(&project),
        documents(&project, &messages),
        lengths(&messages),
        assignments(&project, &messages),
        places(&turn),
    ];
    let mut table = Table::default();
    for (case, what, method, path, headers, body, status, code) in rows.concat() {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = (!body.is_empty()).then_some(body);
        let outcome = match ana.request(method, &path, &headers, body).await {
            Ok(answer) => is(&answer, status, code),
            Err(error) => Err(error.to_string()),
        };
        table.row(case, &what, outcome);
    }
}

fn is(answer: &Answer, status: u16, code: &str) -> Result<(), String> {
    let json = if status == 200 { "application/json" } else { "application/problem+json" };
    let found = answer.json();
    let same_code = status == 200 || found["code"] == code;
    if answer.status == status && same_code && answer.header("content-type") == json {
        return Ok(());
    }
    Err(format!("{} {:.300}, and not {status} {code}", answer.status, found.to_string()))
}

/// Cases 31 and 28 to 30 are in `flows/bodies.rs`; this is what is too long to stand there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_that_pile_up_are_kept_as_they_are() {
    let world = world().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let piled = format!("e{}", "\u{301}".repeat(10_000));
    let sent = ana.send(&conversation, &piled).await;
    sent.ok();
    assert_eq!(sent.header("x-content-type-options"), "nosniff");
    assert_eq!(ana.history(&conversation).await[0].1, piled);
}

/// Case 66: who somebody is stands in the token alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_but_the_token_says_who_asks() {
    let world = world().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let project = ana.project().await;
    let forged: Vec<Vec<(&str, &str)>> =
        ["x-user-id", "x-user", "x-forwarded-user", "remote-user", "oc-user", "nats-request-info"]
            .map(|name| vec![(name, ana.id.as_str()), ("x-forwarded-for", "127.0.0.1")])
            .into();
    for headers in forged {
        let seen = bob.request(Method::GET, "/auth/me", &headers, None).await.unwrap().ok();
        assert_eq!(seen["id"], json!(bob.id), "{headers:?}");
        let hers = bob.request(Method::GET, &format!("/projects/{project}"), &headers, None).await.unwrap();
        hers.fault(404, "project_not_found");
        let nobody = world.client().request(Method::GET, "/auth/me", &headers, None).await.unwrap();
        nobody.fault(401, "missing_token");
    }
}

/// Case 68: what machines ask is told to anybody who reaches it, so nothing of anybody's is in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_machines_ask_about_holds_nobodys_secrets() {
    let world = world().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    ana.send(&conversation, "a-word-of-hers").await.ok();
    ana.get(&format!("/projects/{conversation}?token=s3cret")).await;
    let words = secrets(&ana, &conversation);
    for path in ["/livez", "/readyz", "/version", "/metrics"] {
        let plain = world.client().get(path).await;
        assert_eq!(plain.status, 200, "{path}");
        let queried = world.client().get(&format!("{path}?user={}&x=%0a%0dfoo%7Bs3cret%7D", ana.id)).await;
        for answer in [&plain, &queried] {
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(!body.is_empty());
            for word in &words {
                assert!(!body.contains(word.as_str()), "{path} tells {word}");
            }
        }
    }
}

fn secrets(ana: &User, conversation: &str) -> Vec<String> {
    let mut words =
        vec![PASSWORD.to_owned(), "s3cret".into(), "a-word-of-hers".into(), conversation.to_owned()];
    words.extend([ana.id.clone(), ana.email.clone(), ana.token.clone(), "a secret of the tests".into()]);
    words
}

/// Case 7: a token longer than any is refused before anything is computed from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_longer_than_any_is_refused() {
    let world = world().await;
    for (length, status, code) in
        [(5_000, 401, Some("invalid_token")), (20_000, 431, Some("headers_too_large")), (200_000, 431, None)]
    {
        let client = world.client().with_token(&"x".repeat(length));
        let answer = client.get("/auth/me").await;
        assert_eq!(answer.status, status, "{length}");
        match code {
            Some(code) => drop(answer.fault(status, code)),
            None => assert!(answer.body.is_empty(), "it could not even be read"),
        }
    }
}

/// Case 52: an address that is taken is taken in each way to write it, and one that only looks like it is another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_is_told_like_any_other_mistake() {
    let world = world().await;
    let mut table = Table::default();
    let addresses = [
        ("at first", "ana@example.org", 200, ""),
        ("again", "ana@example.org", 400, "email_taken"),
        ("in capitals", "ANA@EXAMPLE.ORG", 400, "email_taken"),
        ("with a dot at the end", "ana@example.org.", 422, "invalid_body"),
        ("with spaces", " ana@example.org ", 422, "invalid_body"),
        ("with a name", "Ana <ana@example.org>", 422, "invalid_body"),
        ("with a tag", "ana+tag@example.org", 200, ""),
        ("with a letter that looks alike", "\u{430}na@example.org", 200, ""),
    ];
    for (what, email, status, code) in addresses {
        let body = json!({ "email": email, "password": PASSWORD });
        table.row(52, what, is(&world.client().post("/auth/register", body).await, status, code));
    }
}
