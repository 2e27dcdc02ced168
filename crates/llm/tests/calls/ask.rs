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
pub const PATIENT: Timeouts = Timeouts {
    connect_ms: 5_000,
    first_token_ms: 20_000,
    idle_ms: 20_000,
    total_ms: 60_000,
    slow_ms: 30_000,
    slow_bytes: 1,
};

/// For calls that are to fail one after the other.
pub const NEVER_OPENS: BreakerConfig = BreakerConfig { failures: 0, within_ms: 10_000, rest_ms: 5_000 };

pub const KEY: &str = "sk-0123456789-secret";

pub async fn simulator() -> Simulator {
    Simulator::start(([127, 0, 0, 1], 0).into(), Options::default()).await.unwrap()
}

/// A gateway whose model `m` is served at `base_url`, by a provider of the kind that most speak like.
pub fn gateway(base_url: String, timeouts: Timeouts) -> Gateway {
    gateway_to(ProviderKind::Openai, base_url, timeouts)
}

/// A gateway whose model `m` is served at `base_url`, by a provider of this kind.
pub fn gateway_to(kind: ProviderKind, base_url: String, timeouts: Timeouts) -> Gateway {
    let provider = ProviderConfig {
        api_key: Some(KEY.into()),
        timeouts,
        breaker: NEVER_OPENS,
        ..ProviderConfig::new(kind, base_url)
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
    whole(pieces(gateway, said).await)
}

/// As [`answer`], of a call that has begun.
pub async fn read(answering: Answering) -> Result<(String, Finish), (String, CallError)> {
    whole(pieces_of(answering).await)
}

/// The answer as it came, piece by piece, and its end.
pub async fn pieces(gateway: &Gateway, said: &str) -> (Vec<String>, Result<Finish, CallError>) {
    let answered = async {
        match gateway.call(prompt(said, "turn:1")).await {
            Ok(answering) => pieces_of(answering).await,
            Err(error) => (Vec::new(), Err(error)),
        }
    };
    timeout(TEST_WAIT, answered).await.unwrap()
}

async fn pieces_of(mut answering: Answering) -> (Vec<String>, Result<Finish, CallError>) {
    let mut pieces = Vec::new();
    loop {
        match answering.next().await {
            Ok(Event::Delta(delta)) => pieces.push(delta),
            Ok(Event::Finished(finish)) => return (pieces, Ok(finish)),
            Err(error) => return (pieces, Err(error)),
        }
    }
}

fn whole(
    (pieces, end): (Vec<String>, Result<Finish, CallError>),
) -> Result<(String, Finish), (String, CallError)> {
    let text = pieces.concat();
    match end {
        Ok(finish) => Ok((text, finish)),
        Err(error) => Err((text, error)),
    }
}

/// How the simulator saw a call end.
pub async fn ended(simulator: &Simulator, call_id: &str) -> Ended {
    timeout(TEST_WAIT, simulator.ended(call_id)).await.unwrap().ended.unwrap()
}
