//! The configuration of a process: each crate's section, from file and environment.

use std::collections::BTreeMap;

use host::{
    ConfigError, Environment,
    config::{Effective, Loader, template},
};
use llm::{ModelConfig, ProviderConfig};

use crate::{
    cli::{LogFormat, Shared},
    keys::IdentityConfig,
    limits::Limits,
};

/// Variables of other names, each with the key it sets.
pub const LEGACY: &[(&str, &str)] = &[
    ("DATABASE_URL", "postgres.url"),
    ("NATS_URL", "nats.url"),
    ("JWT_SECRET", "identity.jwt_secret"),
    ("JWT_ALGORITHM", "identity.jwt_algorithm"),
    ("ACCESS_TOKEN_EXPIRE_MINUTES", "auth.access_token_minutes"),
    ("LLM_PROVIDER", "llm.provider"),
    ("LLM_MODEL", "llm.model"),
];

/// Everything that can be set.
#[derive(Debug, confique::Config)]
pub struct Config {
    /// The HTTP API.
    #[config(nested)]
    pub http: ingress::Config,

    /// What users may do, and how often; 0 turns a limit off.
    #[config(nested)]
    pub limits: Limits,

    /// How tokens are signed.
    #[config(nested)]
    pub identity: IdentityConfig,

    /// Accounts and sessions.
    #[config(nested)]
    pub auth: auth::Config,

    /// Conversations and turns.
    #[config(nested)]
    pub chat: chat::Config,

    /// Which model answers when nobody names one.
    #[config(nested)]
    pub llm: LlmConfig,

    /// The queue and the router.
    #[config(nested)]
    pub nats: bus::Config,

    /// The record.
    #[config(nested)]
    pub postgres: host::postgres::Config,

    /// Logs, on standard error.
    #[config(nested)]
    pub log: host::telemetry::Config,

    /// Who serves models, as tables: `[providers.mine]` with `kind` (openai-compatible, openai, openrouter, ollama, anthropic,
    /// gemini), `base_url`, `api_key_env` (the variable that holds the key) or `keys` (several, as `{ api_key_env, weight }`),
    /// `allow_insecure` (plain http, private addresses), `timeouts` (`connect_ms`, `first_token_ms`, `idle_ms`, `total_ms`;
    /// `slow_bytes` of text in each `slow_ms`), `breaker` (a key rests for `rest_ms` after so many `failures` within
    /// `within_ms`; 0: never), `limits` of each key in all processes together (`requests_per_min`, `tokens_per_min`,
    /// `concurrent`; 0: none) and `knows_call_ids` (it can be asked what a call has cost by the id we gave it); of OpenRouter also
    /// `title` (what it calls this installation; absent: omnichat) and `referer` (the address under which it counts its calls).
    #[config(default = {})]
    pub providers: BTreeMap<String, ProviderConfig>,

    /// The models users may name, as tables: `[models.small]` with `route`, a list of `{ provider, model }`, best first: a
    /// call that failed is repeated at the next one; `prices` for a million tokens, as `{ prompt = 0.15, completion = 0.6 }`,
    /// which a step of the route may have as well; `context_tokens`, what it can read and write in one call; `settings`, how it
    /// answers where nobody says otherwise. openai, openrouter, anthropic, gemini and ollama need no table of their own.
    /// Without any, one model of the provider in use is served.
    #[config(default = {})]
    pub models: BTreeMap<String, ModelConfig>,
}

/// Section `[llm]`.
#[derive(Debug, Clone, confique::Config)]
pub struct LlmConfig {
    /// The provider in use: openai, openrouter, anthropic, gemini, ollama, or a name of `[providers]`; also LLM_PROVIDER. With
    /// `up` also simulator. Absent: the one whose key is set.
    pub provider: Option<String>,

    /// The default model; also LLM_MODEL.
    pub model: Option<String>,
}

/// Reads the configuration.
pub fn load(shared: &Shared, environment: &Environment) -> Result<(Config, Effective), ConfigError> {
    let loader = Loader::new("OMNICHAT", environment).legacy(LEGACY);
    let loader = match &shared.config {
        Some(path) => loader.required_file(path),
        None => loader.optional_file("omnichat.toml"),
    };
    let format = shared.log.map(|format| match format {
        LogFormat::Json => "json".to_owned(),
        LogFormat::Text => "text".to_owned(),
    });
    let loaded = loader.flag("--log", "log.format", format).load::<Config>()?;
    Ok((loaded.config, loaded.effective))
}

/// `omnichat config`
#[expect(clippy::print_stdout, reason = "what the command is for")]
pub fn show(shared: &Shared, as_template: bool) -> anyhow::Result<()> {
    if as_template {
        print!("{}", template::<Config>());
    } else {
        let (_, effective) = load(shared, &Environment::of_process())?;
        print!("{effective}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_file_is_the_template() {
        let sample = include_str!("../../../omnichat.example.toml");
        assert_eq!(
            sample,
            template::<Config>(),
            "write it anew: omnichat config --template > omnichat.example.toml"
        );
    }

    #[test]
    fn every_legacy_name_sets_a_key_that_exists() {
        let values = [
            ("DATABASE_URL", "postgres://h/d"),
            ("NATS_URL", "nats://h:1"),
            ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
            ("JWT_ALGORITHM", "HS256"),
            ("ACCESS_TOKEN_EXPIRE_MINUTES", "5"),
            ("LLM_PROVIDER", "openai"),
            ("LLM_MODEL", "m"),
        ];
        let environment =
            values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let shared = Shared { config: None, log: None };
        let (config, _) = load(&shared, &environment).unwrap();
        assert_eq!((config.auth.access_token_minutes, config.nats.url.as_str()), (5, "nats://h:1"));
        assert!(config.identity.verifier().is_ok());
        assert_eq!(config.llm.model.as_deref(), Some("m"));
        assert_eq!(values.len(), LEGACY.len());
    }
}
