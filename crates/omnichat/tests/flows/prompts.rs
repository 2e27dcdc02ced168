//! Prompts: versions, labels, variables.

use futures::future::join_all;
use serde_json::{Value, json};
use testkit::{Layout, User, both_layouts, user::text};

use crate::{NOWHERE, fields, world};

both_layouts![
    every_version_stays_as_it_was,
    parallel_changes_make_as_many_versions,
    a_change_from_a_stale_version_is_refused,
    a_label_moves_from_version_to_version,
    variables_are_filled_in,
    versions_are_listed_a_page_at_a_time,
];

async fn prompt(user: &User, content: &str) -> (String, Value) {
    let project = user.project().await;
    let path = format!("/projects/{project}/prompts");
    let prompt = user.post(&path, json!({ "name": "p", "content": content })).await.ok();
    (format!("{path}/{}", text(&prompt["id"])), prompt)
}

async fn every_version_stays_as_it_was(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (path, _) = prompt(&ana, "one").await;
    ana.put(&path, json!({ "name": "p", "content": "two" })).await.ok();
    let back = ana.post(&format!("{path}/rollback"), json!({ "version": 1 })).await.ok();
    assert_eq!((&back["version"], &back["content"]), (&json!(3), &json!("one")));
    assert_eq!(fields(&back), ["content", "created_at", "id", "name", "project_id", "updated_at", "version"]);
    let versions = ana.get(&format!("{path}/versions")).await.ok();
    let listed: Vec<_> = versions
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (v["version"].as_i64().unwrap(), text(&v["content"])))
        .collect();
    assert_eq!(listed, [(3, "one".into()), (2, "two".into()), (1, "one".into())]);
    let second = ana.get(&format!("{path}/versions/2")).await.ok();
    assert_eq!(fields(&second), ["content", "created_at", "labels", "prompt_id", "version"]);
    assert_eq!(second["content"], "two");
    for unknown in ["0", "4", "-1", "x", "99999999999"] {
        ana.get(&format!("{path}/versions/{unknown}")).await.fault(404, "prompt_not_found");
    }
    ana.post(&format!("{path}/rollback"), json!({ "version": 9 })).await.fault(404, "prompt_not_found");
    assert_eq!(ana.get(&path).await.ok()["version"], 3, "what was refused changed nothing");
    ana.delete(&path).await.ok();
    ana.get(&format!("{path}/versions/1")).await.fault(404, "prompt_not_found");
    ana.get(&format!("{path}/versions")).await.fault(404, "prompt_not_found");
}

async fn parallel_changes_make_as_many_versions(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (path, _) = prompt(&ana, "0").await;
    let changes = (1..=20).map(|n| ana.put(&path, json!({ "name": "p", "content": n.to_string() })));
    let mut made: Vec<_> =
        join_all(changes).await.iter().map(|answer| answer.ok()["version"].as_i64().unwrap()).collect();
    made.sort_unstable();
    assert_eq!(made, (2..=21).collect::<Vec<_>>());
    let versions = ana.get(&format!("{path}/versions")).await.ok();
    let mut contents: Vec<i64> =
        versions.as_array().unwrap().iter().map(|v| text(&v["content"]).parse().unwrap()).collect();
    contents.sort_unstable();
    assert_eq!(contents, (0..=20).collect::<Vec<_>>(), "none was lost");
}

async fn a_change_from_a_stale_version_is_refused(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (path, _) = prompt(&ana, "one").await;
    let change = |content: &str, from: i32| json!({ "name": "p", "content": content, "if_version": from });
    let changes = (0..5).map(|_| ana.put(&path, change("two", 1)));
    let answers = join_all(changes).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.fault(412, "version_conflict");
    }
    assert_eq!(ana.get(&path).await.ok()["version"], 2);
    ana.put(&path, json!({ "name": "other", "if_version": 1 })).await.fault(412, "version_conflict");
    assert_eq!(ana.get(&path).await.ok()["name"], "p");
    ana.put(&path, change("three", 2)).await.ok();
    ana.put(&path, json!({ "name": "p", "content": "x", "version": 9 })).await.fault(422, "invalid_body");
}

async fn a_label_moves_from_version_to_version(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (path, prompt) = prompt(&ana, "one").await;
    ana.put(&path, json!({ "content": "two" })).await.ok();
    let label = format!("{path}/labels/production");
    let set = ana.put(&label, json!({ "version": 1 })).await.ok();
    assert_eq!(set, json!({ "prompt_id": prompt["id"], "label": "production", "version": 1 }));
    ana.put(&label, json!({ "version": 2 })).await.ok();
    assert_eq!(ana.get(&format!("{path}/versions/2")).await.ok()["labels"], json!(["production"]));
    assert_eq!(ana.get(&format!("{path}/versions/1")).await.ok()["labels"], json!([]));
    let labels = ana.get(&format!("{path}/labels")).await.ok();
    assert_eq!(labels, json!([{ "prompt_id": prompt["id"], "label": "production", "version": 2 }]));
    ana.put(&label, json!({ "version": 3 })).await.fault(404, "prompt_not_found");
    ana.put(&label, json!({ "version": "2" })).await.fault(422, "invalid_body");
    ana.put(&label, json!({})).await.fault(422, "invalid_body");
    ana.put(&format!("{path}/labels/not%20plain"), json!({ "version": 1 })).await.fault(422, "invalid_body");
    ana.delete(&label).await.ok();
    ana.delete(&label).await.fault(404, "prompt_not_found");
    for number in 0..50 {
        ana.put(&format!("{path}/labels/l{number}"), json!({ "version": 1 })).await.ok();
    }
    ana.put(&format!("{path}/labels/l50"), json!({ "version": 1 })).await.fault(422, "invalid_body");
    ana.put(&format!("{path}/labels/l49"), json!({ "version": 2 })).await.ok();
    let ben = world.user().await;
    ben.put(&format!("{path}/labels/l0"), json!({ "version": 2 })).await.fault(404, "project_not_found");
}

async fn variables_are_filled_in(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (path, _) = prompt(&ana, "Hello {{ name }}, {{ '{{7*7}}' }}\n").await;
    ana.put(&path, json!({ "content": "Bye {{ name|upper }}" })).await.ok();
    ana.put(&format!("{path}/labels/first"), json!({ "version": 1 })).await.ok();
    let render = format!("{path}/render");
    let variables = json!({ "name": "Ana \u{202e}<b>" });
    let with = |more: Value| {
        let mut request = json!({ "variables": variables });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let current = ana.post(&render, with(json!({}))).await.ok();
    assert_eq!(current, json!({ "content": "Bye ANA \u{202e}<B>", "version": 2 }));
    for old in [json!({ "version": 1 }), json!({ "label": "first" })] {
        let rendered = ana.post(&render, with(old)).await.ok();
        assert_eq!(rendered, json!({ "content": "Hello Ana \u{202e}<b>, {{7*7}}\n", "version": 1 }));
    }
    let missing = ana.post(&render, json!({})).await.fault(422, "prompt_unrenderable");
    assert!(text(&missing["detail"]).contains("no value"), "{missing}");
    ana.post(&render, with(json!({ "version": 3 }))).await.fault(404, "prompt_not_found");
    ana.post(&render, with(json!({ "label": "none" }))).await.fault(404, "prompt_not_found");
    ana.post(&render, with(json!({ "label": "first", "version": 1 }))).await.fault(422, "invalid_body");
    ana.post(&format!("/projects/{NOWHERE}/prompts/{NOWHERE}/render"), json!({}))
        .await
        .fault(404, "project_not_found");
    ana.put(&path, json!({ "content": "{% set x = name %}" })).await.ok();
    ana.post(&render, with(json!({}))).await.fault(422, "prompt_unrenderable");
}

async fn versions_are_listed_a_page_at_a_time(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (path, _) = prompt(&ana, "1").await;
    for number in 2..=7 {
        ana.put(&path, json!({ "content": number.to_string() })).await.ok();
    }
    let first = ana.get(&format!("{path}/versions?limit=3")).await;
    let next = first.header("link").trim_start_matches('<').split('>').next().unwrap().to_owned();
    ana.put(&path, json!({ "content": "8" })).await.ok();
    let second = ana.get(&next).await.ok();
    let numbers = |list: &Value| -> Vec<i64> {
        list.as_array().unwrap().iter().map(|v| v["version"].as_i64().unwrap()).collect()
    };
    assert_eq!((numbers(&first.ok()), numbers(&second)), (vec![7, 6, 5], vec![4, 3, 2]));
}
