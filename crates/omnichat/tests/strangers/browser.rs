//! The page `/play` in Chromium, as somebody sees it who looks at it, types, reloads, and loses the network.

use serde_json::json;
use testkit::{Layout, Toolbox, World, toolbox::judged};

/// Plays a scenario of `browser.mjs`, which fails when something is not as it should be.
async fn play(scenario: &str) {
    let world = World::builder(env!("CARGO_BIN_EXE_omnichat"), Layout::OneProcess).pace(30, 20).start().await;
    let ana = world.user().await;
    let given = json!({
        "scenario": scenario,
        "chromium": Toolbox::chromium(),
        "address": format!("http://{}", world.http()),
        "email": ana.email,
        "password": testkit::user::PASSWORD,
        "token": ana.token,
    });
    let mut node = Toolbox::open().await.node(include_str!("browser.mjs"));
    node.arg(given.to_string());
    let said = judged(node, scenario).await;
    assert_eq!(said.trim(), "as it should be");
}

macro_rules! scenarios {
    ($($name:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            play(stringify!($name)).await;
        }
    )+};
}

scenarios![
    a_newcomer_gets_an_answer_by_keys_alone,
    a_reload_in_the_middle_of_an_answer_loses_nothing,
    a_second_tab_shows_what_the_first_one_does,
    an_answer_is_stopped_from_another_tab,
    what_is_said_offline_is_sent_later,
    an_answer_is_made_anew,
    a_session_that_ends_leads_to_the_door,
];
