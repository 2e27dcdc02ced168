//! `docs/http.md` against the description of the API, which is made of the table of routes.

use serde_json::Value;

use crate::tree;

const HEAD: &str =
    "| route | operation | scope | takes | answers | what it does |\n|---|---|---|---|---|---|";

/// The last part of the reference to a schema; an array of them in brackets; or the kind of text it is.
fn kind(content: &Value) -> String {
    let (media_type, content) = content.as_object().unwrap().iter().next().unwrap();
    let schema = &content["schema"];
    let name =
        |schema: &Value| schema["$ref"].as_str().map(|path| path.rsplit('/').next().unwrap().to_owned());
    let named = name(schema).or_else(|| name(&schema["items"]).map(|entry| format!("[{entry}]")));
    format!("`{}`", named.as_ref().unwrap_or(media_type))
}

fn row(method: &str, path: &str, operation: &Value) -> String {
    let scope = operation["security"][0]["bearer"][0].as_str().unwrap_or("–");
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let query: Vec<_> = parameters
        .filter(|parameter| parameter["in"] == "query")
        .map(|parameter| format!("`{}`", parameter["name"].as_str().unwrap()))
        .collect();
    let body = operation.pointer("/requestBody/content").map(kind);
    let query = (!query.is_empty()).then(|| format!("({})", query.join(", ")));
    let taken: Vec<_> = body.into_iter().chain(query).collect();
    let takes = if taken.is_empty() { "–".to_owned() } else { taken.join(" ") };
    // A socket succeeds by being one.
    let success = ["200", "101"].iter().find_map(|status| operation["responses"].get(status)).unwrap();
    format!(
        "| {} `{path}` | `{}` | {scope} | {takes} | {} | {} |",
        method.to_uppercase(),
        operation["operationId"].as_str().unwrap(),
        kind(&success["content"]),
        operation["summary"].as_str().unwrap(),
    )
}

#[test]
fn the_table_of_routes_lists_every_route() {
    let document: Value = serde_json::from_str(ingress::openapi::document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let rows: Vec<_> = paths
        .iter()
        .flat_map(|(path, operations)| {
            let operations = operations.as_object().unwrap().iter();
            operations.map(move |(method, operation)| row(method, path, operation))
        })
        .collect();
    let table = format!("{HEAD}\n{}\n", rows.join("\n"));
    let paper = tree::read("docs/http.md");
    let found = tree::block(&paper, "routes");
    assert!(found == table, "docs/http.md: write this between the comments of \"routes\":\n\n{table}");
}
