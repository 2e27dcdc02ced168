//! From a model's name to the provider that serves it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use crate::{
    account::{Account, Known},
    answering::Answering,
    config::{Config, ConfigError},
    error::CallError,
    price::Prices,
    prompt::Prompt,
    provider::Provider,
    report::{Report, tokens_of},
    retry,
    route::{NoPlace, Route, Step},
};

/// All configured models behind one door. Cheap to share behind an `Arc`; holds the pools of connections.
pub struct Gateway {
    models: BTreeMap<String, Route>,
    providers: Vec<Arc<Provider>>,
    default_model: String,
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
                Some(Step { provider, model: step.model.clone(), prices: step.prices.or(model.prices) })
            });
            let (steps, context_tokens) = (steps.collect(), model.context_tokens);
            models.insert(name.clone(), Route { steps, context_tokens, settings: model.settings.clone() });
        }
        let providers = providers.into_values().collect();
        Ok(Self { models, providers, default_model: config.default_model.clone() })
    }

    /// The names of all models, sorted.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }

    /// What a model can read and write in one call, in tokens, and what it costs at the first provider of its route.
    pub fn terms(&self, model: &str) -> (Option<u32>, Option<Prices>) {
        let route = self.models.get(model);
        let prices = route.and_then(|route| route.steps.first()?.prices);
        (route.and_then(|route| route.context_tokens), prices)
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

    /// Asks a model, for the first time. Returns once its provider has begun to answer; what follows comes from
    /// [`Answering::next`]. Takes at most the provider's `first_token_ms`. Dropping the future closes the connection.
    pub async fn call(&self, prompt: Prompt) -> Result<Answering, CallError> {
        let mut answering = self.reserve(prompt, 1).await.map_err(|refused| refused.error)?;
        answering.begin().await?;
        Ok(answering)
    }

    /// A call that may be made: the `attempt`th for this answer, from 1. Nothing is sent yet, so what is to be made
    /// durable before can be. Along a route each attempt goes one step further than the one before, round and round, and
    /// passes over what rests because its calls failed. Waits in line as long as the limits of the key demand, up to the
    /// provider's `total_ms`; dropping the future leaves the line.
    ///
    /// # Errors
    /// There is no such model; or all that serve it rest: why the first one does, and when to ask again; or the line was
    /// too long.
    pub async fn reserve(&self, mut prompt: Prompt, attempt: u32) -> Result<Answering, NoPlace> {
        let since = Instant::now();
        let Some(route) = self.models.get(&prompt.model) else {
            return Err(NoPlace { error: CallError::UnknownModel(prompt.model), wait: None });
        };
        if let Some(usual) = &route.settings {
            prompt.settings = prompt.settings.over(usual);
        }
        if let Some(tokens) = route.context_tokens {
            prompt.fit(tokens);
        }
        let place = route.place(attempt)?;
        let patience = Duration::from_millis(place.provider.timeouts.total_ms);
        let seat =
            place.pass.key().limiter().seat(tokens_of(prompt.text_bytes()), prompt.settings.max_tokens);
        match timeout(patience, seat).await {
            Ok(seat) => Ok(Answering::new(place, seat, prompt, since)),
            Err(_) => Err(NoPlace { error: CallError::Busy { retry_after: None }, wait: None }),
        }
    }

    /// The limits of the providers' keys hold for so many processes together, this one included; each takes its part. 0: it is not
    /// known yet, and whoever is limited waits. To begin with it is 1.
    pub fn divide(&self, processes: u32) {
        self.providers.iter().for_each(|provider| provider.divide(processes));
    }

    /// How many keys of each provider rest just now, as their calls fail.
    pub fn resting(&self) -> impl Iterator<Item = (&str, usize)> {
        self.providers.iter().map(|provider| (provider.name.as_ref(), provider.resting()))
    }

    /// The providers that can be asked about a call that is known to them so.
    pub fn tellers(&self, known: Known) -> impl Iterator<Item = &str> {
        let telling = self.providers.iter().filter(move |provider| provider.can_tell_of(known));
        telling.map(|provider| provider.name.as_ref())
    }

    /// The models of whose calls a provider can be asked by the id that we gave them.
    pub fn told_models(&self) -> impl Iterator<Item = &str> {
        let told = |route: &Route| route.steps.iter().any(|step| step.provider.can_tell_of(Known::ByCallId));
        self.models.iter().filter(move |(_, route)| told(route)).map(|(model, _)| model.as_str())
    }

    /// Asks the providers of a model what they have counted of a call that has ended: the one that was asked, if it is known,
    /// else each of them; by their own id of the call, or, where it is not known, by the id it was given. None: none of them
    /// knows of such a call.
    pub async fn account(
        &self,
        model: &str,
        provider: Option<&str>,
        generation_id: Option<&str>,
        call_id: &str,
    ) -> Result<Option<Account>, CallError> {
        let steps = self.models.get(model).map(|route| route.steps.as_slice()).unwrap_or_default();
        let mut asked: Vec<&str> = Vec::new();
        let known = if generation_id.is_some() { Known::ByOwnId } else { Known::ByCallId };
        for step in steps.iter().filter(|step| step.provider.can_tell_of(known)) {
            let name = step.provider.name.as_ref();
            if provider.is_some_and(|provider| provider != name) || asked.contains(&name) {
                continue;
            }
            asked.push(name);
            if let Some(told) = step.provider.tell_of(generation_id.unwrap_or(call_id)).await? {
                let asked_for = |other: &&Step| other.model == told.model && *other.provider.name == *name;
                let priced = steps.iter().find(asked_for).unwrap_or(step);
                return Ok(Some(Account {
                    provider: name.to_owned(),
                    cost_micros: priced.prices.map(|prices| prices.cost_micros(&told.usage)),
                    model: told.model,
                    generation_id: told.id,
                    usage: told.usage,
                }));
            }
        }
        if asked.is_empty() { Err(CallError::Rejected { status: 404 }) } else { Ok(None) }
    }

    /// How long to rest before the call after this one, the `attempt`th, which has failed. None: another call would do no
    /// better. How often at most a call is repeated is up to the caller.
    ///
    /// The next provider of the route is asked at once; the same one after what it asks for, up to 30 s, or after a random time
    /// up to a bound that grows with each attempt; when all rest, the first one that has rested.
    pub fn retry(&self, model: &str, attempt: u32, failed: &Report, error: &CallError) -> Option<Duration> {
        let route = self.models.get(model)?;
        let next = route.next(attempt + 1);
        let elsewhere = |next: &Step| *next.provider.name != *failed.provider || next.model != failed.model;
        match (next, error) {
            // If it is to be asked again, then with another key.
            (Some(next), CallError::Configuration { .. }) => {
                (elsewhere(next) || next.provider.is_partly_awake()).then_some(Duration::ZERO)
            }
            (_, error) if !retry::may_pass(error) => None,
            (Some(next), _) if elsewhere(next) => Some(Duration::ZERO),
            (Some(_), error) => Some(retry::rest(attempt, error)),
            (None, _) => route.wait(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelConfig, ProviderConfig, ProviderKind, RouteStep, Settings};

    fn gateway() -> Gateway {
        let provider = ProviderConfig::new(ProviderKind::Ollama, "http://127.0.0.1:9/v1");
        let model = ModelConfig::new([RouteStep::new("here", "m")]);
        let models = ["large", "small"].map(|name| (name.to_owned(), model.clone()));
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
