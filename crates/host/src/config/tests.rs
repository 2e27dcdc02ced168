use std::{collections::BTreeMap, fs, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{ConfigError, Environment, Loaded, Loader, template};

/// A product.
#[derive(Debug, confique::Config)]
struct Product {
    /// What it is called.
    name: Option<String>,

    #[config(nested)]
    postgres: Postgres,

    /// Who answers. One table each:
    ///
    /// [providers.openai]
    /// kind = "openai"
    #[config(default = {})]
    providers: BTreeMap<String, Provider>,
}

/// The database.
#[derive(Debug, confique::Config)]
struct Postgres {
    /// Where it is.
    url: SecretString,

    /// Connections per process.
    #[config(default = 16, validate(*pool_size > 0, "must be at least 1"))]
    pool_size: u16,

    /// How to log.
    #[config(default = "auto")]
    format: Format,

    /// Share of the pool kept for urgent work.
    #[config(default = 0.1)]
    reserve: f64,

    /// Hosts that may connect.
    #[config(default = [])]
    hosts: Vec<String>,

    /// From where.
    network: Option<Network>,
}

/// A type whose parser quotes what it could not read.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Network;

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "lan" { Ok(Self) } else { Err(format!("is no network: {text:?}")) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Auto,
    Json,
}

#[derive(Debug, Deserialize)]
struct Provider {
    kind: String,
    api_key: Option<SecretString>,
    #[serde(default)]
    retries: u32,
}

const LEGACY: &[(&str, &str)] = &[("DATABASE_URL", "postgres.url")];

/// A file that goes away with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("host-config-{}-{name}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn load(file: &File, variables: &[(&str, &str)]) -> Result<Loaded<Product>, ConfigError> {
    let environment = variables.iter().copied().collect();
    Loader::new("OMNICHAT", &environment).required_file(&file.0).legacy(LEGACY).load()
}

fn loaded(name: &str, text: &str, variables: &[(&str, &str)]) -> Loaded<Product> {
    load(&File::new(name, text), variables).unwrap()
}

/// The message without the name of the temporary file.
fn mistake(name: &str, text: &str, variables: &[(&str, &str)]) -> String {
    let file = File::new(name, text);
    let message = load(&file, variables).unwrap_err().to_string();
    message.replace(&file.0.display().to_string(), "omnichat.toml")
}

const URL: &str = "[postgres]\nurl = 'postgres://localhost/file'\n";

#[test]
fn defaults_fill_what_nobody_set() {
    let config = loaded("defaults", URL, &[]).config;
    assert_eq!(config.postgres.pool_size, 16);
    assert_eq!(config.postgres.format, Format::Auto);
    assert!(config.name.is_none() && config.postgres.network.is_none() && config.providers.is_empty());
}

#[test]
fn each_layer_covers_the_one_below() {
    let url = |variables: &[(&str, &str)]| {
        loaded("layers", URL, variables).config.postgres.url.expose_secret().to_owned()
    };
    assert_eq!(url(&[]), "postgres://localhost/file");
    assert_eq!(url(&[("DATABASE_URL", "postgres://legacy")]), "postgres://legacy");
    assert_eq!(url(&[("DATABASE_URL", "legacy"), ("OMNICHAT__POSTGRES__URL", "variable")]), "variable");

    let environment: Environment = [("OMNICHAT__POSTGRES__URL", "variable")].into_iter().collect();
    let loader =
        Loader::new("OMNICHAT", &environment).flag("--postgres", "postgres.url", Some("flag".into()));
    let Loaded { config, .. } = loader.load::<Product>().unwrap();
    assert_eq!(config.postgres.url.expose_secret(), "flag");
}

#[test]
fn a_variable_takes_the_type_of_its_key() {
    let config = loaded(
        "types",
        URL,
        &[
            ("OMNICHAT__NAME", "007"),
            ("OMNICHAT__POSTGRES__URL", "true"),
            ("OMNICHAT__POSTGRES__POOL_SIZE", "7"),
            ("OMNICHAT__POSTGRES__FORMAT", "json"),
            ("OMNICHAT__POSTGRES__RESERVE", "1"),
            ("OMNICHAT__POSTGRES__HOSTS", "['a', 'b']"),
        ],
    )
    .config;
    assert_eq!(config.name.as_deref(), Some("007"));
    assert_eq!(config.postgres.url.expose_secret(), "true");
    assert_eq!(config.postgres.pool_size, 7);
    assert_eq!(config.postgres.format, Format::Json);
    assert_eq!(config.postgres.reserve, 1.0);
    assert_eq!(config.postgres.hosts, ["a", "b"]);
}

#[test]
fn an_empty_variable_is_no_variable() {
    let config = loaded("empty", URL, &[("OMNICHAT__POSTGRES__POOL_SIZE", ""), ("DATABASE_URL", "")]).config;
    assert_eq!(config.postgres.pool_size, 16);
    assert_eq!(config.postgres.url.expose_secret(), "postgres://localhost/file");
}

#[test]
fn a_variable_reaches_into_a_map_section() {
    let file = format!("{URL}[providers.My-Llama]\nkind = 'ollama'\n");
    let variables =
        [("OMNICHAT__PROVIDERS__MY_LLAMA__RETRIES", "3"), ("OMNICHAT__PROVIDERS__OPENAI__KIND", "openai")];
    let providers = loaded("map", &file, &variables).config.providers;
    assert_eq!(providers.keys().collect::<Vec<_>>(), ["My-Llama", "openai"]);
    assert_eq!((providers["My-Llama"].kind.as_str(), providers["My-Llama"].retries), ("ollama", 3));
    assert_eq!(providers["openai"].kind, "openai");
    assert!(providers["openai"].api_key.is_none());
}

#[test]
fn a_variable_may_hold_a_whole_section() {
    let variables = [("OMNICHAT__POSTGRES", "{url = 'postgres://localhost/inline', pool_size = 3}")];
    let Loaded { config, effective } = loaded("section", "", &variables);
    assert_eq!(config.postgres.pool_size, 3);
    assert_eq!(effective.get("postgres.pool_size").unwrap().value.as_integer(), Some(3));
}

#[test]
fn a_mistake_in_the_file_names_its_key_and_line_and_never_the_value() {
    let cases = [
        (
            "[postgres]\npol_size = 3",
            "omnichat.toml:2: postgres.pol_size is not a known key; did you mean pool_size?",
        ),
        (
            "[postgrs]\nurl = 'hunter22'",
            "omnichat.toml:1: postgrs is not a known key; did you mean postgres?",
        ),
        (
            "[providers.a]\nkind = 'x'\nqqqq = 'hunter22'",
            "omnichat.toml:3: providers.a.qqqq is not a known key; known here: kind, api_key, retries",
        ),
        (
            "[postgres]\nurl = 'x'\npool_size = 'hunter22'",
            "omnichat.toml:3: postgres.pool_size must be a whole number from 0 to 65535, not a string",
        ),
        (
            "[postgres]\npool_size = 70000",
            "omnichat.toml:2: postgres.pool_size must be a whole number from 0 to 65535",
        ),
        ("[postgres]\nurl = 22", "omnichat.toml:2: postgres.url must be a string, not a whole number"),
        ("[postgres]\npool_size = 0", "omnichat.toml:2: postgres.pool_size must be at least 1"),
        ("[postgres]\nformat = 'hunter22'", "omnichat.toml:2: postgres.format must be one of auto, json"),
        ("[postgres]\nnetwork = 'hunter22'", "omnichat.toml:2: postgres.network is no network: \"…\""),
        (
            "[postgres]\nhosts = ['a',\n 2]",
            "omnichat.toml:3: postgres.hosts[1] must be a string, not a whole number",
        ),
        ("postgres = 'hunter22'", "omnichat.toml:1: postgres must be a table, not a string"),
        ("[providers.a]\nretries = 1", "omnichat.toml:1: providers.a.kind is required"),
        (
            "[postgres]\nurl = hunter22",
            "omnichat.toml:2: is not TOML: string values must be quoted, expected literal string",
        ),
        (
            "[postgres]\npool_size = 99999999999999999999",
            "omnichat.toml:2: postgres.pool_size must be a number of 64 bits",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(mistake("file-mistakes", text, &[]), expected, "{text}");
    }
}

#[test]
fn a_mistake_in_the_environment_names_the_variable_and_never_the_value() {
    let cases = [
        (
            "OMNICHAT__POSTGRES__POL_SIZE",
            "OMNICHAT__POSTGRES__POL_SIZE: postgres.pol_size is not a known key; did you mean pool_size?",
        ),
        (
            "OMNICHAT__POSTGRES__POOL_SIZE",
            "OMNICHAT__POSTGRES__POOL_SIZE: postgres.pool_size must be a whole number from 0 to 65535, not a string",
        ),
        (
            "OMNICHAT__POSTGRES__FORMAT",
            "OMNICHAT__POSTGRES__FORMAT: postgres.format must be one of auto, json",
        ),
        (
            "OMNICHAT__POSTGRES__URL__X",
            "OMNICHAT__POSTGRES__URL__X: postgres.url holds a plain value and no further keys",
        ),
        (
            "OMNICHAT_POSTGRES__URL",
            "OMNICHAT_POSTGRES__URL: is not a known variable; did you mean OMNICHAT__POSTGRES__URL?",
        ),
    ];
    for (name, expected) in cases {
        assert_eq!(mistake("variable-mistakes", URL, &[(name, "hunter22 ")]), expected);
    }
}

#[test]
fn a_required_key_that_nobody_set_says_where_to_set_it() {
    assert_eq!(
        mistake("required", "", &[]),
        "postgres.url is required; set it in omnichat.toml, or set OMNICHAT__POSTGRES__URL or DATABASE_URL"
    );
}

#[test]
fn a_mistake_that_an_owner_finds_is_located_by_its_key() {
    let effective = loaded("owner", URL, &[("OMNICHAT__POSTGRES__POOL_SIZE", "7")]).effective;
    let located = |key: &str| effective.locate(ConfigError::new(key, "is odd")).to_string();
    assert_eq!(located("postgres.pool_size"), "OMNICHAT__POSTGRES__POOL_SIZE: postgres.pool_size is odd");
    assert_eq!(located("postgres.format"), "postgres.format is odd");
}

#[test]
fn names_that_an_orchestrator_makes_are_left_alone() {
    loaded(
        "kubernetes",
        URL,
        &[("OMNICHAT_SERVICE_HOST", "10.0.0.1"), ("OMNICHAT_PORT_8080_TCP", "tcp://10.0.0.1")],
    );
}

#[test]
fn a_required_file_must_exist_and_an_optional_one_may_be_absent() {
    let environment: Environment = [("DATABASE_URL", "x")].into_iter().collect();
    let loader = || Loader::new("OMNICHAT", &environment).legacy(LEGACY);
    loader().optional_file("absent.toml").load::<Product>().unwrap();
    let error = loader().required_file("absent.toml").load::<Product>().unwrap_err();
    assert!(error.to_string().starts_with("absent.toml: cannot be read: No such file"), "{error}");
}

#[test]
fn the_effective_configuration_shows_origins_and_masks_secrets() {
    let variables = [
        ("DATABASE_URL", "postgres://me:hunter22@localhost/db?password=hunter23&sslmode=require"),
        ("OMNICHAT__PROVIDERS__OPENAI__KIND", "openai"),
        ("OMNICHAT__PROVIDERS__OPENAI__API_KEY", "hunter24"),
        ("OMNICHAT__POSTGRES__POOL_SIZE", "7"),
    ];
    let shown = loaded("effective", "name = 'x'", &variables).effective.to_string();
    let (first, rest) = shown.split_once('\n').unwrap();
    assert!(first.starts_with("name = \"x\"  # ") && first.ends_with(".toml:1"), "{first}");
    assert_eq!(
        rest,
        r#"
[postgres]
format = "auto"
hosts = []
pool_size = 7  # OMNICHAT__POSTGRES__POOL_SIZE
reserve = 0.1
url = "postgres://me:***@localhost/db?password=***&sslmode=require"  # DATABASE_URL

[providers.openai]
api_key = "***"  # OMNICHAT__PROVIDERS__OPENAI__API_KEY
kind = "openai"  # OMNICHAT__PROVIDERS__OPENAI__KIND
"#
    );
    assert!(!shown.contains("hunter"));
}

#[test]
fn the_template_shows_every_key_with_its_default_and_meaning() {
    assert_eq!(
        template::<Product>(),
        r#"# A product.

# What it is called.
#name =

# Who answers. One table each:
#
# [providers.openai]
# kind = "openai"

# The database.
[postgres]
# Where it is.
#url =  # required

# Connections per process.
#pool_size = 16

# How to log.
#format = "auto"

# Share of the pool kept for urgent work.
#reserve = 0.1

# Hosts that may connect.
#hosts = []

# From where.
#network =
"#
    );
}

#[test]
fn printing_an_environment_shows_names_only() {
    let environment: Environment = [("JWT_SECRET", "hunter22")].into_iter().collect();
    assert_eq!(format!("{environment:?}"), r#"{"JWT_SECRET"}"#);
}
