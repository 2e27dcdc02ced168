//! Lists, a page at a time.

use serde_json::{Value, json};
use testkit::{Answer, Client, Layout, both_layouts, user::text};

use crate::world;

both_layouts![
    every_entry_is_on_one_page,
    a_page_stays_as_it_is_when_entries_come_and_go,
    a_cursor_of_another_list_is_refused,
    a_limit_out_of_range_is_refused,
    a_page_fits_into_one_reply,
];

fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    let target = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    Some(target.to_owned())
}

/// The names of all entries, page by page.
async fn pages(client: &Client, path: &str) -> Vec<Vec<String>> {
    let (mut pages, mut path) = (Vec::new(), Some(path.to_owned()));
    while let Some(at) = path {
        let answer = client.get(&at).await;
        let names =
            |list: &Value| list.as_array().unwrap().iter().map(|entry| text(&entry["name"])).collect();
        pages.push(names(&answer.ok()));
        path = next(&answer);
    }
    pages
}

async fn every_entry_is_on_one_page(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    for number in 0..7 {
        ana.post("/projects", json!({ "name": number.to_string() })).await.ok();
    }
    let project = ana.project().await;
    for number in 0..4 {
        let body = json!({ "name": number.to_string(), "content": "c" });
        ana.post(&format!("/projects/{project}/prompts"), body).await.ok();
    }
    assert_eq!(pages(&ana, "/projects").await.len(), 1);
    let listed = pages(&ana, "/projects?limit=3").await;
    assert_eq!(listed, [vec!["0", "1", "2"], vec!["3", "4", "5"], vec!["6", "a project"]]);
    assert_eq!(pages(&ana, "/projects?limit=8").await.len(), 1, "no page is empty");
    let prompts = pages(&ana, &format!("/projects/{project}/prompts?limit=2")).await;
    assert_eq!(prompts, [["0", "1"], ["2", "3"]]);
    for name in ["a", "b", "c"] {
        ana.post("/auth/api-keys", json!({ "name": name })).await.ok();
    }
    assert_eq!(pages(&ana, "/auth/api-keys?limit=2").await, [vec!["a", "b"], vec!["c"]]);
}

async fn a_page_stays_as_it_is_when_entries_come_and_go(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(text(&ana.post("/projects", json!({ "name": number.to_string() })).await.ok()["id"]));
    }
    let first = ana.get("/projects?limit=3").await;
    ana.delete(&format!("/projects/{}", ids[0])).await.ok();
    ana.delete(&format!("/projects/{}", ids[2])).await.ok();
    ana.post("/projects", json!({ "name": "6" })).await.ok();
    let rest = pages(&ana, &next(&first).unwrap()).await;
    assert_eq!(rest, [vec!["3", "4", "5"], vec!["6"]], "also behind an entry that is gone");
}

async fn a_cursor_of_another_list_is_refused(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, ben) = (world.user().await, world.user().await);
    for _ in 0..2 {
        ana.project().await;
        ben.project().await;
    }
    let project = ana.project().await;
    let foreign = next(&ben.get("/projects?limit=1").await).unwrap();
    ana.get(&foreign).await.fault(400, "invalid_cursor");
    let own = next(&ana.get("/projects?limit=1").await).unwrap();
    let cursor = own.split("cursor=").nth(1).unwrap();
    ana.get(&format!("/projects/{project}/prompts?cursor={cursor}")).await.fault(400, "invalid_cursor");
    ana.get(&format!("/auth/api-keys?cursor={cursor}")).await.fault(400, "invalid_cursor");
    for forged in ["x", "", "%00", "%F0%9F%92%A9", &"A".repeat(2000)] {
        ana.get(&format!("/projects?cursor={forged}")).await.fault(400, "invalid_cursor");
    }
    ana.get(&format!("/projects?cursor={cursor}&cursor={cursor}")).await.fault(400, "malformed_request");
}

async fn a_limit_out_of_range_is_refused(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let lists = ["/projects".to_owned(), "/auth/api-keys".into(), format!("/projects/{project}/prompts")];
    for list in lists {
        for limit in ["0", "-1", "1001", "1000000000", "99999999999999999999", "x", "", "1.5", "1e2"] {
            let problem = ana.get(&format!("{list}?limit={limit}")).await.fault(422, "invalid_body");
            assert_eq!(problem["errors"][0]["field"], "limit", "{list} {limit}");
        }
        ana.get(&format!("{list}?limit=1000")).await.ok();
    }
}

async fn a_page_fits_into_one_reply(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let project = ana.project().await;
    let path = format!("/projects/{project}/prompts");
    // Escaped, each byte takes six: 25 of them are more than a reply may be.
    let content = "\u{1}".repeat(32 * 1024 / 2) + &"x".repeat(32 * 1024 / 2);
    for number in 0..50 {
        ana.post(&path, json!({ "name": number.to_string(), "content": content })).await.ok();
    }
    let listed = pages(&ana, &path).await;
    assert!(listed.len() > 1, "{listed:?}");
    assert_eq!(listed.concat(), (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
}
