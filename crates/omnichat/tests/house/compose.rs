//! `docker-compose.yml`, read as `docker compose` reads it: anchors merged, variables put in.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::tree;

/// Everything that is started together.
#[derive(Deserialize)]
pub struct Compose {
    pub services: BTreeMap<String, Service>,
    pub volumes: BTreeMap<String, Value>,
}

/// A container.
#[derive(Deserialize)]
pub struct Service {
    pub image: String,
    pub build: Option<Build>,
    #[serde(default)]
    pub command: Vec<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub volumes: Vec<String>,
    #[serde(default)]
    pub ports: Vec<String>,
    #[serde(default)]
    pub depends_on: BTreeMap<String, Dependency>,
    pub healthcheck: Option<Healthcheck>,
}

/// Where an image comes from.
#[derive(Deserialize)]
pub struct Build {
    pub dockerfile: String,
}

/// What another container must have reached.
#[derive(Deserialize)]
pub struct Dependency {
    pub condition: String,
}

/// How a container is asked.
#[derive(Deserialize)]
pub struct Healthcheck {
    #[serde(default)]
    pub test: Vec<String>,
    #[serde(default)]
    pub disable: bool,
}

impl Service {
    /// Whether it runs our own image.
    pub fn is_ours(&self) -> bool {
        self.build.is_some()
    }
}

/// The file of the project, with the secrets made and nothing else set.
pub fn load() -> Compose {
    let mut document: Value = serde_yaml_ng::from_str(&tree::read("docker-compose.yml")).unwrap();
    // A merged mapping may itself merge one.
    for _ in 0..3 {
        document.apply_merge().unwrap();
    }
    put_in(&mut document);
    serde_yaml_ng::from_value(document).unwrap()
}

fn put_in(value: &mut Value) {
    match value {
        Value::String(text) => *text = interpolated(text),
        Value::Sequence(items) => items.iter_mut().for_each(put_in),
        Value::Mapping(entries) => entries.iter_mut().for_each(|(_, value)| put_in(value)),
        _ => {}
    }
}

/// `${NAME:-default}` is its default, `${NAME:?error}` a secret of 64 digits.
fn interpolated(text: &str) -> String {
    let mut parts = text.split("${");
    let mut result = parts.next().unwrap().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap();
        match (variable.split_once(":-"), variable.split_once(":?")) {
            (Some((_, default)), _) => result.push_str(default),
            (None, Some(_)) => result.push_str(&"0123456789abcdef".repeat(4)),
            (None, None) => panic!("${{{variable}}} has neither a default nor an error"),
        }
        result.push_str(rest);
    }
    result
}

#[test]
fn variables_are_put_in_as_compose_does() {
    assert_eq!(interpolated("a${B:-c}d${E:-}"), "acd");
    assert_eq!(interpolated(r#""${B:?missing}""#).len(), 66);
}
