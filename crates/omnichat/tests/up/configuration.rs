//! A wrong configuration ends a process before it begins, with one line that names the key and never the value.

use testkit::folder::Folder;

use crate::installation::{omnichat, run};

/// Arguments, variables, and what the line must name.
type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

const CASES: [Case; 8] = [
    (&["serve"], &[("OMNICHAT__HTTP__LISTEN", "s3cret")], "http.listen"),
    (&["serve"], &[("OMNICHAT__HTTP__LISTN", "s3cret")], "http.listn"),
    (&["serve"], &[("OMNICHAT__CHAT__IDLE_S", "0")], "chat.idle_s"),
    (&["serve", "auth"], &[("JWT_SECRET", "s3cret")], "identity.jwt_secret"),
    (&["serve", "auth"], &[], "identity.jwt_secret"),
    (&["serve", "chat"], &[("LLM_PROVIDER", "s3cret")], "llm.provider"),
    (
        &["serve", "chat"],
        &[
            ("OMNICHAT__PROVIDERS__MINE__KIND", "openai-compatible"),
            ("OMNICHAT__PROVIDERS__MINE__BASE_URL", "http://s3cret.example.org/v1"),
            ("LLM_MODEL", "m"),
        ],
        "providers.mine.base_url",
    ),
    (&["up", "--config", "nowhere.toml"], &[], "nowhere.toml"),
];

#[test]
fn a_wrong_configuration_is_named_in_one_line() {
    let folder = Folder::new("configuration");
    for (arguments, variables, key) in CASES {
        let mut command = omnichat();
        let output = run(command.args(arguments).envs(variables.iter().copied()).current_dir(folder.path()));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?} {variables:?}: {text}");
        assert!(text.contains(key) && text.lines().count() == 1, "{key}: {text}");
        assert!(!text.contains("s3cret"), "{key}: {text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_wrong_command_line_is_wrong_usage() {
    for arguments in [&["serve", "nobody"][..], &["dance"], &["up", "--http", "nowhere"], &[]] {
        assert_eq!(run(omnichat().args(arguments)).status.code(), Some(64), "{arguments:?}");
    }
    assert!(run(omnichat().arg("--version")).status.success());
}

#[test]
fn chat_without_a_provider_says_what_to_set() {
    let folder = Folder::new("configuration");
    let mut command = omnichat();
    command.args(["serve", "chat"]).env("JWT_SECRET", "x".repeat(32)).current_dir(folder.path());
    let output = run(&mut command);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("OPENAI_API_KEY") && text.lines().count() == 1, "{text}");
}
