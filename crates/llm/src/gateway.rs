//! From a model's name to the provider that serves it.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    answering::Answering,
    config::{Config, ConfigError},
    error::CallError,
    prompt::Prompt,
    provider::Provider,
};

/// All configured models behind one door. Cheap to share behind an `Arc`; holds the pools of connections.
pub struct Gateway {
    models: BTreeMap<String, Vec<Step>>,
    default_model: String,
}

/// Who serves a model, under which name.
struct Step {
    provider: Arc<Provider>,
    model: String,
}

impl Gateway {
    /// Ready to call; connects to nothing yet. The keys must stand in `config` already. Refuses what
    /// [`Config::check`] refuses even on a developer's machine, and a machine without TLS roots for https.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        config.check(true)?;
        // Only one provider can be installed per process, and any is fine: an error says one is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut providers = BTreeMap::new();
        for (name, provider) in &config.providers {
            providers.insert(name.as_str(), Arc::new(Provider::new(name, provider)?));
        }
        let mut models = BTreeMap::new();
        for (name, model) in &config.models {
            let steps = model.route.iter().filter_map(|step| {
                let provider = Arc::clone(providers.get(step.provider.as_str())?);
                Some(Step { provider, model: step.model.clone() })
            });
            models.insert(name.clone(), steps.collect());
        }
        Ok(Self { models, default_model: config.default_model.clone() })
    }

    /// The names of all models, sorted.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }

    /// The model of a conversation that names none.
    pub fn default_model(&self) -> &str {
        &self.default_model
    }

    /// Is there such a model?
    pub fn knows(&self, model: &str) -> bool {
        self.models.contains_key(model)
    }

    /// The model whose name is most like this unknown one, if any is like it.
    pub fn nearest(&self, model: &str) -> Option<&str> {
        let likeness = |name: &&str| (strsim::jaro_winkler(model, name) * 1000.0) as u32;
        self.models().max_by_key(likeness).filter(|name| likeness(name) > 700)
    }

    /// Asks a model. Returns once its provider has begun to answer; what follows comes from [`Answering::next`]. Takes
    /// at most the provider's `first_token_ms`. Dropping the future closes the connection.
    pub async fn call(&self, prompt: Prompt) -> Result<Answering, CallError> {
        match self.models.get(&prompt.model).and_then(|steps| steps.first()) {
            Some(step) => step.provider.start(&prompt, &step.model).await,
            None => Err(CallError::UnknownModel(prompt.model)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelConfig, ProviderConfig, ProviderKind, RouteStep, Settings};

    fn gateway() -> Gateway {
        let provider = ProviderConfig::new(ProviderKind::Ollama, "http://127.0.0.1:9/v1");
        let route = vec![RouteStep { provider: "here".to_owned(), model: "m".to_owned() }];
        let models = ["large", "small"].map(|name| (name.to_owned(), ModelConfig { route: route.clone() }));
        let providers = [("here".to_owned(), provider)];
        let default_model = "small".to_owned();
        Gateway::new(&Config { providers: providers.into(), models: models.into(), default_model }).unwrap()
    }

    #[tokio::test]
    async fn an_unknown_model_is_refused_by_name() {
        let prompt = Prompt {
            model: "smal".to_owned(),
            messages: Vec::new(),
            settings: Settings::default(),
            call_id: String::new(),
            traceparent: None,
        };
        assert_eq!(gateway().call(prompt).await.err(), Some(CallError::UnknownModel("smal".to_owned())));
    }

    #[test]
    fn a_mistyped_model_is_told_from_a_strange_one() {
        let gateway = gateway();
        assert_eq!(gateway.models().collect::<Vec<_>>(), ["large", "small"]);
        assert!(gateway.knows("small") && !gateway.knows("smal"));
        assert_eq!(gateway.nearest("smal"), Some("small"));
        assert_eq!(gateway.nearest("q"), None);
    }
}
