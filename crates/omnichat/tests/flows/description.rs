//! The description of the HTTP API against what a running server answers. That `docs/http.md` lists what is described, the
//! house knows.

use std::{collections::BTreeSet, process::Command};

use reqwest::Method;
use serde_json::Value;
use testkit::{Client, Layout, both_layouts};

use crate::{NOWHERE, world};

both_layouts![what_is_described_is_served_and_nothing_else];

/// A method that no route takes: the answer tells those that it does.
const NO_METHOD: &[u8] = b"BREW";

async fn what_is_described_is_served_and_nothing_else(layout: Layout) {
    let world = world(layout).start().await;
    let client = world.client();
    let answer = client.get("/openapi.json").await;
    let document = answer.ok();
    let printed = Command::new(env!("CARGO_BIN_EXE_omnichat")).arg("openapi").output().unwrap();
    assert_eq!(answer.body, printed.stdout.trim_ascii_end(), "the program prints what it serves");

    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "{paths:?}");
    for (path, operations) in paths {
        let described: BTreeSet<_> =
            operations.as_object().unwrap().keys().map(|it| it.to_uppercase()).collect();
        assert_eq!(served(&client, &filled(path)).await, described, "{path}");
        for method in described {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = client.request(method.clone(), &filled(path), &[], None).await.unwrap();
            let asks_for_token =
                operations[method.as_str().to_lowercase()]["security"] != Value::Array(vec![]);
            assert_eq!(
                answer.status == 401 && answer.json()["code"] == "missing_token",
                asks_for_token,
                "{method} {path}"
            );
        }
    }
    let neighbours = paths.keys().flat_map(|path| around(path)).collect::<BTreeSet<_>>();
    for path in neighbours.iter().filter(|path| !paths.keys().any(|known| fits(known, path))) {
        client.get(path).await.fault(404, "route_not_found");
    }
}

/// The methods of a path, as its server tells them; `HEAD` comes with `GET`.
async fn served(client: &Client, path: &str) -> BTreeSet<String> {
    let method = Method::from_bytes(NO_METHOD).unwrap();
    let answer = client.request(method, path, &[], None).await.unwrap();
    answer.fault(405, "method_not_allowed");
    let allowed = answer.header("allow").split(',').map(|method| method.trim().to_owned());
    allowed.filter(|method| method != "HEAD").collect()
}

fn filled(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { NOWHERE.to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Paths that look like this one: those above it, and the next below.
fn around(path: &str) -> Vec<String> {
    let path = filled(path);
    let above =
        path.match_indices('/').map(|(end, _)| path[..end].to_owned()).filter(|path| !path.is_empty());
    above.chain([format!("{path}/"), format!("{path}/more"), format!("{path}s")]).collect()
}

/// Whether the path is one of this template's.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let fits = |(part, given): (&&str, &&str)| part == given || part.starts_with('{') && !given.is_empty();
    template.len() == path.len() && template.iter().zip(&path).all(fits)
}
