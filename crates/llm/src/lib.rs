//! Providers of language models, usable alone: ask a model by its configured name, read the answer as it is generated.
//!
//! ```no_run
//! # async fn ask(config: &llm::Config) -> Result<(), Box<dyn std::error::Error>> {
//! use llm::{Event, Gateway, Message, Prompt, Settings};
//!
//! let gateway = Gateway::new(config)?;
//! let mut answering = gateway
//!     .call(Prompt {
//!         model: gateway.default_model().to_owned(),
//!         messages: vec![Message::user("Why is the sky blue?")],
//!         settings: Settings::default(),
//!         call_id: "example:1".to_owned(),
//!         traceparent: None,
//!     })
//!     .await?;
//! let mut answer = String::new();
//! let finish = loop {
//!     match answering.next().await? {
//!         Event::Delta(text) => answer.push_str(&text),
//!         Event::Finished(finish) => break finish,
//!     }
//! };
//! # let _ = (answer, finish); Ok(()) }
//! ```
//!
//! Where to read, in the order of a call:
//! - [`config`](Config): the tables `[providers.<name>]` and `[models.<name>]`, and which addresses are allowed
//! - [`prompt`](Prompt): what is asked, of [`Text`]s; [`settings`](Settings): how to answer, and the bounds of that
//! - [`image`](Images): what may stand beside a text
//! - [`gateway`](Gateway): from a model's name to the provider that serves it; `route`: which of several, `retry`: whether and when
//!   to ask once more, `key` and `breaker`: which keys are not asked for a while,
//!   `limiter`: the line before a key whose use is limited
//! - `provider`: one provider over HTTP; `openai_compatible`: the wire of OpenAI, OpenRouter, Ollama and many others, `anthropic`:
//!   that of Messages, `gemini`: that of Google, each with its request, its events and its refusals; `status`: what their statuses have in common
//! - `sse`: the event stream below it, incremental, by the WHATWG standard
//! - [`answering`](Answering): the answer as it comes; `answer` holds the rules of its end, `deadlines` its time
//! - [`report`](Report): what is known of a call, however it ended; [`Account`]: what its provider says later; [`Prices`]: what it costs
//! - [`error`](CallError): what can go wrong, named by what the caller can do about it
//! - [`simulator`]: a scripted provider over real HTTP, for tests, benches, and a first look without a key
//!
//! Three promises hold for every provider. A cut answer is never a whole one: only the provider's explicit finish makes
//! [`Event::Finished`]. Dropping a call closes its connection, so that the provider stops generating. No key, no prompt
//! and no provider's error text is ever part of an error or of a log.

mod account;
mod answer;
mod answering;
mod anthropic;
mod attribution;
mod breaker;
mod config;
mod connect;
mod deadlines;
mod error;
mod gateway;
mod gemini;
mod image;
mod key;
mod limiter;
mod lossy;
mod openai_compatible;
mod price;
mod private_host;
mod prompt;
mod provider;
mod report;
mod retry;
mod route;
mod settings;
pub mod simulator;
mod sse;
mod status;
mod text;

pub use account::{Account, Known};
pub use answer::{ANSWER_BYTES_MAX, FinishReason, Usage};
pub use answering::{Answering, Event, Finish, Timings};
pub use breaker::BreakerConfig;
pub use config::{
    Config, ConfigError, KeyConfig, ModelConfig, ProviderConfig, ProviderKind, RouteStep, Timeouts,
};
pub use error::{CallError, Phase};
pub use gateway::Gateway;
pub use image::{Image, ImageDetail, Images};
pub use limiter::Limits;
pub use price::Prices;
pub use prompt::{Message, Prompt, Role};
pub use report::Report;
pub use route::NoPlace;
pub use settings::{
    InvalidSetting, JsonFormat, RESERVED_PARAMETERS, ReasoningEffort, ResponseFormat, Settings, Tool,
    ToolChoice,
};
pub use text::Text;
