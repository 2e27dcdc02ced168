//! The tables `[providers.<name>]` and `[models.<name>]`.
//!
//! ```toml
//! default_model = "small"
//!
//! [providers.openai]
//! kind = "openai"
//! base_url = "https://api.openai.com/v1"
//! api_key_env = "OPENAI_API_KEY"
//!
//! [models.small]
//! route = [{ provider = "openai", model = "gpt-4o-mini" }]
//! ```

use std::collections::BTreeMap;

use reqwest::Url;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    attribution, breaker::BreakerConfig, limiter::Limits, price::Prices, private_host::is_private,
    settings::Settings,
};

/// No deadline may be longer: an hour.
const TIMEOUT_MS_MAX: u64 = 3_600_000;

/// Which models there are and who serves them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    /// By the name that routes use.
    #[serde(default)]
    pub providers: BTreeMap<String, ProviderConfig>,
    /// By the name that users say.
    #[serde(default)]
    pub models: BTreeMap<String, ModelConfig>,
    /// The model of a conversation that names none.
    pub default_model: String,
}

/// How to reach a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Its dialect.
    pub kind: ProviderKind,
    /// The address to which `/chat/completions`, `/messages` or `/models` is appended, without user, query or fragment.
    pub base_url: String,
    /// The environment variable that holds its key. Reading it is the process's work, not this crate's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// The key itself, as found there.
    #[serde(default, skip_serializing)]
    pub api_key: Option<SecretString>,
    /// Several keys in place of one, over which the calls are spread.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyConfig>,
    /// Allow plain http, and addresses of this machine or a private network.
    #[serde(default)]
    pub allow_insecure: bool,
    /// Whether the provider, if it can be asked about a call, knows it also by the id that we gave it (`X-Client-Request-Id`).
    #[serde(default)]
    pub knows_call_ids: bool,
    /// Of OpenRouter: the address under which it counts the calls of this installation (`HTTP-Referer`); absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referer: Option<String>,
    /// Of OpenRouter: the name that it shows for it (`X-OpenRouter-Title`); absent: `omnichat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When to give up.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// When a key is not used for a while, as its calls fail.
    #[serde(default)]
    pub breaker: BreakerConfig,
    /// What the provider allows to each key.
    #[serde(default)]
    pub limits: Limits,
}

/// One of several keys of a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// The environment variable that holds it.
    pub api_key_env: String,
    /// The key itself, as found there.
    #[serde(default, skip_serializing)]
    pub api_key: Option<SecretString>,
    /// Its part of the calls, relative to the others: 1 to 1,000.
    #[serde(default = "KeyConfig::usual_weight")]
    pub weight: u32,
}

impl KeyConfig {
    const fn usual_weight() -> u32 {
        1
    }
}

impl ProviderConfig {
    /// A provider without a key, with default timeouts, secure only.
    pub fn new(kind: ProviderKind, base_url: impl Into<String>) -> Self {
        Self {
            kind,
            base_url: base_url.into(),
            api_key_env: None,
            api_key: None,
            keys: Vec::new(),
            allow_insecure: false,
            knows_call_ids: false,
            referer: None,
            title: None,
            timeouts: Timeouts::default(),
            breaker: BreakerConfig::default(),
            limits: Limits::default(),
        }
    }
}

/// The dialect a provider speaks. The first four are one wire, and differ in details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// Anything that follows OpenAI's chat completions: vLLM, LM Studio, the simulator, …
    OpenaiCompatible,
    /// `https://api.openai.com/v1`
    Openai,
    /// `https://openrouter.ai/api/v1`
    Openrouter,
    /// `http://127.0.0.1:11434/v1`
    Ollama,
    /// `https://api.anthropic.com/v1`: Messages.
    Anthropic,
    /// `https://generativelanguage.googleapis.com/v1beta`: Google's own wire.
    Gemini,
}

/// When a call gives up: times in milliseconds, each 1 to 3,600,000.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Name lookup, TCP and TLS together.
    pub connect_ms: u64,
    /// From the start of the call to the first text.
    pub first_token_ms: u64,
    /// Between any two bytes of the answer, comments included.
    pub idle_ms: u64,
    /// The whole call.
    pub total_ms: u64,
    /// A text that has begun goes on with at least `slow_bytes` in each of these times. Thinking is enough.
    pub slow_ms: u64,
    /// See `slow_ms`; 0: as slowly as it likes.
    pub slow_bytes: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect_ms: 5_000,
            first_token_ms: 20_000,
            idle_ms: 20_000,
            total_ms: 120_000,
            slow_ms: 30_000,
            slow_bytes: 30,
        }
    }
}

/// A model as users see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Who serves it, best first. A call that failed is repeated at the next one.
    pub route: Vec<RouteStep>,
    /// What it costs, where the step of the route says nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<Prices>,
    /// How much it can read and write in one call, in tokens: 256 or more. Of a conversation that is longer the oldest messages are
    /// left out; instructions always stay, and so does the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    /// How it is asked to answer where a call says nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

impl ModelConfig {
    /// A model served so, without prices.
    pub fn new(route: impl Into<Vec<RouteStep>>) -> Self {
        Self { route: route.into(), prices: None, context_tokens: None, settings: None }
    }
}

/// One provider's name for a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteStep {
    /// A name of [`Config::providers`].
    pub provider: String,
    /// The model's name there.
    pub model: String,
    /// What it costs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<Prices>,
}

impl RouteStep {
    /// This model of this provider, at the model's prices.
    pub fn new(provider: impl Into<String>, model: impl Into<String>) -> Self {
        Self { provider: provider.into(), model: model.into(), prices: None }
    }
}

/// A setting that cannot work. Names the key, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// The key, as in `providers.openai.base_url`.
    pub key: String,
    /// What is wrong and what to do.
    pub problem: &'static str,
}

impl ConfigError {
    pub(crate) fn new(key: impl Into<String>, problem: &'static str) -> Self {
        Self { key: key.into(), problem }
    }
}

impl Config {
    /// Can this work? Names the first key that cannot.
    ///
    /// A provider is asked over https at a public address, or has `allow_insecure = true`. With
    /// `allow_insecure_default`, for a process on a developer's machine, this machine and private networks are allowed
    /// too, over http as well.
    pub fn check(&self, allow_insecure_default: bool) -> Result<(), ConfigError> {
        for (name, provider) in &self.providers {
            let key = |field: &str| format!("providers.{name}.{field}");
            provider
                .address(allow_insecure_default)
                .map_err(|problem| ConfigError::new(key("base_url"), problem))?;
            attribution::headers(provider).map_err(|field| {
                ConfigError::new(
                    key(field),
                    "must be visible ASCII, and of a provider of the kind openrouter",
                )
            })?;
            provider.timeouts.check().map_err(|field| {
                ConfigError::new(key(&format!("timeouts.{field}")), "must be between 1 and 3600000 ms")
            })?;
            provider
                .breaker
                .check()
                .map_err(|(field, problem)| ConfigError::new(key(&format!("breaker.{field}")), problem))?;
            if provider.keys.iter().any(|key| !(1..=1_000).contains(&key.weight)) {
                return Err(ConfigError::new(key("keys.weight"), "must be between 1 and 1000"));
            }
            if !provider.keys.is_empty() && provider.api_key_env.is_some() {
                return Err(ConfigError::new(
                    key("keys"),
                    "takes the place of api_key_env; give one of them",
                ));
            }
        }
        for (name, model) in &self.models {
            let key = format!("models.{name}.route");
            if model.route.is_empty() {
                return Err(ConfigError::new(key, "is empty; name at least one provider and its model"));
            }
            if model.route.iter().any(|step| !self.providers.contains_key(&step.provider)) {
                return Err(ConfigError::new(key, "names a provider that has no [providers.<name>] table"));
            }
            if model.context_tokens.is_some_and(|tokens| tokens < 256) {
                return Err(ConfigError::new(format!("models.{name}.context_tokens"), "must be 256 or more"));
            }
            if let Some(Err(invalid)) = model.settings.as_ref().map(Settings::validate) {
                let key = format!("models.{name}.settings.{}", invalid.field);
                return Err(ConfigError::new(key, invalid.message));
            }
            let prices = model.route.iter().filter_map(|step| step.prices).chain(model.prices);
            if prices.into_iter().any(|prices| !prices.are_sane()) {
                let key = format!("models.{name}.prices");
                return Err(ConfigError::new(key, "must be between 0 and 1000000 for a million tokens"));
            }
        }
        if !self.models.contains_key(&self.default_model) {
            return Err(ConfigError::new("default_model", "names a model that has no [models.<name>] table"));
        }
        Ok(())
    }
}

impl ProviderConfig {
    /// The base URL, or what is wrong with it.
    pub(crate) fn address(&self, allow_insecure_default: bool) -> Result<Url, &'static str> {
        let url = Url::parse(&self.base_url).map_err(|_| "is not a URL")?;
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("must begin with https:// or http://"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold credentials; name the key's variable in api_key_env");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must not have a query or a fragment");
        }
        let private = is_private(&url);
        if self.allow_insecure || (private && allow_insecure_default) {
            return Ok(url);
        }
        if !secure {
            return Err("must begin with https://, unless the provider has allow_insecure = true");
        }
        if private {
            return Err("is on this machine or a private network, which needs allow_insecure = true");
        }
        Ok(url)
    }
}

impl Timeouts {
    /// Names the first field that is out of bounds.
    fn check(&self) -> Result<(), &'static str> {
        let fields = [
            ("connect_ms", self.connect_ms),
            ("first_token_ms", self.first_token_ms),
            ("idle_ms", self.idle_ms),
            ("total_ms", self.total_ms),
            ("slow_ms", self.slow_ms),
        ];
        match fields.into_iter().find(|(_, ms)| !(1..=TIMEOUT_MS_MAX).contains(ms)) {
            Some((field, _)) => Err(field),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Config {
        toml::from_str(
            r#"
            default_model = "small"
            [providers.openai]
            kind = "openai"
            base_url = "https://api.openai.com/v1"
            api_key = "sk-very-secret"
            timeouts.idle_ms = 7000
            [models.small]
            route = [{ provider = "openai", model = "gpt-4o-mini" }]
            "#,
        )
        .unwrap()
    }

    fn refused(edit: impl FnOnce(&mut ProviderConfig), developer: bool) -> Option<String> {
        let mut config = sample();
        edit(config.providers.get_mut("openai").unwrap());
        config.check(developer).err().map(|error| error.key)
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let config = sample();
        config.check(false).unwrap();
        assert_eq!(config.providers["openai"].timeouts, Timeouts { idle_ms: 7_000, ..Timeouts::default() });
    }

    #[test]
    fn a_key_is_neither_printed_nor_written() {
        let config = sample();
        assert!(!format!("{config:?}").contains("very-secret"));
        let written = toml::to_string(&config).unwrap();
        assert!(!written.contains("api_key"), "{written}");
        toml::from_str::<Config>(&written).unwrap().check(false).unwrap();
    }

    #[test]
    fn an_unknown_key_of_a_table_is_refused_by_name() {
        let text = "default_model = 'm'\n[providers.x]\nkind = 'ollama'\nbase_url = 'http://localhost'\nbase_ulr = 1";
        assert!(toml::from_str::<Config>(text).unwrap_err().to_string().contains("base_ulr"));
    }

    #[test]
    fn http_and_private_addresses_need_permission() {
        let at = |base_url: &str, allow_insecure, developer| {
            let edit = |it: &mut ProviderConfig| {
                it.base_url = base_url.to_owned();
                it.allow_insecure = allow_insecure;
            };
            refused(edit, developer).is_none()
        };
        assert!(at("https://api.openai.com/v1", false, false));
        assert!(!at("http://127.0.0.1:11434/v1", false, false));
        assert!(!at("https://192.168.0.9/v1", false, false));
        assert!(at("http://127.0.0.1:11434/v1", false, true));
        assert!(at("http://ollama:11434/v1", false, true));
        assert!(!at("http://api.openai.com/v1", false, true));
        assert!(at("http://api.openai.com/v1", true, false));
    }

    #[test]
    fn only_openrouter_is_told_who_calls() {
        let of = |kind, title: &str| {
            let edit = |it: &mut ProviderConfig| (it.kind, it.title) = (kind, Some(title.to_owned()));
            refused(edit, false)
        };
        let title = Some("providers.openai.title".to_owned());
        assert_eq!(of(ProviderKind::Openrouter, "Our chat"), None);
        assert_eq!(of(ProviderKind::Openrouter, "Our\nchat"), title);
        assert_eq!(of(ProviderKind::Openai, "Our chat"), title);
    }

    #[test]
    fn a_fault_names_its_key() {
        let base_url = Some("providers.openai.base_url".to_owned());
        for bad in ["", "api.openai.com", "ftp://a.com/", "https://me:pw@a.com/v1", "https://a.com/v1?key=1"]
        {
            assert_eq!(refused(|it| it.base_url = bad.to_owned(), true), base_url, "{bad}");
        }
        assert_eq!(
            refused(|it| it.timeouts.total_ms = 0, true),
            Some("providers.openai.timeouts.total_ms".to_owned())
        );
        assert_eq!(
            refused(|it| it.timeouts.idle_ms = u64::MAX, true),
            Some("providers.openai.timeouts.idle_ms".to_owned())
        );

        let mut config = sample();
        config.default_model = "absent".to_owned();
        assert_eq!(config.check(true).unwrap_err().key, "default_model");
        config = sample();
        config.models.get_mut("small").unwrap().route[0].provider = "absent".to_owned();
        assert_eq!(config.check(true).unwrap_err().key, "models.small.route");
        config.models.get_mut("small").unwrap().route.clear();
        assert_eq!(config.check(true).unwrap_err().key, "models.small.route");
    }
}
