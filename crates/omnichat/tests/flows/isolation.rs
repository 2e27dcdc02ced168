//! What is somebody else's looks exactly like what does not exist, for every route that takes an id.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Layout, User, both_layouts, user::text};

use crate::{NOWHERE, world};

both_layouts![what_is_anothers_looks_like_what_does_not_exist];

/// Ids of one of each.
#[derive(Clone)]
struct Things {
    project: String,
    prompt: String,
    conversation: String,
    turn: String,
}

impl Things {
    async fn of(user: &User) -> Self {
        let project = user.project().await;
        let prompts = format!("/projects/{project}/prompts");
        let prompt = text(&user.post(&prompts, json!({ "name": "p", "content": "c" })).await.ok()["id"]);
        let conversation =
            text(&user.post("/conversations", json!({ "project_id": project })).await.ok()["id"]);
        let turn = text(&user.send(&conversation, "a secret of Ana's").await.ok()["turn_id"]);
        Self { project, prompt, conversation, turn }
    }

    fn none(id: &str) -> Self {
        let [project, prompt, conversation, turn] = [id; 4].map(str::to_owned);
        Self { project, prompt, conversation, turn }
    }
}

/// Every route with an id, in a path or in a body.
fn routes(of: &Things) -> Vec<(Method, String, Option<Value>)> {
    let Things { project, prompt, conversation, turn } = of;
    let (project_path, prompts) = (format!("/projects/{project}"), format!("/projects/{project}/prompts"));
    let (prompt_path, talk) = (format!("{prompts}/{prompt}"), format!("/conversations/{conversation}"));
    let named = || Some(json!({ "name": "mine now" }));
    vec![
        (Method::GET, project_path.clone(), None),
        (Method::PUT, project_path.clone(), named()),
        (Method::PATCH, project_path.clone(), named()),
        (Method::DELETE, project_path, None),
        (Method::POST, prompts.clone(), Some(json!({ "name": "p", "content": "c" }))),
        (Method::GET, prompts, None),
        (Method::GET, prompt_path.clone(), None),
        (Method::PUT, prompt_path.clone(), Some(json!({ "content": "mine now" }))),
        (Method::DELETE, prompt_path, None),
        (Method::POST, format!("/conversations?project_id={project}"), None),
        (Method::POST, "/conversations".into(), Some(json!({ "project_id": project }))),
        (Method::POST, "/conversations".into(), Some(json!({ "project_id": project, "prompt_id": prompt }))),
        (Method::GET, format!("/conversations/project/{project}"), None),
        (Method::GET, talk.clone(), None),
        (Method::PATCH, talk.clone(), Some(json!({ "title": "mine now" }))),
        (Method::DELETE, talk.clone(), None),
        (Method::GET, format!("{talk}/messages"), None),
        (Method::GET, format!("{talk}/messages?branch=all"), None),
        (Method::POST, format!("{talk}/messages"), Some(json!({ "content": "hi" }))),
        (Method::GET, format!("/turns/{turn}"), None),
    ]
}

/// The routes to a prompt, through a project that is the caller's own.
fn routes_to_prompt(project: &str, prompt: &str) -> Vec<(Method, String, Option<Value>)> {
    let path = format!("/projects/{project}/prompts/{prompt}");
    vec![
        (Method::GET, path.clone(), None),
        (Method::PUT, path.clone(), Some(json!({ "content": "mine now" }))),
        (Method::DELETE, path, None),
        (Method::POST, "/conversations".into(), Some(json!({ "project_id": project, "prompt_id": prompt }))),
    ]
}

async fn ask(user: &User, (method, path, body): &(Method, String, Option<Value>)) -> Answer {
    let headers: &[_] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
    let body = body.as_ref().map(|body| body.to_string().into());
    user.request(method.clone(), path, headers, body).await.unwrap()
}

/// All of an answer but what names the request.
fn shown(answer: &Answer) -> (u16, Vec<String>, Value) {
    let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
    names.sort_unstable();
    let mut problem = answer.json();
    problem.as_object_mut().unwrap().remove("request_id");
    (answer.status, names, problem)
}

async fn what_is_anothers_looks_like_what_does_not_exist(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let hers = Things::of(&ana).await;
    let his = bob.project().await;
    let before = everything(&ana, &hers).await;

    let nothing = routes(&Things::none(NOWHERE));
    for (foreign, missing) in routes(&hers).iter().zip(&nothing) {
        let foreign = (foreign, shown(&ask(&bob, foreign).await));
        assert_eq!(foreign.1.0, 404, "{:?}", foreign.0);
        assert_eq!(foreign.1, shown(&ask(&bob, missing).await), "{:?}", foreign.0);
    }
    let missing = routes_to_prompt(&his, NOWHERE);
    for (foreign, missing) in routes_to_prompt(&his, &hers.prompt).iter().zip(&missing) {
        let answer = ask(&bob, foreign).await;
        answer.fault(404, "prompt_not_found");
        assert_eq!(shown(&answer), shown(&ask(&bob, missing).await), "{foreign:?}");
    }
    for malformed in routes(&Things::none("x")).iter().filter(|(_, path, _)| path.contains("/x")) {
        assert_eq!(ask(&bob, malformed).await.status, 404, "{malformed:?}");
    }
    assert_eq!(bob.get("/projects").await.ok().as_array().unwrap().len(), 1);
    assert_eq!(everything(&ana, &hers).await, before, "nothing of hers has changed");
    assert_eq!(world.provider().calls().len(), 1, "nobody but her has called a model");
}

async fn everything(ana: &User, hers: &Things) -> Vec<Value> {
    let mut all = Vec::new();
    for route in routes(hers).iter().filter(|(method, ..)| *method == Method::GET) {
        all.push(ask(ana, route).await.ok());
    }
    all
}
