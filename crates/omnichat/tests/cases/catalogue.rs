//! Every case with the tests that hold it. A case whose test is renamed or taken away is seen here.
//!
//! Numbers are names, and stay. Two have no test, as there is nothing to go wrong: no migration makes something unique
//! that old rows may have twice (102), and a process reads its configuration once, when it starts (103).

use std::{collections::BTreeSet, fs, path::PathBuf};

/// A case's number, which stays its name for ever; what comes in; and the tests that hold it, as file and function. A file
/// without a folder is one of this target, and has rows with the number; others are found from the workspace's root, or
/// among the flows.
type Case = (u16, &'static str, &'static [(&'static str, &'static str)]);

const TABLE: &str = "each_request_is_answered_as_the_table_says";
const FRAMING: (&str, &str) = ("framing.rs", "what_is_not_quite_http_is_refused");
const BODIES: (&str, &str) = ("flows/bodies.rs", "what_is_wrong_with_a_body_is_told_by_field");
const CLAIMS: (&str, &str) = ("crates/identity/src/verifier/tests.rs", "wrong_claims_are_refused");
const HEADERS: (&str, &str) = ("crates/identity/src/verifier/tests.rs", "wrong_headers_and_keys_are_refused");
const TOKENS: (&str, &str) = ("flows/accounts.rs", "nothing_but_a_good_token_comes_in");
const MEDIA: (&str, &str) = ("crates/ingress/tests/http/door.rs", "a_body_is_json_and_says_so");
const CONFIGURATION: (&str, &str) =
    ("configuration.rs", "what_is_wrong_with_a_configuration_is_named_in_one_line");
const BROKEN_SOCKETS: &str = "crates/ingress/tests/http/broken_sockets.rs";
const OVER_HTTP: (&str, &str) =
    ("flows/isolation.rs", "over_http_what_is_anothers_looks_like_what_does_not_exist");

/// Over HTTP.
const HTTP: &[Case] = &[
    (
        1,
        "no token",
        &[TOKENS, ("crates/ingress/tests/http/door.rs", "nothing_of_a_user_is_shown_without_a_token")],
    ),
    (2, "a token in a wrong place, or two", &[TOKENS]),
    (3, "a token of yesterday or tomorrow", &[CLAIMS]),
    (4, "a token of another algorithm or key, or with a key of its own", &[HEADERS, TOKENS]),
    (5, "an end that is no time", &[CLAIMS]),
    (6, "a token for somebody else, or of another kind", &[CLAIMS, HEADERS]),
    (7, "a token longer than any", &[("http.rs", "a_token_longer_than_any_is_refused"), HEADERS]),
    (8, "a token of a user who is out", &[("flows/sessions.rs", "a_disabled_user_is_out_within_a_minute")]),
    (9, "an id of somebody else's", &[OVER_HTTP]),
    (
        10,
        "an id in another form",
        &[("http.rs", TABLE), ("crates/ingress/tests/http/door.rs", "what_is_not_an_id_names_nothing")],
    ),
    (
        11,
        "an unknown path or method",
        &[
            ("http.rs", TABLE),
            FRAMING,
            ("crates/ingress/tests/http/door.rs", "an_unknown_path_and_a_wrong_method_are_told_apart"),
        ],
    ),
    (12, "a body that is no JSON, or two", &[("http.rs", TABLE), BODIES]),
    (13, "a body that is missing or no object", &[BODIES]),
    (14, "fields that are not the sender's to say", &[("http.rs", TABLE), BODIES]),
    (15, "a field twice", &[BODIES]),
    (16, "arrays within arrays", &[("http.rs", TABLE)]),
    (17, "a value of another type, a number that is none", &[("http.rs", TABLE), BODIES]),
    (
        18,
        "a body of another media type",
        &[MEDIA, ("flows/bodies.rs", "a_body_is_bounded_declared_and_plain")],
    ),
    (19, "only HTML is wanted", &[("http.rs", TABLE)]),
    (20, "a packed body", &[MEDIA]),
    (
        21,
        "a body too large, announced or endless",
        &[
            FRAMING,
            ("flows/bodies.rs", "a_body_is_bounded_declared_and_plain"),
            (
                "crates/ingress/tests/http/connections.rs",
                "an_endless_body_is_cut_at_the_bound_and_its_sender_hears_why",
            ),
        ],
    ),
    (22, "a body whose length is in doubt", &[FRAMING]),
    (
        23,
        "no host, two, or another one",
        &[FRAMING, ("crates/ingress/src/head.rs", "a_request_names_one_host")],
    ),
    (
        24,
        "headers too many, too large or malformed",
        &[FRAMING, ("crates/ingress/tests/http/heads.rs", "a_request_has_64_headers_of_16_kib_at_most")],
    ),
    (
        25,
        "an address too long, or written strangely",
        &[
            ("http.rs", TABLE),
            FRAMING,
            ("crates/ingress/tests/http/heads.rs", "an_address_has_8_kib_at_most"),
            ("crates/ingress/tests/http/door.rs", "what_is_not_an_id_names_nothing"),
        ],
    ),
    (
        26,
        "a connection that is held and not used",
        &[
            ("crates/ingress/tests/http/stalls.rs", "a_connection_that_is_not_used_is_closed"),
            ("crates/ingress/tests/http/stalls.rs", "a_second_head_has_its_own_time"),
            ("crates/ingress/tests/http/stalls.rs", "a_client_that_takes_nothing_of_its_answers_is_cut_off"),
        ],
    ),
    (
        27,
        "a connection too many",
        &[
            (
                "crates/ingress/tests/http/connections.rs",
                "one_connection_too_many_is_told_so_and_the_others_live",
            ),
            ("crates/ingress/src/slots.rs", "one_too_many_is_refused_until_one_leaves"),
        ],
    ),
    (28, "a message without a visible character", &[BODIES]),
    (29, "a message as long as it may be", &[("http.rs", TABLE), BODIES]),
    (30, "text that is no Unicode, or holds NUL", &[BODIES]),
    (
        31,
        "text that means something elsewhere",
        &[
            ("flows/bodies.rs", "text_is_kept_as_it_was_sent"),
            ("http.rs", "marks_that_pile_up_are_kept_as_they_are"),
        ],
    ),
    (32, "characters of four bytes at a bound", &[("http.rs", TABLE)]),
    (
        44,
        "a page that is none",
        &[
            ("flows/lists.rs", "a_limit_out_of_range_is_refused"),
            ("flows/lists.rs", "a_cursor_of_another_list_is_refused"),
            ("crates/wire/src/page.rs", "a_cursor_is_good_for_its_own_list_only"),
        ],
    ),
    (48, "names too long, twice, and versions forced", &[("http.rs", TABLE), BODIES]),
    (
        49,
        "a change from a stale version",
        &[("flows/prompts.rs", "a_change_from_a_stale_version_is_refused")],
    ),
    (50, "two changes at once", &[("flows/prompts.rs", "parallel_changes_make_as_many_versions")]),
    (51, "a conversation in somebody else's project", &[OVER_HTTP]),
    (
        52,
        "an address that is taken",
        &[
            ("http.rs", "an_address_that_is_taken_is_told_like_any_other_mistake"),
            ("flows/accounts.rs", "an_address_is_taken_in_any_case"),
        ],
    ),
    (53, "an address or a password that is none", &[("http.rs", TABLE), BODIES]),
    (54, "a wrong login", &[("flows/accounts.rs", "a_wrong_password_and_an_unknown_address_look_alike")]),
    (
        55,
        "a login too often",
        &[
            ("flows/sessions.rs", "guessing_a_password_is_slowed_down"),
            ("flows/limits.rs", "an_address_is_held_to_its_limit"),
        ],
    ),
    (
        56,
        "more logins than can be checked",
        &[("crates/auth/src/password/pool.rs", "beyond_the_queue_it_is_busy_at_once")],
    ),
    (
        57,
        "a refresh token that is used, wrong or none",
        &[
            ("flows/sessions.rs", "what_is_no_refresh_token_is_refused"),
            ("flows/sessions.rs", "a_token_shown_again_too_late_ends_its_session"),
        ],
    ),
    (
        58,
        "two refreshes at once",
        &[("flows/sessions.rs", "two_refreshes_at_a_time_bring_the_same_successor")],
    ),
    (59, "a token of a session that has ended", &[("flows/sessions.rs", "a_logout_ends_one_session")]),
    (
        60,
        "an event id that is forged",
        &[
            ("http.rs", TABLE),
            ("crates/ingress/src/stream/position.rs", "a_reader_says_once_where_it_is"),
            (
                "crates/ingress/src/stream/frames/tests.rs",
                "a_reader_who_saw_what_was_never_told_is_found_out",
            ),
        ],
    ),
    (
        61,
        "a stream too many, or one that nobody reads or may read",
        &[
            ("flows/streams.rs", "so_many_streams_may_be_open"),
            ("flows/streams.rs", "a_stream_ends_with_its_credential"),
            ("crates/ingress/tests/http/streams.rs", "who_never_reads_is_given_up_and_others_go_on"),
        ],
    ),
    (
        62,
        "a socket for a foreign page, another protocol, with a token in its address",
        &[
            (BROKEN_SOCKETS, "a_socket_is_refused_before_it_opens"),
            ("crates/ingress/src/websocket/handshake.rs", "a_token_is_shown_in_one_way_or_not_at_all"),
            ("crates/ingress/src/cors.rs", "a_socket_is_for_programs_own_pages_and_those_let_in"),
        ],
    ),
    (
        63,
        "what is no message of a socket",
        &[(BROKEN_SOCKETS, "what_is_no_message_ends_the_socket_with_its_code")],
    ),
    (
        64,
        "over a socket: what is somebody else's, and too much",
        &[
            ("flows/sockets.rs", "what_is_anothers_is_not_there"),
            ("crates/ingress/tests/http/sockets.rs", "a_user_says_so_much_in_a_minute"),
        ],
    ),
    (
        65,
        "a socket without a token, or with nobody behind it",
        &[
            (BROKEN_SOCKETS, "whoever_does_not_say_who_they_are_is_turned_away"),
            (BROKEN_SOCKETS, "who_answers_no_ping_is_left"),
        ],
    ),
    (
        66,
        "headers that say who asks",
        &[
            ("http.rs", "no_header_but_the_token_says_who_asks"),
            ("flows/accounts.rs", "an_answer_names_its_request"),
            ("flows/limits.rs", "only_a_trusted_proxy_names_the_client"),
            ("crates/ingress/src/exchange.rs", "a_usable_name_is_kept_and_any_other_replaced"),
        ],
    ),
    (
        68,
        "what machines ask, asked by anybody",
        &[
            ("http.rs", "what_machines_ask_about_holds_nobodys_secrets"),
            ("crates/ingress/tests/http/heads.rs", "strangers_hear_whether_we_are_well_and_no_more"),
            ("crates/ingress/tests/http/heads.rs", "a_proxy_that_is_not_named_speaks_for_strangers"),
        ],
    ),
];

/// Over NATS.
const NATS: &[Case] = &[
    (69, "a body that is no message of its encoding", &[("nats.rs", TABLE)]),
    (
        70,
        "nothing, and no way to answer",
        &[("nats.rs", TABLE), ("flows/nats_door.rs", "an_answer_goes_to_an_inbox_of_the_caller_or_nowhere")],
    ),
    (71, "a message too large", &[("nats.rs", TABLE), ("nats.rs", "what_is_not_nats_is_turned_away")]),
    (72, "a subject of somebody else's", &[("flows/hostile_users.rs", "nobody_speaks_for_others")]),
    (73, "tokens that are no ids", &[("nats.rs", TABLE)]),
    (
        74,
        "an answer wanted elsewhere",
        &[("flows/hostile_users.rs", "no_answer_goes_where_its_asker_may_not_publish")],
    ),
    (
        75,
        "headers that streams obey",
        &[
            ("nats.rs", "headers_that_streams_obey_are_only_headers"),
            ("flows/hostile_users.rs", "nobody_reaches_the_queue_by_a_header"),
        ],
    ),
    (76, "headers that say who asks", &[("nats.rs", "a_header_does_not_say_who_asks")]),
    (
        77,
        "headers too many or too large",
        &[("nats.rs", TABLE), ("nats.rs", "what_is_not_nats_is_turned_away")],
    ),
    (78, "an operation that is none", &[("nats.rs", TABLE)]),
    (
        79,
        "a subscription to what is somebody else's",
        &[
            ("nats.rs", "what_is_not_nats_is_turned_away"),
            ("flows/hostile_users.rs", "nobody_listens_to_others"),
        ],
    ),
    (80, "JetStream's API, and acknowledgements", &[("flows/hostile_users.rs", "nobody_speaks_for_others")]),
    (
        81,
        "subscriptions, connections and messages without end",
        &[
            ("flows/hostile_users.rs", "a_subscription_too_many_is_refused"),
            ("floods.rs", "a_connection_too_many_is_refused"),
            ("floods.rs", "a_flood_of_one_user_is_refused_to_that_one"),
        ],
    ),
    (82, "a subscriber who never reads", &[("floods.rs", "who_does_not_read_is_cut_off")]),
    (83, "bytes that are not NATS's", &[("nats.rs", "what_is_not_nats_is_turned_away")]),
];

/// In the configuration, of servers and in migrations.
const START: &[Case] = &[
    (89, "what is needed is missing", &[CONFIGURATION]),
    (90, "a secret that is weak", &[CONFIGURATION]),
    (91, "a key file that is unfit", &[("keys.rs", "a_key_file_holds_one_good_key_of_its_owners_alone")]),
    (
        92,
        "a number that is none or out of range",
        &[CONFIGURATION, ("configuration.rs", "every_number_of_the_configuration_is_checked")],
    ),
    (93, "a variable with a slip in its name", &[CONFIGURATION]),
    (
        94,
        "a provider at a private address, or with a secret in it",
        &[("configuration.rs", "a_provider_has_a_public_address_without_secrets")],
    ),
    (95, "a server that is not there", &[("servers.rs", "a_server_that_is_not_there_is_waited_for")]),
    (
        96,
        "a NATS server that cannot carry the queue",
        &[("servers.rs", "a_nats_server_that_cannot_carry_the_queue_is_refused")],
    ),
    (
        97,
        "a Postgres that cannot hold the record",
        &[
            ("servers.rs", "a_postgres_that_cannot_hold_the_record_is_refused"),
            ("servers.rs", "a_postgres_that_may_lose_what_it_committed_is_told_apart"),
            ("crates/host/src/postgres/server.rs", "a_server_that_does_not_suit_is_told_why"),
        ],
    ),
    (
        98,
        "a schema of another program, or half of one",
        &[
            ("schema.rs", "a_schema_of_another_program_is_neither_served_nor_migrated"),
            ("schema.rs", "an_older_schema_is_told_with_both_versions"),
            ("schema.rs", "a_migration_that_failed_half_way_is_resumed"),
        ],
    ),
    (99, "two migrations at once", &[("schema.rs", "two_that_migrate_at_once_are_one_after_the_other")]),
    (
        100,
        "a migration of a table in use",
        &[("schema.rs", "a_migration_gives_up_on_a_lock_and_is_run_again")],
    ),
    (
        101,
        "a migration that cannot be finished",
        &[("schema.rs", "a_migration_that_failed_half_way_is_resumed")],
    ),
    (
        102,
        "rows that a migration cannot keep",
        &[("crates/host/tests/migrations.rs", "duplicates_stop_a_migration_and_stay")],
    ),
    (103, "a file that became unfit", &[("reload.rs", "a_bad_file_is_told_and_changes_nothing")]),
];

fn all() -> impl Iterator<Item = &'static Case> {
    [HTTP, NATS, START].into_iter().flatten()
}

fn read(file: &str) -> String {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = match file.split_once('/') {
        None => here.join("tests/cases").join(file),
        Some(("crates", rest)) => here.join("..").join(rest),
        Some(_) => here.join("tests").join(file),
    };
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A function that is run as a test: by an attribute right above it, or in both layouts.
fn is_test(text: &str, name: &str) -> bool {
    let Some((above, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    let attributes = above.trim_end().trim_end_matches("async").trim_end();
    let attributed =
        attributes.rsplit('\n').next().is_some_and(|line| line.contains("test") && line.contains("#["));
    let twice = text.split("both_layouts![").nth(1).and_then(|rest| rest.split(']').next());
    attributed || twice.is_some_and(|names| names.split([',', '\n', ' ']).any(|listed| listed == name))
}

#[test]
fn every_case_is_held_by_tests_that_are_there() {
    let mut wrong = Vec::new();
    for (number, what, tests) in all() {
        for (file, name) in *tests {
            let text = read(file);
            if !is_test(&text, name) {
                wrong.push(format!("case {number}, {what}: {file} has no test {name}"));
            }
            let rows = [format!("({number},"), format!("Case {number}"), format!("Cases {number}")];
            let written = text.split_whitespace().collect::<String>();
            let told = rows.iter().any(|row| written.contains(&row.replace(' ', "")));
            if !file.contains('/') && *name == TABLE && !told {
                wrong.push(format!("case {number}, {what}: {file} has no row of it"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

#[test]
fn every_case_is_listed_once_and_in_order() {
    let numbers: Vec<_> = all().map(|(number, ..)| *number).collect();
    assert!(
        numbers.is_sorted() && numbers.iter().collect::<BTreeSet<_>>().len() == numbers.len(),
        "{numbers:?}"
    );
    assert!(all().all(|(_, what, tests)| !what.is_empty() && !tests.is_empty()));
}

/// The other way round: a row of a table that the catalogue does not know would be found by nobody.
#[test]
fn every_row_of_a_table_is_in_the_catalogue() {
    const NUMBERS: std::ops::Range<u16> = 1..200; // statuses are larger
    let tables =
        ["http.rs", "framing.rs", "nats.rs", "configuration.rs", "servers.rs", "keys.rs", "schema.rs"];
    for file in tables {
        let text = read(file);
        let first =
            |call: &str| call.split(',').next()?.trim().parse().ok().filter(|it| NUMBERS.contains(it));
        let rows: BTreeSet<u16> = text.split('(').filter_map(first).collect();
        let listed: BTreeSet<_> = all()
            .filter(|(.., tests)| tests.iter().any(|(other, _)| *other == file))
            .map(|(number, ..)| *number)
            .collect();
        assert!(!rows.is_empty(), "{file} has no rows");
        assert!(rows.is_subset(&listed), "{file}: {rows:?} are not all listed with it: {listed:?}");
    }
}
