//! The prompt of a conversation: filled in, followed by label, missed when it is gone.

use serde_json::{Value, json};
use testkit::{Layout, User, World, both_layouts, user::text};

use crate::world;

both_layouts![
    the_variables_of_a_conversation_fill_its_prompt,
    what_a_conversation_cannot_be_opened_with_is_refused_at_once,
    a_prompt_that_is_gone_is_missed_and_not_left_out,
    a_conversation_is_told_another_prompt,
    messages_are_listed_from_the_newest_page_back,
    conversations_are_listed_a_page_at_a_time,
];

async fn prompt(user: &User, content: &str) -> (String, String, String) {
    let project = user.project().await;
    let prompts = format!("/projects/{project}/prompts");
    let prompt = text(&user.post(&prompts, json!({ "name": "p", "content": content })).await.ok()["id"]);
    (project, prompt.clone(), format!("{prompts}/{prompt}"))
}

fn opening(world: &World) -> Option<String> {
    let call = world.provider().calls().pop().expect("a call");
    let first = call.messages.first().cloned()?;
    (first.role == llm::Role::System).then(|| first.content.to_string())
}

async fn the_variables_of_a_conversation_fill_its_prompt(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (project, prompt, path) = prompt(&ana, "You help {{ name }}.\n").await;
    let request = json!({ "project_id": project, "prompt_id": prompt, "variables": { "name": "Ana <&>" } });
    let conversation = text(&ana.post("/conversations", request).await.ok()["id"]);
    let turn = ana.send(&conversation, "Hello").await.ok();
    assert_eq!(opening(&world).as_deref(), Some("You help Ana <&>.\n"));
    let turn = ana.get(&format!("/turns/{}", text(&turn["turn_id"]))).await.ok();
    assert_eq!(turn["prompt_version"], 1, "{turn}");
    ana.put(&path, json!({ "content": "Be kind to {{ name }}." })).await.ok();
    ana.send(&conversation, "Again").await.ok();
    assert_eq!(opening(&world).as_deref(), Some("Be kind to Ana <&>."));
}

async fn what_a_conversation_cannot_be_opened_with_is_refused_at_once(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, ben) = (world.user().await, world.user().await);
    let (project, prompt, path) = prompt(&ana, "Hi {{ name }}").await;
    let with = |more: Value| {
        let mut request = json!({ "project_id": project, "prompt_id": prompt });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    for missing in [json!({}), json!({ "variables": { "other": 1 } }), json!({ "prompt_version": 1 })] {
        ana.post("/conversations", with(missing)).await.fault(422, "prompt_unrenderable");
    }
    let values = json!({ "name": "Ana" });
    for unknown in [json!({ "prompt_version": 2 }), json!({ "prompt_label": "none" })] {
        let mut request = with(unknown);
        request["variables"] = values.clone();
        ana.post("/conversations", request).await.fault(404, "prompt_not_found");
    }
    ben.post("/conversations", with(json!({ "variables": values }))).await.fault(404, "project_not_found");
    let own = ben.project().await;
    let foreign = json!({ "project_id": own, "prompt_id": prompt, "variables": values });
    ben.post("/conversations", foreign).await.fault(404, "prompt_not_found");

    // A later version may want more than the conversation has: the turn says so, and the model is not asked.
    let conversation =
        text(&ana.post("/conversations", with(json!({ "variables": values }))).await.ok()["id"]);
    ana.put(&path, json!({ "content": "Hi {{ name }} of {{ town }}" })).await.ok();
    let calls = world.provider().calls().len();
    let problem = ana.send(&conversation, "Hello").await.fault(422, "prompt_unrenderable");
    assert!(problem["turn_id"].is_string(), "{problem}");
    assert_eq!(world.provider().calls().len(), calls);
    ana.post(&format!("{path}/rollback"), json!({ "version": 1 })).await.ok();
    ana.send(&conversation, "Hello").await.ok();
}

async fn a_prompt_that_is_gone_is_missed_and_not_left_out(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (project, prompt, path) = prompt(&ana, "one").await;
    let label = format!("{path}/labels/production");
    ana.put(&label, json!({ "version": 1 })).await.ok();
    let request = json!({ "project_id": project, "prompt_id": prompt, "prompt_label": "production" });
    let conversation = text(&ana.post("/conversations", request).await.ok()["id"]);
    ana.send(&conversation, "Hello").await.ok();
    assert_eq!(opening(&world).as_deref(), Some("one"));
    ana.delete(&label).await.ok();
    let calls = world.provider().calls().len();
    ana.send(&conversation, "Hello").await.fault(404, "prompt_not_found");
    assert_eq!(world.provider().calls().len(), calls, "the model was not asked without its prompt");
    ana.put(&label, json!({ "version": 1 })).await.ok();
    ana.send(&conversation, "Hello").await.ok();

    let calls = world.provider().calls().len();
    let mut conversations = vec![conversation];
    for how in [json!({}), json!({ "prompt_version": 1 })] {
        let mut request = json!({ "project_id": project, "prompt_id": prompt });
        request.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
        let conversation = text(&ana.post("/conversations", request).await.ok()["id"]);
        ana.send(&conversation, "Hello").await.ok();
        conversations.push(conversation);
    }
    ana.delete(&path).await.ok();
    for conversation in conversations {
        let path = format!("/conversations/{conversation}");
        assert_eq!(ana.get(&path).await.ok()["prompt_id"], prompt, "it still says what is missed");
        let problem = ana.send(&conversation, "Hello").await.fault(404, "prompt_not_found");
        let turn = ana.get(&format!("/turns/{}", text(&problem["turn_id"]))).await.ok();
        let failed = (&turn["status"], &turn["prompt_id"], &turn["prompt_version"]);
        assert_eq!(failed, (&json!("failed"), &json!(prompt), &Value::Null), "{turn}");
        ana.patch(&path, json!({ "prompt_id": prompt })).await.fault(404, "prompt_not_found");
        let without = ana.patch(&path, json!({ "prompt_id": null })).await.ok();
        for field in ["prompt_id", "prompt_version", "prompt_label"] {
            assert_eq!(without[field], Value::Null, "{without}");
        }
        ana.send(&conversation, "Hello").await.ok();
        assert_eq!(opening(&world), None, "it was told so");
    }
    assert_eq!(world.provider().calls().len(), calls + 5);
}

async fn a_conversation_is_told_another_prompt(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, ben) = (world.user().await, world.user().await);
    let (project, first, path) = prompt(&ana, "Hi {{ name }}").await;
    ana.put(&path, json!({ "content": "Hello {{ name }}" })).await.ok();
    ana.put(&format!("{path}/labels/stable"), json!({ "version": 1 })).await.ok();
    let (_, elsewhere, _) = prompt(&ana, "elsewhere").await;
    let begun = json!({ "project_id": project, "prompt_id": first, "variables": { "name": "Ana" } });
    let conversation = text(&ana.post("/conversations", begun).await.ok()["id"]);
    let at = format!("/conversations/{conversation}");
    let told = async || {
        ana.send(&conversation, "hi").await.ok();
        opening(&world).unwrap()
    };
    assert_eq!(told().await, "Hello Ana");
    ana.patch(&at, json!({ "variables": { "name": "Eva" } })).await.ok();
    assert_eq!(told().await, "Hello Eva", "what is kept in memory is not what was meant");
    let pinned = ana.patch(&at, json!({ "prompt_version": 1 })).await.ok();
    assert_eq!((&pinned["prompt_version"], &pinned["prompt_label"]), (&json!(1), &Value::Null));
    assert_eq!(told().await, "Hi Eva");
    let labelled = ana.patch(&at, json!({ "prompt_label": "stable" })).await.ok();
    assert_eq!(
        (&labelled["prompt_version"], &labelled["prompt_label"], &labelled["prompt_id"]),
        (&Value::Null, &json!("stable"), &json!(first))
    );
    let current = ana.patch(&at, json!({ "prompt_label": null, "title": "t" })).await.ok();
    assert_eq!((&current["prompt_label"], &current["title"]), (&Value::Null, &json!("t")));
    assert_eq!(told().await, "Hello Eva");

    let before = ana.get(&at).await.ok();
    let refused = [
        (json!({ "prompt_version": 9 }), 404, "prompt_not_found"),
        (json!({ "prompt_label": "none" }), 404, "prompt_not_found"),
        (json!({ "prompt_id": elsewhere }), 404, "prompt_not_found"),
        (json!({ "variables": {} }), 422, "prompt_unrenderable"),
        (json!({ "prompt_version": 1, "prompt_label": "stable" }), 422, "invalid_body"),
        (json!({ "prompt_id": null, "prompt_version": 1 }), 422, "invalid_body"),
    ];
    for (change, status, code) in refused {
        ana.patch(&at, change).await.fault(status, code);
    }
    ben.patch(&at, json!({ "variables": {} })).await.fault(404, "conversation_not_found");
    assert_eq!(ana.get(&at).await.ok(), before);
}

fn next(answer: &testkit::Answer) -> Option<String> {
    Some(answer.header("link").strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?.to_owned())
}

async fn messages_are_listed_from_the_newest_page_back(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    for number in 0..5 {
        ana.send(&conversation, &number.to_string()).await.ok();
    }
    let whole = ana.history(&conversation).await;
    for query in ["limit=3", "limit=3&branch=all"] {
        let (mut pages, mut path) =
            (Vec::new(), Some(format!("/conversations/{conversation}/messages?{query}")));
        while let Some(at) = path {
            let answer = ana.get(&at).await;
            let page: Vec<_> = answer
                .ok()
                .as_array()
                .unwrap()
                .iter()
                .map(|message| (text(&message["role"]), text(&message["content"])))
                .collect();
            if pages.is_empty() {
                ana.send(&conversation, "while it is read").await.ok();
            }
            pages.push(page);
            path = next(&answer);
        }
        let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
        pages.reverse();
        let read = pages.concat();
        assert_eq!(read[..10], whole[..10], "{query} {sizes:?}");
        assert!(sizes[..sizes.len() - 1].iter().all(|size| *size == 3), "{sizes:?}");
    }
    let messages = format!("/conversations/{conversation}/messages");
    let cursor = next(&ana.get(&format!("{messages}?limit=1")).await).unwrap();
    let other = ana.conversation().await;
    let foreign = cursor.replace(&conversation, &other);
    ana.get(&foreign).await.fault(400, "invalid_cursor");
    ana.get(&format!("{cursor}&branch=all")).await.fault(400, "invalid_cursor");
    for limit in ["0", "-1", "1001", "x"] {
        ana.get(&format!("{messages}?limit={limit}")).await.fault(422, "invalid_body");
    }
}

async fn conversations_are_listed_a_page_at_a_time(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(text(&ana.post("/conversations", json!({ "project_id": project })).await.ok()["id"]));
    }
    let (mut listed, mut path) = (Vec::new(), Some(format!("/conversations/project/{project}?limit=2")));
    while let Some(at) = path {
        let answer = ana.get(&at).await;
        listed.extend(answer.ok().as_array().unwrap().iter().map(|conversation| text(&conversation["id"])));
        path = next(&answer);
    }
    assert_eq!(listed, made);
    ana.get(&format!("/conversations/project/{project}?limit=0")).await.fault(422, "invalid_body");
    ana.get(&format!("/conversations/project/{project}?cursor=x")).await.fault(400, "invalid_cursor");
}
