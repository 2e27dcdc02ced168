//! The description of the API, as those see it who know nothing else of us: one judges its form, the other calls what it
//! describes, as it may be called and as it may not.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::{Value, json};
use testkit::{Layout, Toolbox, User, World, folder::Folder, toolbox::judged, user::text};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/strangers");
/// More than are deleted while it runs.
const CONVERSATIONS: usize = 40;
const TURNS: usize = 4;
/// What a stranger gets done by luck at best: the key of a shared secret is not shown, passwords and refresh tokens cannot be
/// guessed, a label has to be put on that very prompt before, and a request opens no WebSocket.
const OUT_OF_REACH: [&str; 5] = ["jwks", "change_password", "refresh", "unlabel_prompt", "open_socket"];

#[tokio::test]
async fn the_description_is_one_that_others_can_read() {
    let folder = Folder::new("description");
    let file = folder.path().join("openapi.json");
    let printed = Command::new(env!("CARGO_BIN_EXE_omnichat")).arg("openapi").output().unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    fs::write(&file, printed.stdout).unwrap();
    let mut redocly = Toolbox::open().await.redocly();
    redocly.arg("lint").arg(file).args(["--config", &format!("{HERE}/redocly.yaml"), "--format", "json"]);
    let found = judged(redocly, "nothing is to be mended").await;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["totals"], json!({ "errors": 0, "warnings": 0, "ignored": 0 }), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_does_what_its_description_says() {
    // A stream of a conversation's events has no end but this one.
    let world = World::builder(env!("CARGO_BIN_EXE_omnichat"), Layout::OneProcess);
    let world = world.set("http.stream_life_s", 1).start().await;
    let [ana, bob, cem] = [world.user().await, world.user().await, world.user().await];
    let key = ana.post("/auth/api-keys", json!({ "name": "stranger" })).await.ok();
    let mut schemathesis = Toolbox::open().await.schemathesis();
    let folder = furnished(&ana).await;
    let config = folder.path().join("schemathesis.toml");
    schemathesis.arg("--config-file").arg(config).arg("--no-color");
    schemathesis.args(["run", &format!("http://{}/openapi.json", world.http())]);
    schemathesis.env("API_KEY", text(&key["key"]));
    schemathesis.env("OTHERS_TOKEN", &bob.token).env("LAST_TOKEN", &cem.token);
    let report = judged(schemathesis, "the answers are the described ones").await;
    assert!(report.contains("Tested: "), "{report}");

    let done = done(&ana).await;
    let document = ana.get("/openapi.json").await.ok();
    let operations = document["paths"].as_object().unwrap().iter().flat_map(|(path, operations)| {
        let of_path = operations.as_object().unwrap().iter();
        of_path.map(move |(method, operation)| (method.to_uppercase(), path, &operation["operationId"]))
    });
    let missed: Vec<_> = operations
        .filter(|(method, path, _)| !done.contains(&(method.clone(), (*path).clone())))
        .map(|(.., name)| name.as_str().unwrap())
        .filter(|name| !OUT_OF_REACH.contains(name))
        .collect();
    assert!(missed.is_empty(), "never asked with success: {missed:?}\n{report}");
}

/// A folder with the configuration, and with the ids of things of this user's.
async fn furnished(user: &User) -> Folder {
    let folder = Folder::new("schemathesis");
    let project = user.project().await;
    let prompt = json!({ "name": "Translator", "content": "Translate into {{ language }}." });
    let prompt = text(&user.post(&format!("/projects/{project}/prompts"), prompt).await.ok()["id"]);
    let (mut conversations, mut turns) = (Vec::new(), Vec::new());
    for number in 0..CONVERSATIONS {
        let body = json!({ "project_id": project });
        let conversation = text(&user.post("/conversations", body).await.ok()["id"]);
        if number < TURNS {
            turns.push(text(&user.send(&conversation, "Good morning!").await.ok()["turn_id"]));
        }
        conversations.push(conversation);
    }
    let lists = [
        ("projects", vec![project]),
        ("prompts", vec![prompt]),
        ("conversations", conversations),
        ("turns", turns),
    ];
    for (name, ids) in lists {
        let lines: String = ids.iter().map(|id| format!("\"{id}\"\n")).collect();
        fs::write(folder.path().join(name).with_extension("txt"), lines).unwrap();
    }
    fs::write(folder.path().join("schemathesis.toml"), include_str!("schemathesis.toml")).unwrap();
    folder
}

/// The routes that were asked with success.
async fn done(user: &User) -> BTreeSet<(String, String)> {
    let counted = String::from_utf8(user.get("/metrics").await.body.to_vec()).unwrap();
    let label = |line: &str, name: &str| {
        line.split_once(&format!("{name}=\"")).and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()))
    };
    let lines = counted.lines().filter(|line| line.starts_with("omnichat_http_requests_total"));
    let done = lines.filter(|line| label(line, "status").is_some_and(|status| status == "200"));
    done.filter_map(|line| Some((label(line, "method")?, label(line, "route")?))).collect()
}
