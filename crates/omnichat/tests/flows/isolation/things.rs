//! What a user has, and the kinds of ids that somebody else does not have.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{User, user::text};

use super::rows::Row;
use crate::NOWHERE;

/// One id of each kind of thing, by the name that stands in a row.
#[derive(Debug, Clone)]
pub struct Ids(BTreeMap<&'static str, String>);

/// One thing of each kind, in which a word stands that stands nowhere else.
pub struct Things {
    pub ids: Ids,
    pub canary: String,
}

/// Ids that are not the asker's own.
pub struct Kind {
    pub name: &'static str,
    pub ids: Ids,
}

impl Ids {
    /// Ids of nothing.
    pub fn of_nothing() -> Self {
        Self::all(NOWHERE)
    }

    fn all(id: &str) -> Self {
        Self(NAMES.iter().map(|name| (*name, id.to_owned())).collect())
    }

    /// These, but those of `names` from `others`.
    pub fn with(&self, names: &[&'static str], others: &Self) -> Self {
        let mut ids = self.clone();
        ids.0.extend(names.iter().map(|name| (*name, others.0[name].clone())));
        ids
    }

    pub fn fill(&self, template: &str) -> String {
        self.0.iter().fold(template.to_owned(), |text, (name, id)| text.replace(&format!("{{{name}}}"), id))
    }
}

/// The names of ids that stand in requests: those in subjects and addresses, and those in bodies.
pub const NAMES: [&str; 7] = ["project", "prompt", "conversation", "turn", "api_key", "session", "key"];

impl Things {
    pub async fn of(user: &User) -> Self {
        let canary = format!("canary-{}", user.id.replace('-', ""));
        let name = |what: &str| format!("{what} {canary}");
        let made = async |path: &str, body: Value| text(&user.post(path, body).await.ok()["id"]);
        let described = json!({ "name": name("project"), "description": name("about") });
        let project = made("/projects", described).await;
        let prompts = format!("/projects/{project}/prompts");
        let prompt = made(&prompts, json!({ "name": name("prompt"), "content": name("content") })).await;
        let label = format!("{prompts}/{prompt}/labels/production");
        user.put(&label, json!({ "version": 1 })).await.ok();
        let titled = json!({ "project_id": project, "title": name("title") });
        let conversation = made("/conversations", titled).await;
        let key = format!("of-{conversation}");
        let sent = user.send_with_key(&conversation, &name("message"), &key).await.ok();
        let api_key = user.post("/auth/api-keys", json!({ "name": name("key") })).await.ok();
        let ids = [
            ("project", project),
            ("prompt", prompt),
            ("conversation", conversation),
            ("turn", text(&sent["turn_id"])),
            ("api_key", text(&api_key["id"])),
            ("session", session(&user.token)),
            ("key", key),
        ];
        Self { ids: Ids(ids.into()), canary }
    }

    /// Things that are there no more; nothing is left of them but their ids.
    async fn deleted_of(user: &User) -> Ids {
        let things = Self::of(user).await;
        let paths = [
            "/conversations/{conversation}",
            "/projects/{project}/prompts/{prompt}",
            "/projects/{project}",
            "/auth/api-keys/{api_key}",
        ];
        for path in paths {
            user.delete(&things.ids.fill(path)).await.ok();
        }
        things.ids
    }
}

impl Kind {
    /// Every kind there is, for an asker who is Bob.
    pub async fn all(ana: &User, hers: &Things, bob: &User) -> Vec<Self> {
        vec![
            Self { name: "a thing of hers", ids: hers.ids.clone() },
            Self { name: "a deleted thing of hers", ids: Things::deleted_of(ana).await },
            Self { name: "a deleted thing of his own", ids: Things::deleted_of(bob).await },
            Self { name: "a thing of his own, elsewhere", ids: Things::of(bob).await.ids },
            Self { name: "no id at all", ids: Ids::all("x") },
            Self { name: "an id of nobody", ids: Ids::all("00000000-0000-0000-0000-000000000000") },
            Self { name: "a thing that she made just now", ids: Things::of(ana).await.ids },
        ]
    }

    /// Whether such ids in these places of a row are like ids of nothing.
    pub fn fits(&self, row: &Row, places: &[&'static str]) -> bool {
        let query = row.target.split_once('?').map_or("", |(_, query)| query);
        let in_body =
            |name: &&str| [row.body, query].iter().any(|text| text.contains(&format!("{{{name}}}")));
        match self.name {
            "a thing of his own, elsewhere" => places == ["prompt"],
            // A session of one's own can be named, and what one's key stands for is there for ever.
            "a deleted thing of his own" => !places.contains(&"session") && !places.contains(&"key"),
            // In a body or a query it is a wrong request.
            "no id at all" => !places.iter().any(in_body),
            _ => true,
        }
    }
}

/// The session that a token was made in.
fn session(token: &str) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    text(&serde_json::from_slice::<Value>(&claims).unwrap()["sid"])
}
