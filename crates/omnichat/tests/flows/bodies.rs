//! Bodies that are not what a request wants: refused with the field by name, and without effect.

use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Layout, User, both_layouts, user::text};

use crate::world;

both_layouts![
    what_is_wrong_with_a_body_is_told_by_field,
    what_could_not_be_stored_is_refused_wherever_it_stands,
    a_body_is_bounded_declared_and_plain,
    text_is_kept_as_it_was_sent,
];

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

async fn post(user: &User, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    user.request(Method::POST, path, headers, Some(body.into())).await.unwrap()
}

/// Path, body, status, and then the field and its code.
type Case<'a> = (&'a str, String, u16, &'a str, &'a str);

async fn what_is_wrong_with_a_body_is_told_by_field(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let messages = format!("/conversations/{conversation}/messages");
    let name = |length: usize| json!({ "name": "n".repeat(length) }).to_string();
    let content = |text: &str| json!({ "content": text }).to_string();
    let register = |email: &str, password: &str| json!({ "email": email, "password": password }).to_string();
    let cases: Vec<Case> = vec![
        ("/projects", r#"{"name":"a","colour":"red"}"#.into(), 422, "colour", "unknown_field"),
        ("/projects", "{}".into(), 422, "name", "missing_field"),
        ("/projects", String::new(), 422, "name", "missing_field"),
        ("/projects", r#"{"name":7}"#.into(), 422, "name", "invalid_type"),
        ("/projects", r#"{"name":null}"#.into(), 422, "name", "invalid_type"),
        ("/projects", r#"{"name":"a","name":"b"}"#.into(), 422, "name", "duplicate_field"),
        ("/projects", r#"["a"]"#.into(), 422, "body", "invalid_type"),
        ("/projects", "null".into(), 422, "body", "invalid_type"),
        ("/projects", r#"{"name":"a\u0000b"}"#.into(), 422, "name", "invalid_character"),
        ("/projects", r#"{"name":" "}"#.into(), 422, "name", "too_short"),
        ("/projects", name(256), 422, "name", "too_long"),
        ("/auth/register", register("no address", "long enough"), 422, "email", "invalid_value"),
        (
            "/auth/register",
            register(&format!("{}@b.org", "a".repeat(255)), "long enough"),
            422,
            "email",
            "too_long",
        ),
        ("/auth/register", register("a@b.org", "short"), 422, "password", "too_short"),
        ("/auth/register", register("a@b.org", &"p".repeat(129)), 422, "password", "too_long"),
        ("/auth/login", r#"{"email":"a@b.org"}"#.into(), 422, "password", "missing_field"),
        ("/conversations", r#"{"project_id":"x"}"#.into(), 422, "project_id", "invalid_value"),
        ("/conversations?project_id=x", String::new(), 422, "project_id", "invalid_value"),
        (&messages, content(" \u{200b}\n"), 422, "content", "empty_message"),
        (&messages, content(&"x".repeat(32_769)), 422, "content", "message_too_long"),
        (&messages, content("a\0b"), 422, "content", "invalid_character"),
        (
            &messages,
            r#"{"content":"a","settings":{"temperature":3}}"#.into(),
            422,
            "settings.temperature",
            "out_of_range",
        ),
        (
            &messages,
            r#"{"content":"a","settings":{"temprature":1}}"#.into(),
            422,
            "settings.temprature",
            "unknown_field",
        ),
        (&messages, r#"{"content":"a","stream":"yes"}"#.into(), 422, "stream", "invalid_type"),
    ];
    for (path, body, status, field, code) in cases {
        let problem = post(&ana, path, &JSON, body.clone()).await.fault(status, "invalid_body");
        let error = &problem["errors"][0];
        assert_eq!((&error["field"], &error["code"]), (&json!(field), &json!(code)), "{path} {body:.80}");
        assert!(error["message"].is_string());
    }
    for body in [r#"{"name":"a""#, r#"{"name":"a"} x"#, "name=a", r#"{"name":"\ud800"}"#, "\u{feff}{}"] {
        post(&ana, "/projects", &JSON, body).await.fault(400, "malformed_body");
    }
    post(&ana, "/projects", &JSON, &b"{\"name\":\"\xff\"}"[..]).await.fault(400, "malformed_body");
    assert_eq!(
        ana.get("/projects").await.ok().as_array().unwrap().len(),
        1,
        "only the conversation's project"
    );
    assert!(ana.history(&conversation).await.is_empty());
    assert!(world.provider().calls().is_empty());
}

/// The database has no NUL in its texts, and no times after the year 9999.
async fn what_could_not_be_stored_is_refused_wherever_it_stands(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let prompts = format!("/projects/{project}/prompts");
    let prompt = ana.post(&prompts, json!({ "name": "p", "content": "Hello {{ name }}" })).await.ok();
    let prompt = text(&prompt["id"]);
    let of_prompt = |rest: &str| format!("{prompts}/{prompt}/{rest}");
    let conversation = ana.conversation().await;
    let at = format!("/conversations/{conversation}");
    let begin = |more: Value| {
        let mut body = json!({ "project_id": project, "prompt_id": prompt });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let cases = [
        (Method::POST, "/conversations", begin(json!({ "prompt_label": "a\0" })), "prompt_label"),
        (Method::POST, "/conversations", begin(json!({ "variables": { "name": "a\0" } })), "variables"),
        (
            Method::POST,
            "/conversations",
            begin(json!({ "variables": { "name": ["a", { "b\0": 1 }] } })),
            "variables",
        ),
        (Method::PATCH, &at, json!({ "prompt_id": prompt, "prompt_label": "a\0" }), "prompt_label"),
        (Method::PATCH, &at, json!({ "variables": { "a\0": 1 } }), "variables"),
        (Method::POST, &of_prompt("render"), json!({ "label": "a\0" }), "label"),
        (Method::POST, &of_prompt("render"), json!({ "variables": { "name": "a\0" } }), "variables"),
        (Method::PUT, &of_prompt("labels/a%00"), json!({ "version": 1 }), "label"),
        (Method::DELETE, &of_prompt("labels/a%00"), Value::Null, "label"),
        (
            Method::POST,
            "/auth/api-keys",
            json!({ "name": "k", "expires_at": "9999-12-31T23:59:59-23:59" }),
            "expires_at",
        ),
    ];
    for (method, path, body, field) in cases {
        let given = (!body.is_null()).then(|| body.to_string().into());
        let answer = ana.request(method.clone(), path, &JSON, given).await.unwrap();
        let problem = answer.fault(422, "invalid_body");
        assert_eq!(problem["errors"][0]["field"], field, "{method} {path} {body}");
    }
    let last = json!({ "name": "k", "expires_at": "9999-12-31T23:59:59Z" });
    assert_eq!(ana.post("/auth/api-keys", last.clone()).await.ok()["expires_at"], last["expires_at"]);
}

async fn a_body_is_bounded_declared_and_plain(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let body = r#"{"name":"a"}"#;
    for headers in
        [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/json; charset=latin1")]]
    {
        post(&ana, "/projects", headers, body).await.fault(415, "unsupported_media_type");
    }
    let packed = [JSON[0], ("content-encoding", "gzip")];
    post(&ana, "/projects", &packed, body).await.fault(415, "unsupported_media_type");
    post(&ana, "/projects", &JSON, " ".repeat(128 * 1024 + 1)).await.fault(413, "body_too_large");
    let largest = format!("{}{body}", " ".repeat(128 * 1024 - body.len()));
    post(&ana, "/projects", &[("content-type", "Application/JSON; charset=UTF-8")], largest).await.ok();
    ana.put("/projects", json!({})).await.fault(405, "method_not_allowed");
    ana.get("/nothing").await.fault(404, "route_not_found");
}

async fn text_is_kept_as_it_was_sent(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let texts = [
        "\u{202e}txt",
        "\u{1b}[31m",
        "<script>",
        "'; drop table users; --",
        "{{7*7}}",
        "e\u{301}",
        " a\r\n\tb ",
        "\u{10ffff}",
    ];
    for text in texts {
        ana.send(&conversation, text).await.ok();
    }
    let said: Vec<_> =
        ana.history(&conversation).await.into_iter().filter(|(role, _)| role == "user").collect();
    assert_eq!(said.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), texts);
}
