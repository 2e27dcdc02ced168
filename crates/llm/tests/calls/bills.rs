//! What a provider bills, and tells of a call when it is asked later.

use llm::{
    Config, Gateway, ModelConfig, Prices, ProviderConfig, ProviderKind, RouteStep, Usage,
    simulator::{Options, Simulator},
};

use crate::ask::{PATIENT, answer, ended, gateway, prompt, simulator};

#[tokio::test]
async fn a_bill_tells_what_was_generated_and_no_more() {
    let options = Options { charges: [2, 10], ..Options::default() };
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), options).await.unwrap();
    let gateway = gateway(simulator.base_url(), PATIENT);
    for said in ["[[sim text=\"a b c\"]]", "[[sim text=\"a b c\" cut_after=2]]", "[[sim status=500]]"] {
        let _ = answer(&gateway, said).await;
    }
    let bill = simulator.invoice();
    let lines: Vec<_> =
        bill.iter().map(|it| (it.prompt_tokens, it.completion_tokens, it.cost_micros)).collect();
    assert_eq!(lines, [(6, 3, 42), (7, 2, 34), (0, 0, 0)]);
}

#[tokio::test]
async fn a_provider_that_can_be_asked_tells_what_a_call_has_cost() {
    let simulator = simulator().await;
    let provider = ProviderConfig {
        knows_call_ids: true,
        ..ProviderConfig::new(ProviderKind::Openrouter, simulator.base_url())
    };
    let prices = Some(Prices { prompt: 2.0, completion: 10.0 });
    let model = ModelConfig { prices, ..ModelConfig::new([RouteStep::new("p", "theirs")]) };
    let gateway = Gateway::new(&Config {
        providers: [("p".to_owned(), provider)].into(),
        models: [("m".to_owned(), model)].into(),
        default_model: "m".to_owned(),
    })
    .unwrap();
    let mut answering =
        gateway.reserve(prompt("[[sim text=\"a b c\" hang_after=2]]", "turn:1"), 1).await.unwrap();
    answering.begin().await.unwrap();
    let id = answering.generation_id().unwrap().to_owned();
    answering.next().await.unwrap();
    assert!(gateway.account("m", Some("p"), Some(&id), "turn:1").await.is_err(), "it still runs");
    drop(answering);
    ended(&simulator, "turn:1").await;
    let account = gateway.account("m", Some("p"), Some(&id), "turn:1").await.unwrap().unwrap();
    assert_eq!(
        (account.usage, account.cost_micros),
        (Usage { prompt_tokens: 7, completion_tokens: 2 }, Some(34))
    );
    assert_eq!((account.provider.as_str(), account.model.as_str()), ("p", "theirs"));
    assert_eq!(gateway.account("m", None, None, "turn:1").await.unwrap(), Some(account), "by our own id");
    assert_eq!(gateway.account("m", None, None, "turn:2").await.unwrap(), None);
    assert!(gateway.account("m", Some("q"), Some(&id), "turn:1").await.is_err(), "nobody can be asked");
}
