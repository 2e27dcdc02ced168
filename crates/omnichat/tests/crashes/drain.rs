//! Processes that are told to stop (SIGTERM).

use std::time::{Duration, Instant};

use llm::{Message, simulator::answer};
use testkit::{Exit, Layout, Role, both_layouts};

use crate::{
    SLOW,
    ledger::{Ledger, ended},
    provider_was_called, sending, world,
};

/// Far less than the grace, which is 30 s.
const AT_ONCE: Duration = Duration::from_secs(10);

both_layouts![
    what_runs_is_finished_before_a_process_ends,
    an_idle_process_ends_at_once,
    what_waits_when_a_worker_leaves_is_run_by_the_next,
];

async fn what_runs_is_finished_before_a_process_ends(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut said = Vec::new();
    for (call, role) in [Role::Chat, Role::Ingress].into_iter().enumerate() {
        let sender = sending(&ana, &conversation, SLOW, role.name());
        provider_was_called(&world, call + 1).await;
        assert_eq!(world.terminate(role).await, Exit::SUCCESS);
        let sent = sender.await.unwrap().expect("the connection holds").ok();
        said.push(Message::user(SLOW));
        assert_eq!(sent["response"], answer(&said));
        said.push(Message::assistant(answer(&said)));
        assert_eq!(Ledger::of(&world).await, Ledger::all_answered(call as i64 + 1, 0));
        world.restart(role).await;
    }
    ana.send(&conversation, "And now?").await.ok();
}

async fn an_idle_process_ends_at_once(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    ana.send(&conversation, "Hi.").await.ok();
    for roles in layout.processes() {
        let asked = Instant::now();
        assert_eq!(world.terminate(roles[0]).await, Exit::SUCCESS, "{roles:?}");
        assert!(asked.elapsed() < AT_ONCE, "{roles:?}: {:?}", asked.elapsed());
    }
}

async fn what_waits_when_a_worker_leaves_is_run_by_the_next(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = sending(&ana, &conversation, SLOW, "k1");
    provider_was_called(&world, 1).await;
    let second = sending(&ana, &conversation, "And then?", "k2");
    let accepted = async || (Ledger::of(&world).await.turns == 2).then_some(());
    testkit::eventually("the second is accepted", crate::SOON, accepted).await;
    if layout == Layout::OneProcess {
        // An ingress that drains waits for its clients as long as the grace lasts.
        second.abort();
    }
    assert_eq!(world.terminate(Role::Chat).await, Exit::SUCCESS);
    first.await.unwrap().unwrap().ok();
    assert_eq!(world.provider().calls().len(), 1, "nothing new was begun");
    if layout == Layout::ProcessPerRole {
        ana.send(&conversation, "Is nobody there?").await.fault(503, "unavailable");
    }

    world.restart(Role::Chat).await;
    ended(&world, 2).await;
    if layout == Layout::ProcessPerRole {
        second.await.unwrap().unwrap().ok();
    }
    let said =
        [Message::user(SLOW), Message::assistant(answer(&[Message::user(SLOW)])), Message::user("And then?")];
    assert_eq!(ana.send_with_key(&conversation, "And then?", "k2").await.ok()["response"], answer(&said));
    assert_eq!(world.provider().calls().len(), 2);
    // The next worker cannot know that the turn was not begun, and counts it as begun.
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(2, 1));
}
