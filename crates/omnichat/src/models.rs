//! Which models are served: as configured, else by the provider that is at hand.

use std::time::Duration;

use host::{ConfigError, Environment};
use llm::{ModelConfig, ProviderConfig, ProviderKind, RouteStep};

use crate::config::Config;

/// A provider that needs nothing but a key, or nothing at all.
struct Known {
    name: &'static str,
    kind: ProviderKind,
    base_url: &'static str,
    key: Option<&'static str>,
    model: &'static str,
}

const KNOWN: [Known; 5] = [
    Known {
        name: "openrouter",
        kind: ProviderKind::Openrouter,
        base_url: "https://openrouter.ai/api/v1",
        key: Some("OPENROUTER_API_KEY"),
        model: "openai/gpt-4o-mini",
    },
    Known {
        name: "openai",
        kind: ProviderKind::Openai,
        base_url: "https://api.openai.com/v1",
        key: Some("OPENAI_API_KEY"),
        model: "gpt-4o-mini",
    },
    Known {
        name: "anthropic",
        kind: ProviderKind::Anthropic,
        base_url: "https://api.anthropic.com/v1",
        key: Some("ANTHROPIC_API_KEY"),
        model: "claude-haiku-4-5",
    },
    Known {
        name: "gemini",
        kind: ProviderKind::Gemini,
        base_url: "https://generativelanguage.googleapis.com/v1beta",
        key: Some("GEMINI_API_KEY"),
        model: "gemini-3.5-flash-lite",
    },
    Known { name: "ollama", kind: ProviderKind::Ollama, base_url: OLLAMA, key: None, model: "llama3.2" },
];

/// Where Ollama listens by default.
const OLLAMA: &str = "http://127.0.0.1:11434/v1";

/// A provider found on this machine, for want of a configured one.
#[derive(Debug, Clone)]
pub struct Stopgap {
    /// Its name.
    pub name: &'static str,
    /// Its wire.
    pub kind: ProviderKind,
    /// Where it is.
    pub base_url: String,
    /// A model it has.
    pub model: String,
}

/// The models to serve, with the keys of their providers. None when nothing is configured and no key is set.
pub fn configured(config: &Config, environment: &Environment) -> Result<Option<llm::Config>, ConfigError> {
    let mut llm = llm::Config {
        providers: config.providers.clone(),
        models: config.models.clone(),
        default_model: String::new(),
    };
    if llm.models.is_empty() {
        let Some((name, model)) = provider_in_use(config, environment)? else { return Ok(None) };
        add_known(&mut llm, &name);
        let model = config.llm.model.clone().or(model).ok_or_else(|| {
            ConfigError::new("llm.model", format!("is required: which model of provider {name} to use"))
        })?;
        llm.models.insert(model.clone(), route(&name, &model));
    }
    let named: Vec<_> =
        llm.models.values().flat_map(|model| &model.route).map(|step| step.provider.clone()).collect();
    named.iter().for_each(|name| add_known(&mut llm, name));
    for (name, provider) in &mut llm.providers {
        fill_in_keys(name, provider, environment)?;
    }
    llm.default_model = match &config.llm.model {
        Some(model) => model.clone(),
        None => llm.models.keys().next().cloned().unwrap_or_default(),
    };
    Ok(Some(llm))
}

/// The models of a provider that was found.
pub fn of_stopgap(stopgap: &Stopgap, config: &Config) -> llm::Config {
    let model = config.llm.model.clone().unwrap_or_else(|| stopgap.model.clone());
    let mut provider = ProviderConfig::new(stopgap.kind, &stopgap.base_url);
    provider.allow_insecure = true;
    llm::Config {
        providers: [(stopgap.name.to_owned(), provider)].into(),
        models: [(model.clone(), route(stopgap.name, &stopgap.model))].into(),
        default_model: model,
    }
}

/// The name of the provider to use and its usual model: as named, else a known one whose key is set, else the only one that
/// is configured.
fn provider_in_use(
    config: &Config,
    environment: &Environment,
) -> Result<Option<(String, Option<String>)>, ConfigError> {
    let usual =
        |name: &str| KNOWN.iter().find(|known| known.name == name).map(|known| known.model.to_owned());
    if let Some(name) = &config.llm.provider {
        if !config.providers.contains_key(name) && usual(name).is_none() {
            return Err(ConfigError::new("llm.provider", "names no provider")
                .advice("add [providers.<name>], or take openai, openrouter, anthropic, gemini or ollama"));
        }
        return Ok(Some((name.clone(), usual(name))));
    }
    let with_key = KNOWN.iter().find(|known| {
        known.key.is_some_and(|key| environment.get(key).is_some_and(|value| !value.is_empty()))
    });
    let only = config.providers.keys().next().filter(|_| config.providers.len() == 1);
    Ok(with_key
        .map(|known| (known.name.to_owned(), Some(known.model.to_owned())))
        .or(only.map(|name| (name.clone(), usual(name)))))
}

/// A running Ollama with a model, if this machine has one.
pub async fn find_ollama() -> Option<Stopgap> {
    #[derive(serde::Deserialize)]
    struct Models {
        data: Vec<Model>,
    }
    #[derive(serde::Deserialize)]
    struct Model {
        id: String,
    }
    // Only one crypto provider can be installed per process; an error says that one is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(Duration::from_millis(500)).no_proxy().build().ok()?;
    let body = client.get(format!("{OLLAMA}/models")).send().await.ok()?.bytes().await.ok()?;
    let models: Models = serde_json::from_slice(&body).ok()?;
    let model = models.data.into_iter().next()?.id;
    Some(Stopgap { name: "ollama", kind: ProviderKind::Ollama, base_url: OLLAMA.into(), model })
}

fn add_known(llm: &mut llm::Config, name: &str) {
    let Some(known) = KNOWN.iter().find(|known| known.name == name) else { return };
    llm.providers.entry(name.to_owned()).or_insert_with(|| {
        let mut provider = ProviderConfig::new(known.kind, known.base_url);
        provider.api_key_env = known.key.map(str::to_owned);
        // Ollama is on this machine.
        provider.allow_insecure = known.key.is_none();
        provider
    });
}

/// Reads the keys of a provider from where it names them.
fn fill_in_keys(
    name: &str,
    provider: &mut ProviderConfig,
    environment: &Environment,
) -> Result<(), ConfigError> {
    if let Some(variable) = &provider.api_key_env {
        provider.api_key = Some(key(&format!("providers.{name}.api_key_env"), variable, environment)?);
    }
    for (place, of_many) in provider.keys.iter_mut().enumerate() {
        let named = format!("providers.{name}.keys[{place}].api_key_env");
        of_many.api_key = Some(key(&named, &of_many.api_key_env, environment)?);
    }
    Ok(())
}

fn key(named: &str, variable: &str, environment: &Environment) -> Result<secrecy::SecretString, ConfigError> {
    match environment.get(variable).filter(|value| !value.is_empty()) {
        Some(value) => Ok(value.to_owned().into()),
        None => Err(ConfigError::new(named, format!("the variable {variable} is not set"))),
    }
}

fn route(provider: &str, model: &str) -> ModelConfig {
    ModelConfig::new([RouteStep::new(provider, model)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Shared;

    fn models(variables: &[(&str, &str)]) -> Result<Option<llm::Config>, ConfigError> {
        let environment: Environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (config, _) = crate::config::load(&Shared { config: None, log: None }, &environment)?;
        configured(&config, &environment)
    }

    fn default_of(variables: &[(&str, &str)]) -> Option<String> {
        models(variables).unwrap().map(|llm| llm.default_model)
    }

    #[test]
    fn a_key_is_enough() {
        assert_eq!(default_of(&[("OPENAI_API_KEY", "k")]).as_deref(), Some("gpt-4o-mini"));
        assert_eq!(default_of(&[("OPENROUTER_API_KEY", "k")]).as_deref(), Some("openai/gpt-4o-mini"));
        assert_eq!(default_of(&[("ANTHROPIC_API_KEY", "k")]).as_deref(), Some("claude-haiku-4-5"));
        assert_eq!(default_of(&[("GEMINI_API_KEY", "k")]).as_deref(), Some("gemini-3.5-flash-lite"));
        assert_eq!(default_of(&[("OPENROUTER_API_KEY", "k"), ("LLM_MODEL", "m")]).as_deref(), Some("m"));
        assert_eq!(default_of(&[("LLM_PROVIDER", "ollama"), ("LLM_MODEL", "m")]).as_deref(), Some("m"));
        assert_eq!(default_of(&[]), None);
        assert_eq!(default_of(&[("OPENAI_API_KEY", "")]), None);
    }

    #[test]
    fn any_base_url_can_be_a_provider() {
        let variables = [
            ("OMNICHAT__PROVIDERS__MINE__KIND", "openai-compatible"),
            ("OMNICHAT__PROVIDERS__MINE__BASE_URL", "https://llm.example.org/v1"),
            ("LLM_MODEL", "mine-large"),
        ];
        let llm = models(&variables).unwrap().unwrap();
        assert_eq!(llm.models["mine-large"].route[0].provider, "mine");
        assert!(models(&variables[..2]).unwrap_err().to_string().contains("llm.model"));
    }

    #[test]
    fn a_route_may_name_a_known_provider_without_a_table() {
        let route =
            r#"[{ provider = "openai", model = "gpt-4o" }, { provider = "ollama", model = "llama3.2" }]"#;
        let variables = [("OMNICHAT__MODELS__LARGE__ROUTE", route), ("OPENAI_API_KEY", "k")];
        let llm = models(&variables).unwrap().unwrap();
        assert_eq!(llm.providers.keys().collect::<Vec<_>>(), ["ollama", "openai"]);
        llm.check(false).unwrap();
        assert!(models(&variables[..1]).unwrap_err().to_string().contains("OPENAI_API_KEY"));
    }

    #[test]
    fn several_keys_are_read_where_they_are_named() {
        let variables = [
            ("OMNICHAT__PROVIDERS__MINE__KIND", "openai-compatible"),
            ("OMNICHAT__PROVIDERS__MINE__BASE_URL", "https://llm.example.org/v1"),
            (
                "OMNICHAT__PROVIDERS__MINE__KEYS",
                r#"[{ api_key_env = "ONE", weight = 3 }, { api_key_env = "TWO" }]"#,
            ),
            ("LLM_MODEL", "m"),
            ("ONE", "1"),
            ("TWO", "2"),
        ];
        let keys = models(&variables).unwrap().unwrap().providers["mine"].keys.clone();
        assert_eq!(
            keys.iter().map(|key| (key.weight, key.api_key.is_some())).collect::<Vec<_>>(),
            [(3, true), (1, true)]
        );
        assert!(models(&variables[..5]).unwrap_err().to_string().contains("keys[1].api_key_env"));
    }

    #[test]
    fn what_is_missing_is_named_by_its_key() {
        let text = |variables: &[(&str, &str)]| models(variables).unwrap_err().to_string();
        assert!(text(&[("LLM_PROVIDER", "nobody")]).contains("llm.provider"));
        assert!(text(&[("LLM_PROVIDER", "openai")]).contains("OPENAI_API_KEY"));
    }
}
