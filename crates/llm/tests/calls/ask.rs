//! What every test here needs: a gateway to one provider, and a question.

use std::time::Duration;

use llm::{
    Answering, BreakerConfig, CallError, Config, Event, Finish, Gateway, Message, ModelConfig, Prompt,
    ProviderConfig, ProviderKind, RouteStep, Settings, Timeouts,
    simulator::{Ended, Options, Simulator},
};
use tokio::time::timeout;

/// What takes longer has failed.
const TEST_WAIT: Duration = Duration::from_secs(30);

/// Long enough for a machine under load.
pub const PATIENT: Timeouts =
    Timeouts { connect_ms: 5_000, first_token_ms: 20_000, idle_ms: 20_000, total_ms: 60_000 };

/// For calls that are to fail one after the other.
pub const NEVER_OPENS: BreakerConfig = BreakerConfig { failures: 0, within_ms: 10_000, rest_ms: 5_000 };

pub const KEY: &str = "sk-0123456789-secret";

pub async fn simulator() -> Simulator {
    Simulator::start(([127, 0, 0, 1], 0).into(), Options::default()).await.unwrap()
}

/// A gateway whose model `m` is served at `base_url`.
pub fn gateway(base_url: String, timeouts: Timeouts) -> Gateway {
    let provider = ProviderConfig {
        api_key: Some(KEY.into()),
        timeouts,
        breaker: NEVER_OPENS,
        ..ProviderConfig::new(ProviderKind::Openai, base_url)
    };
    let route = [RouteStep::new("p", "theirs")];
    let config = Config {
        providers: [("p".to_owned(), provider)].into(),
        models: [("m".to_owned(), ModelConfig::new(route))].into(),
        default_model: "m".to_owned(),
    };
    Gateway::new(&config).unwrap()
}

pub fn prompt(said: &str, call_id: &str) -> Prompt {
    Prompt {
        model: "m".to_owned(),
        messages: vec![Message::system("be brief"), Message::user(said)],
        settings: Settings::default(),
        call_id: call_id.to_owned(),
        traceparent: None,
    }
}

/// The whole answer, or the error together with the text that came before it.
pub async fn answer(gateway: &Gateway, said: &str) -> Result<(String, Finish), (String, CallError)> {
    let answered = async {
        match gateway.call(prompt(said, "turn:1")).await {
            Ok(answering) => read(answering).await,
            Err(error) => Err((String::new(), error)),
        }
    };
    timeout(TEST_WAIT, answered).await.unwrap()
}

pub async fn read(mut answering: Answering) -> Result<(String, Finish), (String, CallError)> {
    let mut text = String::new();
    loop {
        match answering.next().await {
            Ok(Event::Delta(delta)) => text.push_str(&delta),
            Ok(Event::Finished(finish)) => return Ok((text, finish)),
            Err(error) => return Err((text, error)),
        }
    }
}

/// How the simulator saw a call end.
pub async fn ended(simulator: &Simulator, call_id: &str) -> Ended {
    timeout(TEST_WAIT, simulator.ended(call_id)).await.unwrap().ended.unwrap()
}
