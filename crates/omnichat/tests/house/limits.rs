//! The table of limits: against `docs/operations.md`, against the defaults of the configuration, and each with the tests
//! that meet it.

use std::fmt::Write;

use wire::limit::{self, Limit, Over};

use crate::tree;

const CONNECTIONS: &str = "crates/ingress/tests/http/connections.rs";
const STALLS: &str = "crates/ingress/tests/http/stalls.rs";
const HEADS: &str = "crates/ingress/tests/http/heads.rs";
const STREAMS: &str = "crates/ingress/tests/http/streams.rs";
const SOCKETS: &str = "crates/ingress/tests/http/sockets.rs";
const BROKEN: &str = "crates/ingress/tests/http/broken_sockets.rs";
const OUTBOX: &str = "crates/ingress/src/stream/outbox.rs";
const LIMITS: &str = "crates/omnichat/tests/flows/limits.rs";
const IMAGES: &str = "crates/wire/src/image.rs";
const SETTINGS: &str = "crates/omnichat/tests/flows/settings.rs";

/// The tests of each limit: just what is allowed, and one more.
const TESTS: &[(&str, &str, &str)] = &[
    ("connections", CONNECTIONS, "one_connection_too_many_is_told_so_and_the_others_live"),
    ("connections_per_address", CONNECTIONS, "one_connection_too_many_is_told_so_and_the_others_live"),
    ("head_time", STALLS, "a_connection_that_is_not_used_is_closed"),
    ("body_time", STALLS, "a_connection_that_is_not_used_is_closed"),
    ("idle_time", STALLS, "a_connection_that_is_not_used_is_closed"),
    ("total_time", STALLS, "a_request_has_its_time_and_a_send_has_more"),
    ("header_bytes", HEADS, "a_request_has_64_headers_of_16_kib_at_most"),
    ("headers", HEADS, "a_request_has_64_headers_of_16_kib_at_most"),
    ("uri_bytes", HEADS, "an_address_has_8_kib_at_most"),
    ("body_bytes", "crates/ingress/tests/http/door.rs", "a_body_has_128_kib_at_most"),
    ("message_bytes", "crates/omnichat/tests/cases/http.rs", "each_request_is_answered_as_the_table_says"),
    ("images", IMAGES, "images_are_bounded_in_number_and_together"),
    ("images_bytes", IMAGES, "images_are_bounded_in_number_and_together"),
    ("settings_bytes", SETTINGS, "what_cannot_be_asked_is_told_by_field_and_asked_of_nobody"),
    ("logins", LIMITS, "an_address_is_held_to_its_limit"),
    ("registrations", LIMITS, "an_address_is_held_to_its_limit"),
    ("refreshes", LIMITS, "an_address_is_held_to_its_limit"),
    ("failed_logins", "crates/omnichat/tests/flows/sessions.rs", "guessing_a_password_is_slowed_down"),
    ("waiting_hashes", "crates/auth/src/password/pool.rs", "beyond_the_queue_it_is_busy_at_once"),
    ("requests", "crates/omnichat/tests/cases/floods.rs", "a_flood_of_one_user_is_refused_to_that_one"),
    ("turns", LIMITS, "a_user_is_held_to_a_limit_at_both_doors"),
    ("running_turns_per_user", LIMITS, "turns_that_run_at_a_time_are_bounded"),
    ("running_turns", LIMITS, "turns_that_run_at_a_time_are_bounded"),
    ("open_turns", LIMITS, "as_many_turns_are_open_as_the_key_says"),
    (
        "waiting_turns",
        "crates/omnichat/tests/flows/turns.rs",
        "what_waits_in_a_conversation_is_bounded_and_runs_in_order",
    ),
    ("streams_per_user", STREAMS, "so_many_streams_are_open_and_one_more_is_refused"),
    ("streams", STREAMS, "so_many_streams_are_open_and_one_more_is_refused"),
    ("stream_time", STREAMS, "a_stream_that_is_old_enough_is_to_be_picked_up"),
    ("stream_frames", OUTBOX, "so_many_frames_wait_and_one_more_is_too_many"),
    ("stream_bytes", OUTBOX, "so_many_bytes_wait_and_one_more_is_too_many"),
    ("sockets_per_user", SOCKETS, "so_many_sockets_are_open_and_one_more_is_refused"),
    ("sockets", SOCKETS, "so_many_sockets_are_open_and_one_more_is_refused"),
    ("socket_messages", SOCKETS, "a_user_says_so_much_in_a_minute"),
    ("socket_message_bytes", BROKEN, "what_is_no_message_ends_the_socket_with_its_code"),
    ("socket_turns", SOCKETS, "so_much_is_under_way_over_one_socket"),
    ("socket_conversations", SOCKETS, "so_much_is_under_way_over_one_socket"),
    ("socket_requests", SOCKETS, "so_much_is_under_way_over_one_socket"),
    ("socket_controls", BROKEN, "what_is_no_message_ends_the_socket_with_its_code"),
    ("socket_token_time", BROKEN, "whoever_does_not_say_who_they_are_is_turned_away"),
    ("socket_time", SOCKETS, "a_socket_ends_with_its_time_or_its_process"),
    ("socket_lag", BROKEN, "who_takes_nothing_is_given_up"),
    (
        "attempts",
        "crates/omnichat/tests/crashes/workers.rs",
        "a_turn_that_was_interrupted_too_often_is_given_up",
    ),
    ("answer_bytes", "crates/llm/src/answer.rs", "an_answer_is_accepted_at_its_bound_and_refused_beyond"),
    ("answer_time", "crates/llm/src/deadlines.rs", "a_call_has_its_time_and_not_a_moment_more"),
    ("history_messages", LIMITS, "a_model_is_told_so_many_messages_and_the_oldest_are_left_out"),
    (
        "history_bytes",
        "crates/chat/src/conversation/window.rs",
        "so_many_bytes_are_told_and_with_one_more_the_oldest_are_left_out",
    ),
];
fn row(limit: &Limit) -> String {
    let key = limit.key.map_or("fixed".to_owned(), |key| format!("`{key}`"));
    let over = match limit.over {
        Over::Refused(code) => format!("{} `{}`", code.status(), code.as_str()),
        Over::RefusedAndClosed(code) => format!("{} `{}`, closed", code.status(), code.as_str()),
        Over::Closed => "closed".to_owned(),
        Over::Interrupted => "ends, to be picked up".to_owned(),
        Over::Ended(code) => format!("closed with {code}"),
        Over::LeftOut => "the oldest are left out".to_owned(),
    };
    let amount = format!("{} {}", grouped(limit.default), limit.unit);
    format!("| {} | {} | {key} | {over} | `{}` |", limit.what, amount.trim(), limit.metric)
}

/// As people read numbers.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[test]
fn the_paper_has_the_table() {
    let paper = tree::read("docs/operations.md");
    let mut table = String::from("| what | limit | key | over it | counted in |\n|---|--:|---|---|---|\n");
    for limit in limit::ALL {
        writeln!(table, "{}", row(limit)).unwrap();
    }
    assert!(tree::block(&paper, "limits") == table, "docs/operations.md: the limits should be\n\n{table}");
}

/// The sample file has every key with its default, so that is where the table's are looked up.
#[test]
fn a_default_is_that_of_its_key() {
    let sample: String = tree::read("omnichat.example.toml").lines().fold(String::new(), |text, line| {
        let setting = line.strip_prefix('#').filter(|rest| rest.contains(" = ") && !rest.starts_with(' '));
        text + setting.unwrap_or(if line.starts_with('[') { line } else { "" }) + "\n"
    });
    let sample: toml::Table = sample.parse().unwrap();
    for limit in limit::ALL {
        let Some((section, key)) = limit.key.and_then(|key| key.split_once('.')) else { continue };
        // Those of providers are commented on; `llm` holds their default.
        if section == "providers" {
            assert_eq!(limit.default, llm::Timeouts::default().total_ms, "{}", limit.name);
            continue;
        }
        let default = sample[section].get(key).and_then(toml::Value::as_integer);
        assert_eq!(default, i64::try_from(limit.default).ok(), "{}", limit.name);
    }
}

#[test]
fn what_may_wait_is_what_the_stream_says() {
    let streams: toml::Table = tree::read("nats/streams.toml").parse().unwrap();
    let with_the_running_one = streams["TURNS"]["max_msgs_per_subject"].as_integer().unwrap();
    assert_eq!(with_the_running_one, i64::try_from(limit::WAITING_TURNS.default).unwrap() + 1);
    let in_all = streams["TURNS"]["max_msgs"].as_integer();
    assert_eq!(in_all, i64::try_from(limit::OPEN_TURNS.default).ok());
}

#[test]
fn every_limit_is_met_by_a_test_and_counted() {
    let names: Vec<_> = limit::ALL.iter().map(|limit| limit.name).collect();
    let tested: Vec<_> = TESTS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, tested);
    for (name, file, test) in TESTS {
        assert!(tree::read(file).contains(&format!("fn {test}(")), "{name}: {file} has no {test}");
    }
    let paper = tree::read("docs/operations.md");
    let metrics = tree::rows(tree::block(&paper, "metrics"));
    for limit in limit::ALL {
        let metric = limit.metric.split('{').next().unwrap();
        assert!(metrics.iter().any(|row| row[0].trim_matches('`') == metric), "{}: {metric}", limit.name);
    }
}
