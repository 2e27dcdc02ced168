//! `benches gateway`: what a call to a provider takes beyond the provider: the same answers of the same provider, through
//! the crate `llm` and through a plain HTTP client that reads the stream and understands nothing of it.

use std::{
    fmt::Write,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ::http::{HeaderValue, Request, Uri, header::CONTENT_TYPE};
use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use llm::{
    Config, Event, Gateway, Message, ModelConfig, Prompt, ProviderConfig, ProviderKind, RouteStep, Settings,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    cli::GatewayOptions, driver::MESSAGE, http::Connection, latencies::Latencies, machine::Machine,
    provider::MODEL, say, stack::start_provider,
};

/// Where the provider takes calls.
const PATH: &str = "/v1/chat/completions";
/// How every stream of the provider ends.
const END: &[u8] = b"data: [DONE]\n\n";
/// Before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is compared.
#[derive(Clone)]
enum Caller {
    /// A connection for each worker, and nothing else.
    Plain(SocketAddr, Bytes),
    /// One gateway for all.
    Gateway(Arc<Gateway>),
}

/// Microseconds until the first text and until the end.
type Call = (u32, u32);

/// Measures and reports.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub async fn run(options: &GatewayOptions) -> anyhow::Result<()> {
    let machine = Machine::look(&std::env::current_exe()?);
    let (_provider, base_url) = start_provider().await?;
    let callers = [plain(&base_url)?, Caller::Gateway(Arc::new(gateway(base_url)?))];
    let length = Duration::from_secs(options.seconds) / u32::from(options.rounds);
    let mut table = String::from(
        "| in flight | until | plain: calls | p50 ms | p99 ms | gateway: calls | p50 ms | p99 ms | p50 | p99 | p50 beyond, µs |\n\
         |--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for &concurrency in &options.concurrency {
        say(&format!("{concurrency} in flight …"));
        let mut calls = [Vec::new(), Vec::new()];
        for caller in &callers {
            work(caller, concurrency, WARM_UP).await?;
        }
        // By turns, so that a machine that drifts does so for both.
        for _ in 0..options.rounds {
            for (calls, caller) in calls.iter_mut().zip(&callers) {
                calls.extend(work(caller, concurrency, length).await?);
            }
        }
        for (until, time) in [("first text", first as fn(&Call) -> u32), ("end", end)] {
            let latencies = calls.each_ref().map(|calls| calls.iter().map(time).collect::<Latencies>());
            writeln!(table, "| {concurrency} | {until} | {}", row(&latencies))?;
        }
    }
    println!("{machine}.\n{} s for each, in {} rounds by turns.\n\n{table}", options.seconds, options.rounds);
    Ok(())
}

fn first((first, _): &Call) -> u32 {
    *first
}

fn end((_, end): &Call) -> u32 {
    *end
}

fn row(latencies: &[Latencies; 2]) -> String {
    let [plain, gateway] = latencies.each_ref().map(|it| [it.quantile_ms(0.5), it.quantile_ms(0.99)]);
    let [calls, through] = latencies.each_ref().map(Latencies::count);
    let [p50, p99] = [0, 1].map(|place: usize| gateway[place] / plain[place]);
    let beyond_us = (gateway[0] - plain[0]) * 1_000.0;
    let [[a, b], [c, d]] = [plain, gateway];
    format!(
        "{calls} | {a:.3} | {b:.3} | {through} | {c:.3} | {d:.3} | {p50:.2} × | {p99:.2} × | {beyond_us:.0} |"
    )
}

fn gateway(base_url: String) -> anyhow::Result<Gateway> {
    let provider = ProviderConfig::new(ProviderKind::OpenaiCompatible, base_url);
    let route = [RouteStep::new("sim", MODEL)];
    Ok(Gateway::new(&Config {
        providers: [("sim".to_owned(), provider)].into(),
        models: [(MODEL.to_owned(), ModelConfig::new(route))].into(),
        default_model: MODEL.to_owned(),
    })?)
}

/// Sends what the gateway sends.
fn plain(base_url: &str) -> anyhow::Result<Caller> {
    let uri: Uri = base_url.parse()?;
    let server = uri.authority().context("a provider without an address")?.as_str().parse()?;
    let messages = json!([{ "role": "user", "content": MESSAGE }]);
    let body = json!({ "model": MODEL, "messages": messages, "stream": true, "stream_options": { "include_usage": true } });
    Ok(Caller::Plain(server, body.to_string().into()))
}

/// Calls again and again, so many at a time, for so long.
///
/// # Errors
/// A call that brings no whole answer.
async fn work(caller: &Caller, workers: u16, length: Duration) -> anyhow::Result<Vec<Call>> {
    let until = Instant::now() + length;
    let mut working = JoinSet::new();
    for _ in 0..workers {
        let caller = caller.clone();
        working.spawn(async move {
            let mut calls = Vec::new();
            match caller {
                Caller::Plain(server, body) => {
                    let mut connection = Connection::open(server).await?;
                    while Instant::now() < until {
                        calls.push(ask_plainly(&mut connection, body.clone()).await?);
                    }
                }
                Caller::Gateway(gateway) => {
                    while Instant::now() < until {
                        calls.push(ask(&gateway).await?);
                    }
                }
            }
            anyhow::Ok(calls)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = working.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

async fn ask(gateway: &Gateway) -> anyhow::Result<Call> {
    let began = Instant::now();
    let prompt = Prompt {
        model: MODEL.to_owned(),
        messages: vec![Message::user(MESSAGE)],
        settings: Settings::default(),
        call_id: "bench:1".to_owned(),
        traceparent: None,
    };
    let (mut answering, mut first) = (gateway.call(prompt).await?, None);
    while let Event::Delta(_) = answering.next().await? {
        first.get_or_insert_with(|| since(began));
    }
    Ok((first.context("no text")?, since(began)))
}

/// The first bytes are the first text: this provider sends its answer in one piece.
async fn ask_plainly(connection: &mut Connection, body: Bytes) -> anyhow::Result<Call> {
    let began = Instant::now();
    let request = Request::post(PATH)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(Full::new(body))?;
    let (mut stream, mut first, mut last) = (connection.stream(request).await?, None, Bytes::new());
    while let Some(frame) = stream.frame().await {
        if let Ok(data) = frame?.into_data() {
            first.get_or_insert_with(|| since(began));
            last = data;
        }
    }
    ensure!(last.ends_with(END), "an answer without its end");
    Ok((first.context("no text")?, since(began)))
}

fn since(began: Instant) -> u32 {
    began.elapsed().as_micros().try_into().unwrap_or(u32::MAX)
}
