//! One provider over HTTP: sends the prompt, and gives the answer's stream or why there is none. What differs from provider
//! to provider is its [`Wire`].

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::ExposeSecret;

use crate::{
    answering::{Answering, Decode},
    anthropic, attribution,
    config::{ConfigError, ProviderConfig, ProviderKind, Timeouts},
    deadlines::Deadlines,
    error::CallError,
    openai_compatible,
    private_host::is_private,
    prompt::Prompt,
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
    /// The header of the key, and what stands before the key there.
    pub(crate) key: (HeaderName, &'static str),
    /// The header that names the wire's version, if it has one.
    pub(crate) version: Option<(HeaderName, &'static str)>,
    /// The request for a streamed answer by what the provider calls this model.
    pub(crate) body: fn(&Prompt, &str) -> Result<Vec<u8>, CallError>,
    /// What the data of one event says.
    pub(crate) decode: Decode,
    /// What a response means that is no stream.
    pub(crate) refusal: fn(StatusCode, &HeaderMap, &[u8]) -> CallError,
}

/// One provider: its address, its key, its pool of connections.
pub(crate) struct Provider {
    name: Arc<str>,
    client: Client,
    url: Url,
    timeouts: Timeouts,
    wire: Wire,
}

impl Wire {
    fn of(kind: ProviderKind) -> Self {
        match kind {
            ProviderKind::Openai => openai_compatible::OPENAI,
            ProviderKind::OpenaiCompatible | ProviderKind::Openrouter | ProviderKind::Ollama => {
                openai_compatible::COMPATIBLE
            }
            ProviderKind::Anthropic => anthropic::MESSAGES,
        }
    }

    fn headers(&self, config: &ProviderConfig) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some((name, version)) = &self.version {
            headers.insert(name, HeaderValue::from_static(version));
        }
        if let Some(key) = &config.api_key {
            let (name, before) = &self.key;
            let mut value = HeaderValue::try_from(format!("{before}{}", key.expose_secret())).ok()?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Some(headers)
    }
}

impl Provider {
    /// Connects to nothing yet.
    pub(crate) fn new(name: &str, config: &ProviderConfig) -> Result<Self, ConfigError> {
        let wire = Wire::of(config.kind);
        let error = |field, problem| ConfigError::new(format!("providers.{name}.{field}"), problem);
        let base = config.address(true).map_err(|problem| error("base_url", problem))?;
        let url = Url::parse(&format!("{}/{}", base.as_str().trim_end_matches('/'), wire.path))
            .map_err(|_| error("base_url", "cannot be extended by the provider's path"))?;
        let headers = wire.headers(config);
        let mut headers = headers.ok_or_else(|| error("api_key", "has characters that no key has"))?;
        headers.extend(attribution::headers(config).map_err(|field| error(field, "cannot be a header"))?);
        let client = client(&url, headers, &config.timeouts).map_err(|_| {
            error("base_url", "is https, but this machine has no TLS roots; install ca-certificates")
        })?;
        Ok(Self { name: name.into(), client, url, timeouts: config.timeouts.clone(), wire })
    }

    /// Sends the prompt; returns once a stream has begun.
    pub(crate) async fn start(&self, prompt: &Prompt, model: &str) -> Result<Answering, CallError> {
        let deadlines = Deadlines::start(&self.timeouts);
        let call_id = HeaderValue::try_from(&prompt.call_id)
            .map_err(|_| CallError::InvalidPrompt("its call id does not fit into a header"))?;
        let mut request = self.client.post(self.url.clone()).header(CLIENT_REQUEST_ID, call_id);
        if let Some(trace) = prompt.traceparent.as_deref().and_then(|it| HeaderValue::from_str(it).ok()) {
            request = request.header(TRACEPARENT, trace);
        }
        let request = request.body((self.wire.body)(prompt, model)?);
        let response = deadlines.within(request.send()).await??;
        if !is_event_stream(&response) {
            return Err(self.refusal(response).await);
        }
        Ok(Answering::new(response, self.wire.decode, deadlines, Arc::clone(&self.name), model.to_owned()))
    }

    /// What a response means that is no stream.
    async fn refusal(&self, mut response: Response) -> CallError {
        let mut body = Vec::new();
        // A body that breaks off, goes on for ever or is not JSON leaves the status to speak.
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
        (self.wire.refusal)(response.status(), response.headers(), &body)
    }
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
        .default_headers(headers);
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
