//! Conversations: what they are about, and with which model, prompt and settings they are held.

use llm::Settings;
use serde_json::{Value, json};
use testkit::{Layout, User, World, both_layouts, user::text};

use crate::{NOWHERE, fields, world};

both_layouts![
    both_forms_of_starting_a_conversation_are_one,
    conversations_are_listed_by_project_and_changed,
    a_deleted_conversation_is_nowhere,
    the_prompt_opens_every_call_at_the_version_wanted,
    a_prompt_must_be_there,
    a_model_is_chosen_by_conversation_or_message,
    settings_reach_the_provider,
];

async fn begin(user: &User, conversation: Value) -> String {
    text(&user.post("/conversations", conversation).await.ok()["id"])
}

async fn both_forms_of_starting_a_conversation_are_one(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let plain = ana.post_nothing(&format!("/conversations?project_id={project}")).await.ok();
    let named = ana.post("/conversations", json!({ "project_id": project })).await.ok();
    for conversation in [&plain, &named] {
        let names = "created_at id model project_id prompt_id prompt_label prompt_version settings title updated_at variables";
        assert_eq!(fields(conversation).join(" "), names);
        assert_eq!((&conversation["project_id"], &conversation["title"]), (&json!(project), &Value::Null));
        let path = format!("/conversations/{}", text(&conversation["id"]));
        assert_eq!(ana.get(&path).await.ok(), *conversation);
        assert!(ana.history(&text(&conversation["id"])).await.is_empty());
    }
    ana.post_nothing("/conversations").await.fault(422, "invalid_body");
}

async fn conversations_are_listed_by_project_and_changed(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (project, other) = (ana.project().await, ana.project().await);
    let list = async |project: &str| ana.get(&format!("/conversations/project/{project}")).await.ok();
    assert_eq!(list(&project).await, json!([]));
    let first = begin(&ana, json!({ "project_id": project, "title": "First" })).await;
    let second = begin(&ana, json!({ "project_id": project, "settings": { "seed": 1 } })).await;
    begin(&ana, json!({ "project_id": other })).await;
    let listed = list(&project).await;
    assert_eq!(
        (&listed[0]["id"], &listed[1]["id"], &listed[2]),
        (&json!(first), &json!(second), &Value::Null)
    );

    let path = format!("/conversations/{first}");
    let changed =
        ana.patch(&path, json!({ "title": "1st", "model": "large", "settings": { "seed": 7 } })).await.ok();
    assert_eq!((&changed["title"], &changed["model"]), (&json!("1st"), &json!("large")));
    assert_eq!(changed["settings"], json!({ "seed": 7 }));
    let cleared = ana.patch(&path, json!({ "title": null, "model": null })).await.ok();
    assert_eq!((&cleared["title"], &cleared["model"]), (&Value::Null, &Value::Null));
    assert_eq!(cleared["settings"], json!({ "seed": 7 }), "what is not given is left");

    ana.send(&first, "hi").await.ok();
    let touched = ana.get(&path).await.ok();
    assert!(text(&touched["updated_at"]) > text(&cleared["updated_at"]), "a turn is a change");
    assert_eq!(list(&project).await[0], touched);
}

async fn a_deleted_conversation_is_nowhere(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let conversation = begin(&ana, json!({ "project_id": project })).await;
    let turn = text(&ana.send_with_key(&conversation, "hi", "k1").await.ok()["turn_id"]);
    let path = format!("/conversations/{conversation}");

    assert_eq!(ana.delete(&path).await.ok(), json!({ "message": "Conversation deleted successfully" }));
    for answer in [
        ana.get(&path).await,
        ana.patch(&path, json!({ "title": "t" })).await,
        ana.delete(&path).await,
        ana.get(&format!("{path}/messages")).await,
        ana.send(&conversation, "again").await,
        ana.send_with_key(&conversation, "hi", "k1").await,
    ] {
        assert_eq!(answer.fault(404, "conversation_not_found")["detail"], "Conversation not found");
    }
    ana.get(&format!("/turns/{turn}")).await.fault(404, "turn_not_found");
    assert_eq!(ana.get(&format!("/conversations/project/{project}")).await.ok(), json!([]));
    assert_eq!(world.provider().calls().len(), 1);
}

/// The system prompt of the last call, if it began with one.
fn system(world: &World) -> Option<String> {
    let calls = world.provider().calls();
    let first = calls.last()?.messages.first()?;
    (first.role == llm::Role::System).then(|| first.content.to_string())
}

async fn the_prompt_opens_every_call_at_the_version_wanted(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let prompts = format!("/projects/{project}/prompts");
    let prompt = text(&ana.post(&prompts, json!({ "name": "p", "content": "one" })).await.ok()["id"]);
    let path = format!("{prompts}/{prompt}");
    let next = async |content: &str| ana.put(&path, json!({ "content": content })).await.ok();
    let label = async |version: i32| {
        ana.put(&format!("{path}/labels/production"), json!({ "version": version })).await.ok();
    };
    let told = async |conversation: &str| {
        let turn = text(&ana.send(conversation, "hi").await.ok()["turn_id"]);
        let turn = ana.get(&format!("/turns/{turn}")).await.ok();
        let system = system(&world);
        assert_eq!(turn["prompt_id"], system.as_ref().map_or(Value::Null, |_| json!(prompt)));
        system.map(|system| (system, turn["prompt_version"].as_i64().unwrap()))
    };
    let version = |content: &str, number| Some((content.to_owned(), number));
    next("two").await;
    label(1).await;

    let none = begin(&ana, json!({ "project_id": project })).await;
    let current = begin(&ana, json!({ "project_id": project, "prompt_id": prompt })).await;
    let pinned =
        begin(&ana, json!({ "project_id": project, "prompt_id": prompt, "prompt_version": 1 })).await;
    let labelled =
        begin(&ana, json!({ "project_id": project, "prompt_id": prompt, "prompt_label": "production" }))
            .await;
    assert_eq!(told(&none).await, None);
    assert_eq!(told(&current).await, version("two", 2));
    assert_eq!(told(&pinned).await, version("one", 1));
    assert_eq!(told(&labelled).await, version("one", 1));
    next("three").await;
    label(3).await;
    assert_eq!(told(&current).await, version("three", 3), "what is current when the turn is accepted");
    assert_eq!(told(&pinned).await, version("one", 1));
    assert_eq!(told(&labelled).await, version("three", 3), "the label was moved");
    ana.post(&format!("{path}/rollback"), json!({ "version": 1 })).await.ok();
    assert_eq!(told(&current).await, version("one", 4), "a rollback is a version too");
    assert_eq!(told(&labelled).await, version("three", 3));
}

async fn a_prompt_must_be_there(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (project, other) = (ana.project().await, ana.project().await);
    let new = json!({ "name": "p", "content": "c" });
    let prompt = text(&ana.post(&format!("/projects/{project}/prompts"), new).await.ok()["id"]);
    let cases = [
        json!({ "project_id": project, "prompt_id": NOWHERE }),
        json!({ "project_id": other, "prompt_id": prompt }),
        json!({ "project_id": project, "prompt_id": prompt, "prompt_version": 2 }),
        json!({ "project_id": project, "prompt_id": prompt, "prompt_label": "none" }),
    ];
    for case in cases {
        ana.post("/conversations", case).await.fault(404, "prompt_not_found");
    }
    let orphan = json!({ "project_id": project, "prompt_version": 1 });
    let problem = ana.post("/conversations", orphan).await.fault(422, "invalid_body");
    assert_eq!(problem["errors"][0]["field"], "prompt_id");
    let both =
        json!({ "project_id": project, "prompt_id": prompt, "prompt_version": 1, "prompt_label": "l" });
    ana.post("/conversations", both).await.fault(422, "invalid_body");
}

async fn a_model_is_chosen_by_conversation_or_message(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let conversation = begin(&ana, json!({ "project_id": project })).await;
    let (path, messages) =
        (format!("/conversations/{conversation}"), format!("/conversations/{conversation}/messages"));
    let asked = async |message: Value| {
        let answer = ana.post(&messages, message).await.ok();
        let model = world.provider().calls().last().unwrap().model.clone();
        assert_eq!(answer["model"], model);
        model
    };
    assert_eq!(asked(json!({ "content": "hi" })).await, "small", "the default");
    assert_eq!(asked(json!({ "content": "hi", "model": "large" })).await, "large");
    ana.patch(&path, json!({ "model": "large" })).await.ok();
    assert_eq!(asked(json!({ "content": "hi" })).await, "large");
    assert_eq!(asked(json!({ "content": "hi", "model": "small" })).await, "small");

    let unknown = [
        ana.post("/conversations", json!({ "project_id": project, "model": "huge" })).await,
        ana.patch(&path, json!({ "model": "huge" })).await,
        ana.post(&messages, json!({ "content": "hi", "model": "huge" })).await,
    ];
    for answer in unknown {
        let detail = text(&answer.fault(422, "unknown_model")["detail"]);
        assert!(detail.contains("small") && detail.contains("large"), "{detail}");
    }
    assert_eq!(world.provider().calls().len(), 4);
}

async fn settings_reach_the_provider(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let of_conversation = json!({ "temperature": 0.1, "max_tokens": 50, "stop": ["END"] });
    let conversation = begin(&ana, json!({ "project_id": project, "settings": of_conversation })).await;
    let messages = format!("/conversations/{conversation}/messages");
    let asked = async |message: Value| {
        ana.post(&messages, message).await.ok();
        world.provider().calls().last().unwrap().settings.clone()
    };
    let stop = Some(vec!["END".to_owned()]);
    let expected = Settings { temperature: Some(0.1), max_tokens: Some(50), stop, ..Settings::default() };
    assert_eq!(asked(json!({ "content": "hi" })).await, expected);
    let over = json!({ "temperature": 1.3, "top_p": 0.7, "seed": -1 });
    let expected = Settings { temperature: Some(1.3), top_p: Some(0.7), seed: Some(-1), ..expected };
    assert_eq!(asked(json!({ "content": "hi", "settings": over })).await, expected);
}
