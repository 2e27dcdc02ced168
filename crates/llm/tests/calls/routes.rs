//! Several providers and several keys for one model: who is asked when one of them fails.

use std::time::Duration;

use llm::{
    BreakerConfig, CallError, Config, Gateway, KeyConfig, ModelConfig, NoPlace, ProviderConfig, ProviderKind,
    RouteStep, Settings,
    simulator::{NumberOrText, Script, Simulator},
};
use tokio::time::sleep;

use crate::{
    ask::{PATIENT, prompt, read, simulator},
    raw::{Act, DONE, FINISH, Raw, delta, response, stream},
};

const FAILED: CallError = CallError::Failed { status: Some(500) };
/// Three failures open it, for a time that a test can wait for.
const QUICK: BreakerConfig = BreakerConfig { failures: 3, within_ms: 60_000, rest_ms: 300 };

fn provider(base_url: &str) -> ProviderConfig {
    ProviderConfig {
        timeouts: PATIENT,
        breaker: QUICK,
        ..ProviderConfig::new(ProviderKind::OpenaiCompatible, base_url)
    }
}

/// The model `m`, served by these in this order as `p0`, `p1`, …
fn gateway(providers: impl IntoIterator<Item = ProviderConfig>) -> Gateway {
    let named = providers.into_iter().enumerate().map(|(place, provider)| (format!("p{place}"), provider));
    let providers: std::collections::BTreeMap<_, _> = named.collect();
    let route: Vec<_> = providers.keys().map(|name| RouteStep::new(name, "theirs")).collect();
    let models = [("m".to_owned(), ModelConfig::new(route))].into();
    Gateway::new(&Config { providers, models, default_model: "m".to_owned() }).unwrap()
}

/// Who was asked, what came of it, and how long to rest before the next call.
struct Asked {
    provider: String,
    result: Result<(), CallError>,
    retry: Option<Duration>,
}

async fn ask(gateway: &Gateway, attempt: u32) -> Result<Asked, NoPlace> {
    ask_for(gateway, "hi", attempt).await
}

async fn ask_for(gateway: &Gateway, said: &str, attempt: u32) -> Result<Asked, NoPlace> {
    let mut answering = gateway.reserve(prompt(said, &format!("turn:{attempt}")), attempt).await?;
    let result = loop {
        match answering.next().await {
            Ok(llm::Event::Delta(_)) => {}
            Ok(llm::Event::Finished(_)) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let report = answering.report();
    let retry = result.as_ref().err().and_then(|error| gateway.retry("m", attempt, &report, error));
    Ok(Asked { provider: report.provider, result, retry })
}

async fn two() -> (Simulator, Simulator, Gateway) {
    let (first, second) = (simulator().await, simulator().await);
    let gateway = gateway([provider(&first.base_url()), provider(&second.base_url())]);
    (first, second, gateway)
}

fn failing() -> Script {
    Script { status: Some(500), ..Script::default() }
}

#[tokio::test]
async fn the_first_of_a_route_is_asked_as_long_as_it_answers() {
    let (_first, second, gateway) = two().await;
    for _ in 0..5 {
        assert_eq!(ask(&gateway, 1).await.unwrap().provider, "p0");
    }
    assert!(second.calls().is_empty());
}

#[tokio::test]
async fn a_call_that_failed_is_repeated_at_the_next_one_at_once() {
    let (first, _second, gateway) = two().await;
    first.play(failing());
    let asked = ask(&gateway, 1).await.unwrap();
    assert_eq!(
        (asked.provider.as_str(), asked.result, asked.retry),
        ("p0", Err(FAILED), Some(Duration::ZERO))
    );
    let asked = ask(&gateway, 2).await.unwrap();
    assert_eq!((asked.provider.as_str(), asked.result), ("p1", Ok(())));
    assert_eq!(ask(&gateway, 3).await.unwrap().provider, "p0", "round and round");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_begun_anew_elsewhere() {
    let (first, _second, gateway) = two().await;
    first.play(Script { cut_after: Some(2), ..Script::default() });
    let asked = ask(&gateway, 1).await.unwrap();
    assert_eq!((asked.result, asked.retry), (Err(CallError::Truncated), Some(Duration::ZERO)));
    assert_eq!(ask(&gateway, 2).await.unwrap().result, Ok(()));
}

#[tokio::test]
async fn a_provider_without_another_is_given_time() {
    let simulator = simulator().await;
    let gateway = gateway([provider(&simulator.base_url())]);
    let retry = async |directive: &str| {
        ask_for(&gateway, &format!("[[sim {directive}]]"), 1).await.unwrap().retry.map(|it| it.as_secs())
    };
    assert_eq!(retry("status=429 retry_after=2").await, Some(2));
    assert_eq!(retry("status=429 retry_after=1000000000").await, Some(30));
    for vague in ["status=429", "status=429 retry_after=-5", "status=503", "cut_after=1"] {
        assert_eq!(retry(vague).await, Some(0), "{vague}: less than half a second");
    }
}

#[tokio::test]
async fn what_another_call_would_not_mend_is_not_repeated() {
    let (first, second, gateway) = two().await;
    for (directive, error) in [
        ("status=400", CallError::Rejected { status: 400 }),
        ("status=400 error=context_length_exceeded", CallError::ContextTooLong),
        ("finish=content_filter", CallError::ContentFiltered),
        ("finish=tool_calls", CallError::UnsupportedFinish("tool_calls")),
        ("empty", CallError::EmptyAnswer),
    ] {
        let asked = ask_for(&gateway, &format!("[[sim {directive}]]"), 1).await.unwrap();
        assert_eq!((asked.result, asked.retry), (Err(error), None), "{directive}");
    }
    assert_eq!((first.calls().len(), second.calls().len()), (5, 0), "and none of them says that it is down");
}

#[tokio::test]
async fn a_provider_that_fails_is_passed_over_until_it_has_recovered() {
    let (first, second, gateway) = two().await;
    first.play(failing());
    for _ in 0..3 {
        assert_eq!(ask(&gateway, 1).await.unwrap().result, Err(FAILED));
    }
    for _ in 0..5 {
        assert_eq!(ask(&gateway, 1).await.unwrap().provider, "p1");
    }
    sleep(Duration::from_millis(350)).await;
    assert_eq!(ask(&gateway, 1).await.unwrap().provider, "p0", "one call tries");
    assert_eq!(ask(&gateway, 1).await.unwrap().provider, "p1", "it still fails");
    first.play(Script::default());
    sleep(Duration::from_millis(650)).await;
    assert_eq!(ask(&gateway, 1).await.unwrap().result, Ok(()));
    for _ in 0..5 {
        assert_eq!(ask(&gateway, 1).await.unwrap().provider, "p0");
    }
    assert_eq!((first.calls().len(), second.calls().len()), (3 + 1 + 6, 6));
}

#[tokio::test]
async fn when_all_rest_it_is_told_for_how_long() {
    let (first, second, gateway) = two().await;
    first.play(failing());
    second.play(failing());
    for attempt in [1, 2, 1, 2, 1] {
        assert_eq!(ask(&gateway, attempt).await.unwrap().result, Err(FAILED));
    }
    let rest = Duration::from_millis(200)..=Duration::from_millis(300);
    let last = ask(&gateway, 2).await.unwrap();
    assert_eq!(last.result, Err(FAILED));
    assert!(rest.contains(&last.retry.unwrap()), "{:?}: until the first has rested", last.retry);
    let refused = ask(&gateway, 1).await.err().unwrap();
    assert_eq!(refused.error, FAILED, "as the first one failed");
    assert!(rest.contains(&refused.wait.unwrap()), "{refused:?}");
    assert_eq!(first.calls().len() + second.calls().len(), 6);
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_not_waited_for() {
    let simulator = simulator().await;
    simulator.play(Script { status: Some(402), ..Script::default() });
    let gateway = gateway([provider(&simulator.base_url())]);
    let refused = CallError::Configuration { status: 402 };
    let asked = ask(&gateway, 1).await.unwrap();
    assert_eq!((asked.result, asked.retry), (Err(refused.clone()), None));
    assert_eq!(ask(&gateway, 1).await.err(), Some(NoPlace { error: refused, wait: None }));
}

#[tokio::test]
async fn a_try_that_is_given_up_leaves_it_to_the_next() {
    let (first, _second, gateway) = two().await;
    first.play(failing());
    for _ in 0..3 {
        let _ = ask(&gateway, 1).await;
    }
    sleep(Duration::from_millis(350)).await;
    drop(gateway.reserve(prompt("hi", "turn:1"), 1).await.unwrap());
    assert_eq!(ask(&gateway, 1).await.unwrap().provider, "p0");
}

fn with_keys(base_url: &str, keys: [(&str, u32); 2]) -> Gateway {
    let keys = keys.map(|(key, weight)| KeyConfig {
        api_key_env: Some(key.to_uppercase()),
        api_key_file: None,
        api_key: Some(key.into()),
        weight,
    });
    gateway([ProviderConfig { keys: keys.into(), ..provider(base_url) }])
}

#[tokio::test]
async fn calls_are_spread_over_keys_by_their_weight() {
    let raw = Raw::streaming(delta("hi") + FINISH + DONE).await;
    let gateway = with_keys(&raw.base_url(), [("key-a", 3), ("key-b", 1)]);
    for _ in 0..200 {
        assert_eq!(ask(&gateway, 1).await.unwrap().result, Ok(()));
    }
    let with_a = raw.requests().iter().filter(|it| it.contains("authorization: Bearer key-a\r\n")).count();
    assert!((120..=175).contains(&with_a), "{with_a} of 200");
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_left_for_the_other() {
    let refused = vec![Act::Send(response("401 Unauthorized", "application/json", "{}"))];
    let raw = Raw::playing(vec![refused, vec![Act::Send(stream(delta("hi") + FINISH + DONE))]]).await;
    let gateway = with_keys(&raw.base_url(), [("key-a", 1), ("key-b", 1)]);
    let asked = ask(&gateway, 1).await.unwrap();
    let refused = CallError::Configuration { status: 401 };
    assert_eq!((asked.result, asked.retry), (Err(refused), Some(Duration::ZERO)));
    for _ in 0..20 {
        assert_eq!(ask(&gateway, 1).await.unwrap().result, Ok(()));
    }
    let keys =
        raw.requests().iter().map(|it| it.contains("authorization: Bearer key-a\r\n")).collect::<Vec<_>>();
    assert!(keys[1..].iter().all(|key| *key != keys[0]), "{keys:?}");
}

#[tokio::test]
async fn a_busy_provider_is_not_taken_for_one_that_is_down() {
    let simulator = simulator().await;
    simulator.play(Script {
        status: Some(429),
        retry_after: Some(NumberOrText::Number(1)),
        ..Script::default()
    });
    let gateway = gateway([provider(&simulator.base_url())]);
    let busy = Err(CallError::Busy { retry_after: Some(Duration::from_secs(1)) });
    for _ in 0..5 {
        assert_eq!(ask(&gateway, 1).await.unwrap().result, busy);
    }
    assert_eq!(simulator.calls().len(), 5);
    simulator.play(Script::default());
    let answering = gateway.reserve(prompt("hi", "turn:2"), 2).await.unwrap();
    assert!(read(answering).await.is_ok());
}

#[tokio::test]
async fn a_model_has_settings_of_its_own_for_what_a_call_leaves_open() {
    let simulator = simulator().await;
    let usual = Settings { temperature: Some(0.5), seed: Some(7), ..Settings::default() };
    let model = ModelConfig { settings: Some(usual), ..ModelConfig::new([RouteStep::new("p0", "theirs")]) };
    let gateway = Gateway::new(&Config {
        providers: [("p0".to_owned(), provider(&simulator.base_url()))].into(),
        models: [("m".to_owned(), model)].into(),
        default_model: "m".to_owned(),
    })
    .unwrap();
    let mut prompt = prompt("hi", "turn:1");
    prompt.settings.seed = Some(8);
    read(gateway.reserve(prompt, 1).await.unwrap()).await.unwrap();
    let asked = simulator.calls().remove(0).settings;
    assert_eq!((asked.temperature, asked.seed), (Some(0.5), Some(8)));
}
