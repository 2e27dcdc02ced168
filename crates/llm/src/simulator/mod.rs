//! A provider to test against: OpenAI's chat completions, Anthropic's Messages and Google's Gemini over real HTTP, whose fate
//! each message may script.
//!
//! | route | |
//! |---|---|
//! | `POST /v1/chat/completions` | an [`answer`], streamed or whole; any model name will do |
//! | `POST /v1/messages` | the same over Anthropic's wire |
//! | `POST /v1/models/<model>:streamGenerateContent?alt=sse`, `…:generateContent` | and over Google's |
//! | `GET /v1/generation?id=` | OpenRouter's account of a call that has ended, by its own id or the client's |
//! | `GET /v1/models` | the names of [`Options::models`] |
//! | `GET`, `DELETE /sim/calls` | every [`Call`] so far · forget them |
//! | `GET /sim/counters` | [`Counters`] |
//! | `GET /sim/invoice` | the bill: an [`InvoiceLine`] for every call that has ended |
//! | `GET`, `PUT /sim/script` | the [`Script`] of calls whose last message has no directive |
//!
//! A directive stands anywhere in the last user message: `[[sim status=429 retry_after=2]]`, `[[sim cut_after=3]]`,
//! `[[sim text="exact answer" chunk_ms=50]]`. Its keys are the fields of [`Script`]; a flag stands alone. An unknown key
//! is answered with 400 and its name.

mod answer;
mod connection;
mod directive;
mod events;
mod gemini;
mod log;
mod oddity;
mod playback;
mod request;
mod script;
mod server;
mod wire;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};

pub use self::{
    answer::{answer, digest, signed_answer},
    log::{Call, Counters, Ended, InvoiceLine},
    script::{NumberOrText, Script, UsageScript},
};
use self::{log::Log, server::Shared};

/// How long [`Simulator::stop`] waits for connections to close.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// How a simulator behaves where no script says otherwise.
#[derive(Clone, Debug)]
pub struct Options {
    /// Milliseconds before the first text.
    pub first_ms: u64,
    /// Milliseconds before each further word.
    pub chunk_ms: u64,
    /// What `GET /v1/models` lists.
    pub models: Vec<String>,
    /// How many calls the log holds; older ones are forgotten. With 0 no digests of prompts are made. Default 200,000.
    pub log_calls_max: usize,
    /// Keep every prompt in the log, at most 256 MiB of them. Default true; a bench turns it off.
    pub log_prompts: bool,
    /// What a token of a prompt, and one of an answer, is charged with, in micro-units. Default 0.
    pub charges: [i64; 2],
    /// End each text with the digest of its prompt and the attempt that `X-Client-Request-Id` names: see
    /// [`signed_answer`]. Default false.
    pub sign: bool,
}

impl Default for Options {
    fn default() -> Self {
        let models = vec!["simulator".to_owned()];
        Self {
            first_ms: 0,
            chunk_ms: 0,
            models,
            log_calls_max: 200_000,
            log_prompts: true,
            charges: [0, 0],
            sign: false,
        }
    }
}

/// A running simulator. Dropping it stops it.
pub struct Simulator {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    server: JoinSet<io::Result<()>>,
}

impl Simulator {
    /// Returns once it accepts connections; port 0 picks a free one.
    pub async fn start(listen: SocketAddr, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared::new(options, stopped));
        let mut server = JoinSet::new();
        server.spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { addr, shared, stop, server })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What goes into [`ProviderConfig::base_url`](crate::ProviderConfig::base_url); ends with `/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// Every call so far, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.log().calls()
    }

    /// The bill for every call that has ended, in the order in which they began.
    pub fn invoice(&self) -> Vec<InvoiceLine> {
        self.log().invoice()
    }

    /// Connections, and how calls ended. Not lessened when old calls are forgotten.
    pub fn counters(&self) -> Counters {
        self.log().counters()
    }

    /// The newest call with this id, once it has ended: waits for it without bound.
    pub async fn ended(&self, call_id: &str) -> Call {
        self.log().ended(call_id).await
    }

    /// Sets the script of calls whose last message has no directive.
    pub fn play(&self, script: Script) {
        self.shared.play(script);
    }

    /// Serves until the listener fails or the simulator is dropped. Safe to cancel.
    pub async fn run(&mut self) -> io::Result<()> {
        match self.server.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(failed)) => Err(io::Error::other(failed)),
            None => Ok(()),
        }
    }

    /// Stops accepting, cuts what still streams, and waits up to a second for the connections to close.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let _ = timeout(STOP_WAIT, self.server.join_next()).await;
    }

    fn log(&self) -> &Arc<Log> {
        &self.shared.log
    }
}
