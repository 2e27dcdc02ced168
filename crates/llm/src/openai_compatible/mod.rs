//! The wire of OpenAI's streamed chat completions, as OpenAI, OpenRouter, Ollama and many servers speak it.

mod chunk;
mod refusal;
mod request;

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::ExposeSecret;

use crate::{
    answering::Answering,
    config::{ConfigError, ProviderConfig, ProviderKind, Timeouts},
    deadlines::Deadlines,
    error::CallError,
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

/// One provider: its address, its key, its pool of connections.
pub(crate) struct Provider {
    name: Arc<str>,
    client: Client,
    url: Url,
    timeouts: Timeouts,
    token_limit: request::TokenLimit,
}

impl Provider {
    /// Connects to nothing yet.
    pub(crate) fn new(name: &str, config: &ProviderConfig) -> Result<Self, ConfigError> {
        let error = |field, problem| ConfigError::new(format!("providers.{name}.{field}"), problem);
        let base = config.address(true).map_err(|problem| error("base_url", problem))?;
        let url = Url::parse(&format!("{}/chat/completions", base.as_str().trim_end_matches('/')))
            .map_err(|_| error("base_url", "cannot be extended by /chat/completions"))?;
        let headers = headers(config).ok_or_else(|| error("api_key", "has characters that no key has"))?;
        let client = client(&url, headers, &config.timeouts).map_err(|_| {
            error("base_url", "is https, but this machine has no TLS roots; install ca-certificates")
        })?;
        let token_limit = match config.kind {
            ProviderKind::Openai => request::TokenLimit::MaxCompletionTokens,
            _ => request::TokenLimit::MaxTokens,
        };
        Ok(Self { name: name.into(), client, url, timeouts: config.timeouts.clone(), token_limit })
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
        let request = request.body(request::body(prompt, model, self.token_limit)?);
        let response = deadlines.within(request.send()).await??;
        if !is_event_stream(&response) {
            return Err(refusal(response).await);
        }
        Ok(Answering::new(response, chunk::decode, deadlines, Arc::clone(&self.name), model.to_owned()))
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

fn headers(config: &ProviderConfig) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    if let Some(key) = &config.api_key {
        let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose_secret())).ok()?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Some(headers)
}

fn is_event_stream(response: &Response) -> bool {
    let content_type =
        response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    response.status() == StatusCode::OK && media_type.eq_ignore_ascii_case("text/event-stream")
}

/// What a response means that is no stream.
async fn refusal(mut response: Response) -> CallError {
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
    refusal::of_response(response.status(), response.headers(), &body)
}
