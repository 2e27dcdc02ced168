//! Images beside the text of a message, from the client to the provider, and to whoever reads the conversation later.

use llm::{ImageDetail, Images, Role as Speaker};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Layout, Role, User, World, both_layouts, eventually, user::text};

use crate::{SOON, fields, world};

both_layouts![
    an_image_is_shown_to_the_model_and_to_readers,
    an_image_is_part_of_what_was_said_before,
    an_image_is_part_of_what_a_key_stands_for,
    another_wire_is_shown_the_same,
    what_is_no_image_is_refused_by_its_place,
];

const CAT: &str = "https://example.org/cat.png";
const DOT: &str = "data:image/gif;base64,R0lGODlhAQABAAAAACw=";

fn images() -> Value {
    json!([{ "url": CAT, "detail": "low" }, { "url": DOT }])
}

async fn show(user: &User, conversation: &str, content: &str, images: Value) -> testkit::Answer {
    let body = json!({ "content": content, "images": images });
    user.post(&format!("/conversations/{conversation}/messages"), body).await
}

/// The addresses that each message of the last call showed.
fn shown(world: &World) -> Vec<(String, Vec<String>)> {
    let calls = world.provider().calls();
    let urls = |images: &Option<Images>| {
        images.iter().flat_map(|images| images.iter().map(|image| image.url.to_string())).collect()
    };
    let messages = calls.last().unwrap().messages.iter();
    messages.map(|message| (message.content.to_string(), urls(&message.images))).collect()
}

fn both() -> Vec<String> {
    vec![CAT.to_owned(), DOT.to_owned()]
}

async fn an_image_is_shown_to_the_model_and_to_readers(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let answer = show(&ana, &conversation, "What is it?", images()).await.ok();
    assert_eq!(shown(&world), [("What is it?".to_owned(), both())]);
    let call = world.provider().calls().pop().unwrap();
    assert_eq!(call.messages[0].images.as_ref().unwrap()[0].detail, Some(ImageDetail::Low));

    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    assert_eq!((&messages[0]["content"], &messages[0]["images"]), (&json!("What is it?"), &images()));
    assert!(!fields(&messages[1]).contains(&"images"), "an answer has none");
    let all = ana.get(&format!("/conversations/{conversation}/messages?branch=all")).await.ok();
    assert_eq!(all, messages);
    let turn = ana.get(&format!("/turns/{}", text(&answer["turn_id"]))).await.ok();
    assert_eq!(turn["messages"], messages);

    ana.send(&conversation, "And without?").await.ok();
    show(&ana, &conversation, "And with none?", json!([])).await.ok();
    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    for plain in [2, 4] {
        assert!(!fields(&messages[plain]).contains(&"images"));
    }
    let stored = sqlx::query_scalar::<_, i64>("select count(*) from messages where images is not null");
    assert_eq!(stored.fetch_one(world.sql()).await.unwrap(), 1);
}

async fn an_image_is_part_of_what_was_said_before(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = show(&ana, &conversation, "What is it?", images()).await.ok();
    let response = text(&first["response"]);
    let told = |content: &str| (content.to_owned(), vec![]);
    ana.send(&conversation, "Sure?").await.ok();
    let expected = [("What is it?".to_owned(), both()), told(&response), told("Sure?")];
    assert_eq!(shown(&world), expected);

    let again = format!("/turns/{}/regenerate", text(&first["turn_id"]));
    ana.post(&again, json!({})).await.ok();
    assert_eq!(shown(&world), expected[..1]);

    // Whoever takes the conversation up reads it from the database.
    world.restart(Role::Chat).await;
    let sent = async || {
        let answer = ana.post(&again, json!({})).await;
        (answer.status == 200).then_some(())
    };
    eventually("the conversation is taken up", SOON, sent).await;
    assert_eq!(shown(&world), expected[..1]);
    let newest = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    ana.send(&conversation, "Now?").await.ok();
    let response = text(&newest[1]["content"]);
    assert_eq!(shown(&world), [("What is it?".to_owned(), both()), told(&response), told("Now?")]);
    let calls = world.provider().calls();
    assert!(
        calls
            .iter()
            .flat_map(|call| &call.messages)
            .all(|it| it.role == Speaker::User || it.images.is_none())
    );
}

async fn an_image_is_part_of_what_a_key_stands_for(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "k1")];
    let send = async |body: Value| {
        let path = format!("/conversations/{conversation}/messages");
        ana.request(Method::POST, &path, &headers, Some(body.to_string().into())).await.unwrap()
    };
    let first = send(json!({ "content": "hi", "images": images() })).await.ok();
    assert_eq!(send(json!({ "images": images(), "content": "hi" })).await.ok(), first);
    for other in [json!({ "content": "hi" }), json!({ "content": "hi", "images": [{ "url": CAT }] })] {
        send(other).await.fault(422, "idempotency_key_reused");
    }
    assert_eq!(world.provider().calls().len(), 1);
}

async fn another_wire_is_shown_the_same(layout: Layout) {
    let world = world(layout).set("providers.simulator.kind", "anthropic").start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    show(&ana, &conversation, "What is it?", images()).await.ok();
    assert_eq!(shown(&world), [("What is it?".to_owned(), both())]);
}

async fn what_is_no_image_is_refused_by_its_place(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let cat = json!({ "url": CAT });
    for (images, field, code) in [
        (json!([cat, { "url": "http://example.org/cat.png" }]), "images[1].url", "invalid_value"),
        (json!([cat, { "url": CAT, "detail": "max" }]), "images[1].detail", "invalid_value"),
        (json!(vec![cat.clone(); 9]), "images", "out_of_range"),
        (json!([{ "url": format!("{CAT}{}", "x".repeat(65_536)) }]), "images", "too_long"),
        (json!(CAT), "images", "invalid_type"),
    ] {
        let problem = show(&ana, &conversation, "hi", images).await.fault(422, "invalid_body");
        let error = &problem["errors"][0];
        assert_eq!((&error["field"], &error["code"]), (&json!(field), &json!(code)), "{problem}");
    }
    show(&ana, &conversation, " ", images()).await.fault(422, "invalid_body");
    assert!(world.provider().calls().is_empty());
}
