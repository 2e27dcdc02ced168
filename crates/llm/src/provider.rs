//! One provider over HTTP: sends the prompt, and gives the answer's stream or why there is none. What differs from provider
//! to provider is its [`Wire`].

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    account::{self, Known, Told},
    answering::Decode,
    anthropic, attribution,
    breaker::Rest,
    config::{ConfigError, ProviderConfig, ProviderKind, Timeouts},
    connect::{self, Timing},
    error::CallError,
    gemini,
    key::{Key, Pass},
    openai_compatible,
    private_host::is_private,
    prompt::Prompt,
    route,
    status::meaning,
};

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const USER_AGENT: &str = concat!("omnichat/", env!("CARGO_PKG_VERSION"));

/// Connections kept open to a provider while no call uses them.
const IDLE_CONNECTIONS_MAX: usize = 256;
/// How much is read of a body that is no stream.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// How long reading it may take: the status alone says most.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);

/// How a kind of provider is spoken to.
#[derive(Clone)]
pub(crate) struct Wire {
    /// What is appended to the base URL.
    pub(crate) path: &'static str,
    /// What makes that the address of this model, if the model does not stand in the body.
    pub(crate) of_model: Option<fn(&mut Url, &str)>,
    /// The header of the key, and what stands before the key there.
    pub(crate) key: (HeaderName, &'static str),
    /// The header that names the wire's version, if it has one.
    pub(crate) version: Option<(HeaderName, &'static str)>,
    /// How the provider can be asked about a call: the header of a response that holds its own id of the call, and what is
    /// appended to the base URL.
    pub(crate) account: Option<(&'static str, &'static str)>,
    /// The request for a streamed answer by what the provider calls this model.
    pub(crate) body: fn(&Prompt, &str) -> Result<Vec<u8>, CallError>,
    /// What the data of one event says.
    pub(crate) decode: Decode,
    /// What a response means that is no stream.
    pub(crate) refusal: fn(StatusCode, &HeaderMap, &[u8]) -> CallError,
}

/// How long it may take to ask about a call.
const ACCOUNT_WAIT: Duration = Duration::from_secs(10);
/// The longest id of a call that a provider may have for it, in bytes.
const GENERATION_ID_BYTES_MAX: usize = 200;

/// One provider: its address, its keys, its pool of connections.
pub(crate) struct Provider {
    pub(crate) name: Arc<str>,
    pub(crate) timeouts: Timeouts,
    client: Client,
    url: Url,
    account_url: Option<Url>,
    knows_call_ids: bool,
    wire: Wire,
    keys: Vec<Arc<Key>>,
}

impl Wire {
    fn of(kind: ProviderKind) -> Self {
        match kind {
            ProviderKind::Openai => openai_compatible::OPENAI,
            ProviderKind::Openrouter => openai_compatible::OPENROUTER,
            ProviderKind::OpenaiCompatible | ProviderKind::Ollama => openai_compatible::COMPATIBLE,
            ProviderKind::Anthropic => anthropic::MESSAGES,
            ProviderKind::Gemini => gemini::GENERATE_CONTENT,
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some((name, version)) = &self.version {
            headers.insert(name, HeaderValue::from_static(version));
        }
        headers
    }

    /// The header that carries a key. None: it has characters that no key has.
    fn key_header(&self, key: &SecretString) -> Option<(HeaderName, HeaderValue)> {
        let (name, before) = &self.key;
        let mut value = HeaderValue::try_from(format!("{before}{}", key.expose_secret())).ok()?;
        value.set_sensitive(true);
        Some((name.clone(), value))
    }

    /// A provider's keys; one without any has the lack of one for a key.
    fn keys(&self, config: &ProviderConfig) -> Result<Vec<Arc<Key>>, &'static str> {
        let breaker = || config.breaker.clone();
        let named = config.keys.iter().map(|key| (key.api_key.as_ref(), key.weight));
        let single = config.keys.is_empty().then_some((config.api_key.as_ref(), 1));
        named
            .chain(single)
            .map(|(key, weight)| {
                let Some(key) = key else { return Ok(Key::new(None, weight, breaker(), config.limits)) };
                let header = self.key_header(key).ok_or("has characters that no key has")?;
                Ok(Key::new(Some(header), weight, breaker(), config.limits))
            })
            .collect()
    }
}

impl Provider {
    /// Connects to nothing yet.
    pub(crate) fn new(name: &str, config: &ProviderConfig) -> Result<Self, ConfigError> {
        let wire = Wire::of(config.kind);
        let error = |field, problem| ConfigError::new(format!("providers.{name}.{field}"), problem);
        let base = config.address(true).map_err(|problem| error("base_url", problem))?;
        let extended = |path: &str| {
            Url::parse(&format!("{}/{path}", base.as_str().trim_end_matches('/')))
                .map_err(|_| error("base_url", "cannot be extended by the provider's path"))
        };
        let url = extended(wire.path)?;
        let account_url = wire.account.map(|(_, path)| extended(path)).transpose()?;
        let keys = wire.keys(config).map_err(|problem| error("api_key", problem))?;
        let mut headers = wire.headers();
        headers.extend(attribution::headers(config).map_err(|field| error(field, "cannot be a header"))?);
        let client = client(&url, headers, &config.timeouts).map_err(|_| {
            error("base_url", "is https, but this machine has no TLS roots; install ca-certificates")
        })?;
        let (name, timeouts) = (name.into(), config.timeouts.clone());
        let knows_call_ids = config.knows_call_ids;
        Ok(Self { name, timeouts, client, url, account_url, knows_call_ids, wire, keys })
    }

    /// Picks a key for a call, or says why there is none just now.
    pub(crate) fn pass(&self) -> Result<Pass, Rest> {
        route::pass(&self.keys)
    }

    /// Is there a key that a call could be made with?
    pub(crate) fn is_awake(&self) -> bool {
        self.keys.iter().any(|key| key.rests().is_none())
    }

    /// So many processes use its keys from now on.
    pub(crate) fn divide(&self, processes: u32) {
        self.keys.iter().for_each(|key| key.limiter().divide(processes));
    }

    /// When the first of its keys has rested; none if one is awake.
    pub(crate) fn rest(&self) -> Option<Rest> {
        (!self.is_awake()).then(|| route::shortest_rest(&self.keys))
    }

    /// Is there one, while another rests?
    pub(crate) fn is_partly_awake(&self) -> bool {
        self.is_awake() && self.resting() > 0
    }

    /// How many of its keys rest.
    pub(crate) fn resting(&self) -> usize {
        self.keys.iter().filter(|key| key.rests().is_some()).count()
    }

    /// Reads the data of one event.
    pub(crate) fn decode(&self) -> Decode {
        self.wire.decode
    }

    /// The provider's own id of the call that it answers so.
    pub(crate) fn generation_id(&self, response: &Response) -> Option<String> {
        let id = response.headers().get(self.wire.account?.0)?.to_str().ok()?;
        (1..=GENERATION_ID_BYTES_MAX).contains(&id.len()).then(|| id.to_owned())
    }

    /// Can it be asked about a call that is known to it so?
    pub(crate) fn can_tell_of(&self, known: Known) -> bool {
        self.account_url.is_some() && (known == Known::ByOwnId || self.knows_call_ids)
    }

    /// Asks about a call that has ended. None: there is no such call.
    pub(crate) async fn tell_of(&self, id: &str) -> Result<Option<Told>, CallError> {
        let mut url = self.account_url.clone().ok_or(CallError::Rejected { status: 404 })?;
        url.query_pairs_mut().append_pair("id", id);
        let mut request = self.client.get(url).timeout(ACCOUNT_WAIT);
        if let Some((name, value)) = self.keys.first().and_then(|key| key.header.as_ref()) {
            request = request.header(name, value.clone());
        }
        let response = request.header(ACCEPT, "application/json").send().await?;
        match response.status() {
            StatusCode::OK => account::read(&bounded(response).await).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(meaning(status.as_u16(), None)),
        }
    }

    /// Sends the prompt; returns once a stream has begun, with the time that the connection took if one was made for it.
    pub(crate) async fn send(
        &self,
        key: &Key,
        prompt: &Prompt,
        model: &str,
    ) -> Result<(Response, Option<Duration>), CallError> {
        let call_id = HeaderValue::try_from(&prompt.call_id)
            .map_err(|_| CallError::InvalidPrompt("its call id does not fit into a header"))?;
        let mut url = self.url.clone();
        if let Some(of_model) = self.wire.of_model {
            of_model(&mut url, model);
        }
        let mut request = self.client.post(url).header(CLIENT_REQUEST_ID, call_id);
        if let Some((name, value)) = &key.header {
            request = request.header(name, value.clone());
        }
        if let Some(trace) = prompt.traceparent.as_deref().and_then(|it| HeaderValue::from_str(it).ok()) {
            request = request.header(TRACEPARENT, trace);
        }
        let request = request.body((self.wire.body)(prompt, model)?);
        let (response, connect) = connect::timed(request.send()).await;
        let response = response?;
        if !is_event_stream(&response) {
            return Err(self.refusal(response).await);
        }
        Ok((response, connect))
    }

    /// What a response means that is no stream.
    async fn refusal(&self, response: Response) -> CallError {
        let (status, headers) = (response.status(), response.headers().clone());
        (self.wire.refusal)(status, &headers, &bounded(response).await)
    }
}

/// A body that is no stream, as far as it is read. One that breaks off, goes on for ever or is not what it should be leaves the
/// status to speak.
async fn bounded(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    let _ = tokio::time::timeout(REFUSAL_WAIT, async {
        while let Ok(Some(bytes)) = response.chunk().await {
            let room = REFUSAL_BYTES_MAX - body.len();
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if body.len() == REFUSAL_BYTES_MAX {
                break;
            }
        }
    })
    .await;
    body
}

/// HTTP/1.1 only: a call is a connection, so that dropping one stops one, and a broken one breaks one.
fn client(url: &Url, headers: HeaderMap, timeouts: &Timeouts) -> reqwest::Result<Client> {
    let mut client = Client::builder()
        .http1_only()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .connect_timeout(Duration::from_millis(timeouts.connect_ms))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(USER_AGENT)
        .default_headers(headers)
        .connector_layer(Timing);
    if is_private(url) {
        client = client.no_proxy();
    }
    if url.scheme() == "http" {
        client = client.tls_certs_only([]); // none needed; a bare container has none
    }
    client.build()
}

fn is_event_stream(response: &Response) -> bool {
    let content_type =
        response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    response.status() == StatusCode::OK && media_type.eq_ignore_ascii_case("text/event-stream")
}
