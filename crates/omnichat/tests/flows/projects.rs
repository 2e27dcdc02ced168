//! Projects, and the versioned prompts in them.

use serde_json::{Value, json};
use testkit::{Layout, both_layouts, user::text};

use crate::{NOWHERE, fields, world};

both_layouts![
    a_project_is_made_shown_changed_and_deleted,
    a_prompt_is_made_shown_versioned_and_deleted,
    versions_of_parallel_changes_have_no_gaps,
    what_is_in_a_project_goes_with_it,
];

async fn a_project_is_made_shown_changed_and_deleted(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    assert_eq!(ana.get("/projects").await.ok(), json!([]));
    let first = ana.post("/projects", json!({ "name": "First", "description": "d" })).await.ok();
    assert_eq!(fields(&first), ["created_at", "description", "id", "name", "updated_at", "user_id"]);
    assert_eq!(
        (&first["user_id"], &first["name"], &first["description"]),
        (&json!(ana.id), &json!("First"), &json!("d"))
    );
    let second = ana.post("/projects", json!({ "name": "Second" })).await.ok();
    assert_eq!(second["description"], Value::Null);
    assert_eq!(ana.get("/projects").await.ok(), json!([first, second]), "oldest first");

    let path = format!("/projects/{}", text(&first["id"]));
    assert_eq!(ana.get(&path).await.ok(), first);
    let patched = ana.patch(&path, json!({ "name": "1st" })).await.ok();
    assert_eq!((&patched["name"], &patched["description"]), (&json!("1st"), &json!("d")), "the rest is left");
    assert_eq!(patched["created_at"], first["created_at"]);
    assert!(text(&patched["updated_at"]) > text(&first["updated_at"]));
    let put = ana.put(&path, json!({ "name": "One" })).await.ok();
    assert_eq!((&put["name"], &put["description"]), (&json!("One"), &Value::Null), "the whole is replaced");
    assert_eq!(ana.get(&path).await.ok(), put);

    assert_eq!(ana.delete(&path).await.ok(), json!({ "message": "Project deleted successfully" }));
    for answer in [ana.get(&path).await, ana.delete(&path).await, ana.patch(&path, json!({})).await] {
        assert_eq!(answer.fault(404, "project_not_found")["detail"], "Project not found");
    }
    assert_eq!(ana.get("/projects").await.ok(), json!([second]));
}

async fn a_prompt_is_made_shown_versioned_and_deleted(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let prompts = format!("/projects/{project}/prompts");
    assert_eq!(ana.get(&prompts).await.ok(), json!([]));
    let first = ana.post(&prompts, json!({ "name": "Tone", "content": "Be brief." })).await.ok();
    assert_eq!(
        fields(&first),
        ["content", "created_at", "id", "name", "project_id", "updated_at", "version"]
    );
    assert_eq!((&first["project_id"], &first["version"]), (&json!(project), &json!(1)));
    let empty = ana.post(&prompts, json!({ "name": "Empty", "content": "" })).await.ok();
    assert_eq!(ana.get(&prompts).await.ok(), json!([first, empty]), "oldest first");

    let path = format!("{prompts}/{}", text(&first["id"]));
    assert_eq!(ana.get(&path).await.ok(), first);
    let second = ana.put(&path, json!({ "name": "Tone", "content": "Be kind." })).await.ok();
    assert_eq!((&second["version"], &second["content"]), (&json!(2), &json!("Be kind.")));
    let same = ana.put(&path, json!({ "content": "Be kind." })).await.ok();
    assert_eq!(
        (&same["version"], &same["name"]),
        (&json!(3), &json!("Tone")),
        "the same content is a version too"
    );
    let renamed = ana.put(&path, json!({ "name": "Manner" })).await.ok();
    assert_eq!(
        (&renamed["version"], &renamed["name"]),
        (&json!(3), &json!("Manner")),
        "a name makes no version"
    );
    assert_eq!(ana.get(&path).await.ok(), renamed);

    assert_eq!(ana.delete(&path).await.ok(), json!({ "message": "Prompt deleted successfully" }));
    for answer in
        [ana.get(&path).await, ana.delete(&path).await, ana.put(&path, json!({ "content": "x" })).await]
    {
        assert_eq!(answer.fault(404, "prompt_not_found")["detail"], "Prompt not found");
    }
    let elsewhere = format!("/projects/{NOWHERE}/prompts/{}", text(&empty["id"]));
    ana.get(&elsewhere).await.fault(404, "project_not_found");
}

async fn versions_of_parallel_changes_have_no_gaps(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let prompts = format!("/projects/{}/prompts", ana.project().await);
    let prompt = ana.post(&prompts, json!({ "name": "p", "content": "0" })).await.ok();
    let path = format!("{prompts}/{}", text(&prompt["id"]));
    let changes = (1..=10).map(|number| {
        let (ana, path) = (ana.clone(), path.clone());
        tokio::spawn(async move { ana.put(&path, json!({ "content": number.to_string() })).await.ok() })
    });
    let mut made = Vec::new();
    for change in changes.collect::<Vec<_>>() {
        let prompt = change.await.unwrap();
        made.push((prompt["version"].as_i64().unwrap(), text(&prompt["content"])));
    }
    made.sort_unstable();
    assert_eq!(made.iter().map(|(version, _)| *version).collect::<Vec<_>>(), (2..=11).collect::<Vec<_>>());
    let kept = sqlx::query_as::<_, (i64, String)>(
        "select version::bigint, content from prompt_versions where version > 1 order by version",
    );
    assert_eq!(kept.fetch_all(world.sql()).await.unwrap(), made, "each is kept as it was answered");
}

async fn what_is_in_a_project_goes_with_it(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let prompts = format!("/projects/{project}/prompts");
    let prompt = text(&ana.post(&prompts, json!({ "name": "p", "content": "c" })).await.ok()["id"]);
    let conversation = text(&ana.post("/conversations", json!({ "project_id": project })).await.ok()["id"]);
    let turn = text(&ana.send(&conversation, "hi").await.ok()["turn_id"]);

    ana.delete(&format!("/projects/{project}")).await.ok();
    ana.get(&prompts).await.fault(404, "project_not_found");
    ana.get(&format!("{prompts}/{prompt}")).await.fault(404, "project_not_found");
    ana.get(&format!("/conversations/project/{project}")).await.fault(404, "project_not_found");
    ana.get(&format!("/conversations/{conversation}")).await.fault(404, "conversation_not_found");
    ana.get(&format!("/turns/{turn}")).await.fault(404, "turn_not_found");
    ana.send(&conversation, "hi").await.fault(404, "conversation_not_found");
}
