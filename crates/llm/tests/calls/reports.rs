//! The account of a call, however it ended.

use llm::{
    Config, Event, Gateway, ModelConfig, Prices, ProviderConfig, ProviderKind, Report, RouteStep, Usage,
    simulator::Simulator,
};

use crate::ask::{NEVER_OPENS, PATIENT, prompt, simulator};

const PRICES: Prices = Prices { prompt: 2.0, completion: 10.0 };

fn gateway(simulator: &Simulator, kind: ProviderKind) -> Gateway {
    let provider = ProviderConfig {
        timeouts: PATIENT,
        breaker: NEVER_OPENS,
        ..ProviderConfig::new(kind, simulator.base_url())
    };
    let model = ModelConfig { prices: Some(PRICES), ..ModelConfig::new([RouteStep::new("p", "theirs")]) };
    Gateway::new(&Config {
        providers: [("p".to_owned(), provider)].into(),
        models: [("m".to_owned(), model)].into(),
        default_model: "m".to_owned(),
    })
    .unwrap()
}

/// Reads so many texts, or to the end, and tells what is known then.
async fn report_after(directive: &str, kind: ProviderKind, texts: usize) -> Report {
    let simulator = simulator().await;
    let gateway = gateway(&simulator, kind);
    let mut answering =
        gateway.reserve(prompt(&format!("one two [[sim {directive}]]"), "turn:1"), 1).await.unwrap();
    assert_eq!(answering.report().usage, None, "nothing is sent yet");
    for _ in 0..texts {
        if !matches!(answering.next().await, Ok(Event::Delta(_))) {
            break;
        }
    }
    answering.report()
}

#[tokio::test]
async fn a_whole_answer_costs_what_the_provider_counted() {
    for kind in [ProviderKind::OpenaiCompatible, ProviderKind::Anthropic] {
        let report = report_after(r#"text="a b c""#, kind, 99).await;
        let usage = Usage { prompt_tokens: 8, completion_tokens: 3 };
        assert_eq!(
            (report.usage, report.estimated, report.cost_micros),
            (Some(usage), false, Some(8 * 2 + 3 * 10))
        );
        assert_eq!((report.provider.as_str(), report.model.as_str()), ("p", "theirs"));
        let timings = report.timings;
        assert!(timings.response_ms <= timings.first_token_ms, "{timings:?}");
        assert!(timings.first_token_ms <= Some(timings.total_ms), "{timings:?}");
    }
}

#[tokio::test]
async fn a_refused_call_costs_nothing() {
    for directive in ["status=500", "status=429", "status=401", "error_in_200"] {
        let report = report_after(directive, ProviderKind::OpenaiCompatible, 9).await;
        assert_eq!(
            (report.usage, report.estimated, report.cost_micros),
            (None, false, Some(0)),
            "{directive}"
        );
        assert_eq!(report.timings.first_token_ms, None);
    }
}

#[tokio::test]
async fn what_the_provider_does_not_count_is_estimated_and_marked_so() {
    let text = "x".repeat(40);
    for directive in ["usage=none", "usage=negative", "cut_after=1", "error_after=1", "hang_after=1"] {
        let texts = if directive.starts_with("usage") { 9 } else { 1 };
        let directive = format!(r#"text="{text}" {directive}"#);
        let report = report_after(&directive, ProviderKind::OpenaiCompatible, texts).await;
        // "be brief" and what was said, directive included; four bytes each.
        let prompt_tokens =
            ("be brief".len() + "one two [[sim ]]".len() + directive.len()).div_ceil(4) as u32;
        let usage = Usage { prompt_tokens, completion_tokens: 10 };
        assert_eq!((report.usage, report.estimated), (Some(usage), true), "{directive}");
        assert_eq!(report.cost_micros, Some(PRICES.cost_micros(&usage)), "{directive}");
    }
}

#[tokio::test]
async fn what_is_counted_on_the_way_is_part_of_an_estimate() {
    let report = report_after(r#"text="a b c" hang_after=2"#, ProviderKind::Anthropic, 2).await;
    assert_eq!((report.usage.unwrap().prompt_tokens, report.estimated), (9, true), "told at the beginning");
}
