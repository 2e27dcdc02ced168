//! What a provider does wrong: the sender hears it by name, the turn has one outcome, the conversation goes on.

use serde_json::{Value, json};
use testkit::{Answer, Layout, both_layouts, user::text};

use crate::world;

both_layouts![
    each_failure_of_the_provider_has_its_name,
    a_failed_turn_stays_failed_when_it_is_repeated,
    a_provider_that_is_not_there_is_a_fault_of_its_own,
];

/// What the provider is told to do, what the sender hears, and after how many calls.
const FAILURES: [(&str, u16, &str, usize); 12] = [
    ("hang", 504, "provider_timed_out", 3),
    ("hang_after=2", 504, "provider_timed_out", 3),
    ("status=500", 502, "provider_failed", 3),
    ("cut_after=3", 502, "answer_truncated", 3),
    ("finish=none no_done", 502, "answer_truncated", 3),
    ("error_after=3", 502, "provider_failed", 3),
    ("error_in_200", 502, "provider_failed", 3),
    ("status=429 retry_after=1", 503, "provider_busy", 3),
    ("status=401", 502, "provider_misconfigured", 1),
    ("status=400 error=context_length_exceeded", 422, "context_too_long", 1),
    ("finish=content_filter", 502, "answer_filtered", 1),
    ("empty", 502, "answer_empty", 1),
];

fn without_request(answer: &Answer) -> Value {
    let mut problem = answer.json();
    problem.as_object_mut().unwrap().remove("request_id");
    problem
}

async fn each_failure_of_the_provider_has_its_name(layout: Layout) {
    let world = world(layout)
        .set("providers.simulator.timeouts.first_token_ms", 700)
        .set("providers.simulator.timeouts.idle_ms", 700)
        .set("providers.simulator.breaker.failures", 0)
        .start()
        .await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    for (script, status, code, calls) in FAILURES {
        let before = world.provider().calls().len();
        let answer = ana.send(&conversation, &format!("please [[sim {script}]]")).await;
        let problem = answer.fault(status, code);
        if status == 503 {
            assert_eq!((answer.header("retry-after"), &problem["retry_after"]), ("1", &json!(1)));
        }
        let turn = ana.get(&format!("/turns/{}", text(&problem["turn_id"]))).await.ok();
        assert_eq!((&turn["status"], &turn["fault"]["code"]), (&json!("failed"), &json!(code)));
        assert_eq!(
            (&turn["messages"][1], &turn["usage"]),
            (&Value::Null, &Value::Null),
            "no part of an answer is kept"
        );
        assert_eq!(world.provider().calls().len() - before, calls, "{script}");
        let told: Vec<_> = turn["calls"].as_array().unwrap().iter().map(|call| &call["fault"]).collect();
        assert_eq!(told, vec![&json!(code); calls], "{script}");
    }
    let answered = text(&ana.send(&conversation, "and now?").await.ok()["response"]);
    assert!(answered.starts_with("You said \"and now?\" (message 13 of this conversation)"), "{answered}");
    let last = world.provider().calls().pop().unwrap();
    assert!(
        last.messages.iter().all(|message| message.role == llm::Role::User),
        "what went unanswered is still told"
    );

    let outcomes =
        "select status, count(*), count(assistant_message_id) from outcomes group by status order by status";
    let outcomes = sqlx::query_as::<_, (String, i64, i64)>(outcomes).fetch_all(world.sql()).await.unwrap();
    assert_eq!(outcomes, [("completed".into(), 1, 1), ("failed".into(), 12, 0)]);
    let calls: usize = FAILURES.iter().map(|(.., calls)| calls).sum();
    assert_eq!(world.provider().calls().len(), calls + 1);
    assert_eq!(ana.history(&conversation).await.len(), FAILURES.len() + 2);
}

async fn a_failed_turn_stays_failed_when_it_is_repeated(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let send = async || ana.send_with_key(&conversation, "hi [[sim status=500]]", "k1").await;
    let first = send().await;
    first.fault(502, "provider_failed");
    let again = send().await;
    again.fault(502, "provider_failed");
    assert_eq!(without_request(&again), without_request(&first));
    assert_eq!(world.provider().calls().len(), 3, "for the first send alone");
}

async fn a_provider_that_is_not_there_is_a_fault_of_its_own(layout: Layout) {
    // Nothing listens on the discard port.
    let world = world(layout).set("providers.simulator.base_url", "http://127.0.0.1:9/v1").start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let problem = ana.send(&conversation, "hi").await.fault(502, "provider_unavailable");
    assert!(!problem.to_string().contains("127.0.0.1"), "no inside text: {problem}");
}
