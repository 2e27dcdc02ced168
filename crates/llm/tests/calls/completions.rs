//! What only some kinds say: what comes after a finish, and thinking.

use std::time::{Duration, Instant};

use llm::{Timeouts, Usage};

use crate::{
    ask::{PATIENT, answer, gateway},
    raw::{Act, DONE, FINISH, Raw, USAGE, delta, stream},
};

#[tokio::test]
async fn a_finish_counts_whatever_comes_or_does_not_come_after_it() {
    let usage = Some(Usage { prompt_tokens: 5, completion_tokens: 3 });
    let begin = delta("hi") + FINISH;
    let pause = Act::Wait(Duration::from_millis(50));
    let send = |text: &str| Act::Send(text.into());
    let plays = [
        (vec![], None),
        (vec![send(DONE)], None),
        (vec![send(USAGE)], usage),
        (vec![pause.clone(), send(USAGE), pause, send(DONE)], usage),
        (vec![send(USAGE), send(DONE), send(DONE), send("data: <html>\n\n")], usage),
        (vec![Act::Hold], None),
        (vec![send(DONE), Act::Hold], None),
        (vec![send(USAGE), Act::Repeat(b": PROCESSING\n\n".into(), Duration::from_millis(20))], usage),
    ];
    for (play, usage) in plays {
        let play = [vec![Act::Send(stream(&begin))], play].concat();
        let raw = Raw::playing(vec![play]).await;
        let gateway = gateway(raw.base_url(), Timeouts { idle_ms: 500, ..PATIENT });
        let asked = Instant::now();
        let (text, finish) = answer(&gateway, "hi").await.unwrap();
        assert_eq!((text.as_str(), finish.usage), ("hi", usage));
        assert!(asked.elapsed() < Duration::from_secs(5), "what follows is waited for, but not long");
    }
}

#[tokio::test]
async fn a_thinking_model_is_not_taken_for_a_silent_one() {
    let thought = "data: {\"choices\":[{\"delta\":{\"content\":\"\",\"reasoning\":\"hm\"}}]}\n\n";
    let pause = Act::Wait(Duration::from_millis(500));
    let end = Act::Send((delta("hi") + FINISH).into());
    let raw = Raw::playing(vec![vec![Act::Send(stream(thought)), pause, end]]).await;
    let gateway = gateway(raw.base_url(), Timeouts { first_token_ms: 250, ..PATIENT });
    assert_eq!(answer(&gateway, "hi").await.unwrap().0, "hi");
}
