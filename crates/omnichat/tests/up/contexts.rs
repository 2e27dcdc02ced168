//! Contexts for the nats CLI, as `omnichat nats context save` writes them.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};
use testkit::{RawNats, Stranger, User};

use crate::installation::{Installation, omnichat, run};

#[tokio::test]
async fn a_context_has_all_that_the_nats_cli_needs() {
    let mut machine = Installation::new();
    let up = machine.up().await;
    let ana = User::register(&up.client()).await;
    let folder = machine.data_dir().join("xdg");
    let save = |arguments: &[&str], token: &str| {
        let mut command = omnichat();
        command.args(["nats", "context", "save"]).args(arguments);
        command.arg("--data-dir").arg(machine.data_dir()).env("XDG_CONFIG_HOME", &folder);
        run(command.env("OMNICHAT_TOKEN", token))
    };
    let read = |name: &str| -> Value {
        let path = folder.join("nats/context").join(format!("{name}.json"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "a secret is in it");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let field = |context: &Value, name: &str| context[name].as_str().unwrap().to_owned();

    let saved = save(&[], &ana.token);
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    assert!(String::from_utf8_lossy(&saved.stdout).contains("nats --context omnichat req"));
    let context = read("omnichat");
    assert_eq!(context["url"], up.run["nats"]);
    let inboxes = field(&context, "inbox_prefix");
    let nats =
        Stranger::with_token(&field(&context, "url"), &field(&context, "token"), &inboxes).await.unwrap();
    let me = nats.request(&format!("omnichat.v1.u.{}.account.get", ana.id), &[], "").await.json();
    assert_eq!(me["id"], json!(ana.id));

    for staff in ["operator", "inspector"] {
        assert!(save(&[staff, "--as", staff], "").status.success());
        let context = read(staff);
        let login = json!({ "user": context["user"], "pass": context["password"] });
        let mut nats = RawNats::with(&field(&context, "url"), &login).await.unwrap();
        assert_eq!(nats.subscribe(&format!("{}.>", field(&context, "inbox_prefix")), "").await, None);
    }
    let refused = save(&["bad"], "garbage");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("not good") && !told.contains("garbage"), "{told}");
    assert!(!save(&["../up"], &ana.token).status.success(), "a name is no path");
}

/// What compose and operators paste is what the program prints.
#[test]
fn keys_are_variables_of_both_sides() {
    let made = run(omnichat().args(["nats", "keys"]));
    let text = String::from_utf8(made.stdout).unwrap();
    let names: Vec<_> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
    let begins = [
        ("OMNICHAT__NATS__CALLOUT__ISSUER_SEED", "SA"),
        ("OMNICHAT__NATS__CALLOUT__CURVE_SEED", "SX"),
        ("OMNICHAT_NATS_CALLOUT_ISSUER", "A"),
        ("OMNICHAT_NATS_CALLOUT_CURVE", "X"),
    ];
    assert_eq!(names.len(), begins.len());
    for ((name, value), (wanted, begin)) in names.iter().zip(begins) {
        assert!(*name == wanted && value.starts_with(begin), "{name}");
    }
    let again = run(omnichat().args(["nats", "keys"]));
    assert_ne!(text.as_bytes(), again.stdout);
}
