//! Which crate may use which: every manifest against `[workspace.metadata.house]`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::tree;

#[derive(Deserialize)]
struct Row {
    may: BTreeSet<String>,
    never: BTreeSet<String>,
    because: String,
}

type House = BTreeMap<String, Row>;

/// A crate and what it is built from; what its tests use is its own affair.
struct Manifest {
    name: String,
    dependencies: Vec<String>,
}

impl Manifest {
    fn read(text: &str) -> Self {
        let table: toml::Table = text.parse().unwrap();
        let name = table["package"]["name"].as_str().unwrap().to_owned();
        let platforms = table.get("target").and_then(|it| it.as_table()).into_iter().flatten();
        let dependencies = std::iter::once(&table)
            .chain(platforms.filter_map(|(_, platform)| platform.as_table()))
            .flat_map(|table| ["dependencies", "build-dependencies"].map(|kind| table.get(kind)))
            .filter_map(|dependencies| dependencies?.as_table())
            .flat_map(|dependencies| dependencies.keys().cloned())
            .collect();
        Self { name, dependencies }
    }
}

fn house() -> House {
    let root: toml::Table = tree::read("Cargo.toml").parse().unwrap();
    root["workspace"]["metadata"]["house"].clone().try_into().unwrap()
}

fn manifests() -> Vec<Manifest> {
    let files = tree::files("toml").into_iter();
    let members = files.filter(|file| file.path.ends_with("/Cargo.toml"));
    members.map(|file| Manifest::read(&file.text)).collect()
}

/// A sentence for each edge that must not be.
fn wrong_edges(house: &House, manifest: &Manifest) -> Vec<String> {
    let name = &manifest.name;
    let Some(row) = house.get(name) else {
        return vec![format!(
            "{name} has no row in [workspace.metadata.house]: say what it may use, and why"
        )];
    };
    let is_wrong =
        |used: &&String| row.never.contains(*used) || house.contains_key(*used) && !row.may.contains(*used);
    let wrong = manifest.dependencies.iter().filter(is_wrong);
    wrong.map(|used| format!("{name} must not use {used}: {}", row.because)).collect()
}

#[test]
fn every_crate_uses_only_what_its_row_allows() {
    let house = house();
    let wrong: Vec<_> = manifests().iter().flat_map(|manifest| wrong_edges(&house, manifest)).collect();
    tree::report(&wrong, "edges that Cargo.toml forbids");
}

#[test]
fn every_row_is_that_of_a_crate() {
    let crates: BTreeSet<_> = manifests().into_iter().map(|manifest| manifest.name).collect();
    let house = house();
    for (name, row) in &house {
        assert!(crates.contains(name), "[workspace.metadata.house] has a row for {name}, which is no crate");
        let strangers: Vec<_> = row.may.difference(&crates).collect();
        assert!(strangers.is_empty(), "{name} may use {strangers:?}, which are no crates of ours");
    }
}

/// The crates that look at the program from outside may speak to NATS as any client does.
#[test]
fn only_the_bus_knows_async_nats() {
    let knows = |manifest: &Manifest| manifest.dependencies.iter().any(|used| used == "async-nats");
    let know: Vec<_> = manifests().into_iter().filter(knows).map(|manifest| manifest.name).collect();
    let strangers: Vec<_> =
        know.iter().filter(|name| !["bus", "testkit", "benches"].contains(&name.as_str())).collect();
    assert!(know.contains(&"bus".to_owned()) && strangers.is_empty(), "{strangers:?} know async-nats");
}

/// A dependency under another name would get past the other tests.
#[test]
fn no_dependency_is_renamed() {
    let renamed: Vec<_> = tree::files("toml")
        .into_iter()
        .filter(|file| file.path.ends_with("Cargo.toml"))
        .flat_map(|file| {
            let lines = file.text.lines().filter(|line| line.contains("package = \"")).map(str::to_owned);
            lines.collect::<Vec<_>>()
        })
        .collect();
    tree::report(&renamed, "dependencies go by their own names");
}

#[test]
fn a_wrong_edge_is_named_with_its_reason() {
    let house: House = toml::from_str(
        r#"
        wire = { may = [], never = ["tokio"], because = "data only" }
        chat = { may = ["wire"], never = ["axum"], because = "words, never code" }
        auth = { may = ["wire"], never = [], because = "words, never code" }
        "#,
    )
    .unwrap();
    let wrong = |text: &str| wrong_edges(&house, &Manifest::read(text));
    assert!(wrong("package.name = 'chat'\n[dependencies]\nwire.workspace = true\nserde = '1'").is_empty());
    assert_eq!(
        wrong("package.name = 'chat'\n[dependencies]\nauth.workspace = true\naxum = '1'"),
        ["chat must not use auth: words, never code", "chat must not use axum: words, never code"]
    );
    assert_eq!(
        wrong("package.name = 'wire'\n[target.'cfg(unix)'.dependencies]\ntokio = '1'"),
        ["wire must not use tokio: data only"]
    );
    assert!(wrong("package.name = 'billing'")[0].contains("has no row"));
}
