//! The simulator's routes.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use super::{
    Options, answer,
    connection::{Connection, Door},
    directive,
    events::Events,
    gemini::{self, Form},
    log::{Asked, Ended, Log, Recording, Runs},
    oddity,
    playback::{Playback, stop, stops_within},
    request::Request,
    script::Script,
    wire::{Tokens, Wire},
};
use crate::{
    Images,
    prompt::{Message, Role},
};

const GENERATION_ID: HeaderName = HeaderName::from_static("x-generation-id");

/// The largest request: 32 MiB.
const REQUEST_BYTES_MAX: usize = 32 << 20;

/// What all calls share.
pub(super) struct Shared {
    options: Options,
    standing: RwLock<Script>,
    pub(super) log: Arc<Log>,
    stopped: watch::Receiver<bool>,
}

impl Shared {
    pub(super) fn new(options: Options, stopped: watch::Receiver<bool>) -> Self {
        let log = Arc::new(Log::new(options.log_calls_max, options.charges));
        Self { options, standing: RwLock::default(), log, stopped }
    }

    pub(super) fn play(&self, script: Script) {
        *self.standing.write().unwrap_or_else(PoisonError::into_inner) = script;
    }

    fn standing(&self) -> Script {
        self.standing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves until the simulator stops.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let mut stopped = shared.stopped.clone();
    let log = Arc::clone(&shared.log);
    let routes = Router::new()
        .route("/v1/chat/completions", post(complete))
        .route("/v1/messages", post(message))
        .route("/v1/models", get(models))
        .route("/v1/models/{call}", post(generate))
        .route("/v1/generation", get(generation))
        .route("/sim/invoice", get(invoice))
        .route("/sim/calls", get(calls).delete(forget))
        .route("/sim/counters", get(counters))
        .route("/sim/script", get(standing).put(play))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(shared);
    let door = Door { listener, log };
    let routes = routes.into_make_service_with_connect_info::<Connection>();
    axum::serve(door, routes).with_graceful_shutdown(async move { stop(&mut stopped).await }).await
}

async fn complete(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match Request::of_completions(&body) {
        Ok(request) => {
            let wire = Wire::completions(&request.model, request.stream);
            shared.answer(&connection, &headers, &request, wire).await
        }
        Err(error) => refuse(error),
    }
}

async fn message(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match Request::of_messages(&body) {
        Ok(request) => {
            let wire = Wire::Messages { model: request.model.clone().into_owned() };
            shared.answer(&connection, &headers, &request, wire).await
        }
        Err(error) => refuse(error),
    }
}

async fn generate(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Path(call): Path<String>,
    Query(form): Query<Form>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (model, stream) = match call.rsplit_once(':') {
        Some((model, "streamGenerateContent")) if form.alt.as_deref() == Some("sse") => (model, true),
        Some((model, "generateContent")) => (model, false),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    match gemini::request(&body, model, stream) {
        Ok(request) => {
            let wire = Wire::GenerateContent { model: model.to_owned() };
            shared.answer(&connection, &headers, &request, wire).await
        }
        Err(error) => refuse(error),
    }
}

fn begin(shared: &Shared, headers: &HeaderMap, request: &Request<'_>) -> Recording {
    let call_id = call_id(headers);
    let (messages, parameters) = if shared.options.log_prompts {
        let messages = request.messages.iter();
        let messages = messages.map(|it| Message {
            role: it.role,
            content: (*it.content.text).into(),
            images: Images::of(it.content.images.iter().cloned()),
        });
        let parameters = Some(&request.parameters).filter(|it| !it.is_empty());
        (messages.collect(), parameters.cloned())
    } else {
        (Vec::new(), None)
    };
    let asked = Asked {
        model: request.model.clone().into_owned(),
        settings: request.settings.clone(),
        parameters,
        messages,
        digest: if shared.options.log_calls_max == 0 { 0 } else { digest(request) },
    };
    shared.log.begin(call_id.to_owned(), asked)
}

fn call_id(headers: &HeaderMap) -> &str {
    headers.get("x-client-request-id").and_then(|it| it.to_str().ok()).unwrap_or_default()
}

fn digest(request: &Request<'_>) -> u64 {
    answer::digest_of(request.messages.iter().map(|message| (message.role, &*message.content.text)))
}

/// Words, for want of a tokenizer.
fn prompt_tokens(request: &Request<'_>) -> i64 {
    request.messages.iter().map(|message| answer::words(&message.content.text)).sum()
}

impl Shared {
    async fn answer(
        &self,
        connection: &Connection,
        headers: &HeaderMap,
        request: &Request<'_>,
        wire: Wire,
    ) -> Response {
        let reused = connection.used();
        let mut recording = begin(self, headers, request);
        let said = || request.messages.iter().filter(|message| message.role == Role::User);
        let last = said().next_back().map(|message| &*message.content.text).unwrap_or_default();
        let (last, script) = match directive::read(last, &self.standing()) {
            Ok(read) => read,
            Err(problem) => {
                recording.end(Ended::Error(400));
                return refuse(problem);
            }
        };
        let attempt = call_id(headers).rsplit(':').next().unwrap_or_default();
        let mut script = script.at(attempt.parse().unwrap_or(1));
        let text = if self.options.sign {
            answer::signed_text(&script, &last, said().count(), digest(request), attempt)
        } else {
            answer::text(&script, &last, said().count())
        };
        if script.drop_reused && reused {
            recording.end(Ended::Cut);
            return oddity::nothing();
        }
        if script.echo_key {
            script.message = Some(oddity::echo(headers, &last));
        }
        if let Some(response) = self.misbehave(&wire, &script, &mut recording).await {
            return response;
        }
        let usage = [prompt_tokens(request), answer::words(&text)];
        recording.prompt_tokens = usage[0];
        if !request.stream {
            return self.whole(&wire, script, &text, usage, recording).await;
        }
        let generation_id = recording.generation_id();
        let usage = request.stream_options.include_usage.then_some(usage);
        let kind = script.content_type.as_deref().and_then(|it| HeaderValue::from_str(it).ok());
        let kind = kind.unwrap_or(HeaderValue::from_static("text/event-stream"));
        let events = Events::new(script, &self.options, text, wire, usage);
        let body = Playback::new(events, recording, self.stopped.clone()).into_body();
        let generation_id = HeaderValue::try_from(generation_id).unwrap_or(HeaderValue::from_static(""));
        ([(header::CONTENT_TYPE, kind), (GENERATION_ID, generation_id)], body).into_response()
    }

    /// The response of a script that gives no answer at all.
    async fn misbehave(&self, wire: &Wire, script: &Script, recording: &mut Recording) -> Option<Response> {
        let mut stopped = self.stopped.clone();
        if script.hang {
            stop(&mut stopped).await;
            recording.end(Ended::Cut);
            return Some(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        if let Some(response) = oddity::instead(script) {
            recording.end(Ended::Error(response.status().as_u16()));
            return Some(response);
        }
        let status = script.status.or(script.error_in_200.then_some(200))?;
        stops_within(&mut stopped, Duration::from_millis(script.first_ms.unwrap_or(self.options.first_ms)))
            .await;
        recording.end(Ended::Error(status));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json_response(status, &wire.error_body(script, status.as_u16()));
        if let Some(retry_after) = oddity::retry_after(script) {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after);
        }
        Some(response)
    }

    /// The answer in one piece, after the time that its stream would take.
    async fn whole(
        &self,
        wire: &Wire,
        script: Script,
        text: &str,
        usage: Tokens,
        mut recording: Recording,
    ) -> Response {
        let [_, completion] = usage;
        let pauses_ms =
            script.chunk_ms.unwrap_or(self.options.chunk_ms).saturating_mul(completion.unsigned_abs());
        let wait_ms = script.first_ms.unwrap_or(self.options.first_ms).saturating_add(pauses_ms);
        if stops_within(&mut self.stopped.clone(), Duration::from_millis(wait_ms)).await {
            recording.end(Ended::Cut);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let finish = script.finish.as_deref().unwrap_or("stop");
        let body = wire.whole(text, finish, usage);
        recording.bytes = body.len() as u64;
        recording.completion_tokens = completion;
        recording.finish_sent = finish != "none";
        recording.end(Ended::Finished);
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

async fn models(State(shared): State<Arc<Shared>>) -> Response {
    let model = |id: &String| json!({ "id": id, "object": "model", "created": 0, "owned_by": "simulator" });
    let data: Vec<_> = shared.options.models.iter().map(model).collect();
    json_response(StatusCode::OK, &json!({ "object": "list", "data": data }))
}

/// A provider's account of a call, by its own id of it or by that of the client.
async fn generation(State(shared): State<Arc<Shared>>, Query(asked): Query<Generation>) -> Response {
    let error = |status: StatusCode, message| {
        json_response(status, &json!({ "error": { "code": status.as_u16(), "message": message } }))
    };
    match shared.log.find(&asked.id) {
        Some(Ok(line)) => {
            let data = json!({
                "id": line.generation_id, "model": line.model, "streamed": true, "cancelled": line.ended == Ended::ClientGone,
                "tokens_prompt": line.prompt_tokens, "tokens_completion": line.completion_tokens,
                "native_tokens_prompt": line.prompt_tokens, "native_tokens_completion": line.completion_tokens,
            });
            json_response(StatusCode::OK, &json!({ "data": data }))
        }
        Some(Err(Runs)) => error(StatusCode::SERVICE_UNAVAILABLE, "it has not ended"),
        None => error(StatusCode::NOT_FOUND, "there is no such generation"),
    }
}

#[derive(Deserialize)]
struct Generation {
    id: String,
}

async fn invoice(State(shared): State<Arc<Shared>>) -> Response {
    json_response(StatusCode::OK, &shared.log.invoice())
}

async fn calls(State(shared): State<Arc<Shared>>) -> Response {
    json_response(StatusCode::OK, &shared.log.calls())
}

async fn forget(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.log.clear();
    StatusCode::NO_CONTENT
}

async fn counters(State(shared): State<Arc<Shared>>) -> Response {
    json_response(StatusCode::OK, &shared.log.counters())
}

async fn standing(State(shared): State<Arc<Shared>>) -> Response {
    json_response(StatusCode::OK, &shared.standing())
}

async fn play(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let script =
        serde_json::from_slice::<Script>(&body).map_err(|error| error.to_string()).and_then(Script::checked);
    match script {
        Ok(script) => {
            shared.play(script);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(problem) => refuse(problem),
    }
}

fn refuse(problem: impl ToString) -> Response {
    let error = json!({ "message": problem.to_string(), "type": "invalid_request_error", "code": null });
    json_response(StatusCode::BAD_REQUEST, &json!({ "error": error }))
}

fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
