//! `subjects.md` against the catalogue of `wire`.

use wire::{OperationInfo, Scope, operations, subject};

use crate::tree;

fn operation(info: &OperationInfo) -> String {
    let OperationInfo { name, service, pattern, summary, scope, request, reply, .. } = info;
    let (service, scope) = (service.name(), scope.map_or("–", Scope::as_str));
    format!("| `{name}` | `{pattern}` | {service} | {scope} | `{request}` → `{reply}` | {summary} |")
}

fn channel(channel: &subject::Channel) -> String {
    let subject::Channel { pattern, from, to, summary } = channel;
    format!("| `{pattern}` | {from} | {to} | {summary} |")
}

fn expect(name: &str, head: &str, rows: Vec<String>) {
    let table = format!("{head}\n{}\n", rows.join("\n"));
    let paper = tree::read("subjects.md");
    let found = tree::block(&paper, name);
    assert!(found == table, "subjects.md: write this between the comments of {name:?}:\n\n{table}");
}

#[test]
fn the_catalogue_lists_every_operation() {
    let head = "| operation | subject | service | scope | request → reply | what it does |\n|---|---|---|---|---|---|";
    expect("operations", head, operations::ALL.iter().map(operation).collect());
}

#[test]
fn the_catalogue_lists_every_other_subject() {
    let head = "| subject | from | to | what travels there |\n|---|---|---|---|";
    expect("channels", head, subject::CHANNELS.iter().map(channel).collect());
}

#[test]
fn no_two_operations_share_a_name_or_a_subject() {
    for (number, info) in operations::ALL.iter().enumerate() {
        for other in &operations::ALL[..number] {
            assert_ne!(info.name, other.name);
            assert_ne!(info.wildcard(), other.wildcard());
        }
    }
}

/// The broker lets in what `nats/permissions.conf` names, so an operation that it does not name would be silent.
#[test]
fn every_operation_is_let_through_to_its_service() {
    let permissions = tree::read("nats/permissions.conf");
    for info in operations::ALL {
        let role = info.service.name().trim_start_matches("omnichat-").to_uppercase();
        let (_, section) = permissions.split_once(&format!("\n{role}: {{")).unwrap();
        let (_, subscribe) = section.split_once("subscribe:").unwrap();
        let allowed = subscribe.split("] }").next().unwrap().split('"').skip(1).step_by(2);
        let subject = info.wildcard();
        assert!(
            allowed.into_iter().any(|pattern| covers(pattern, &subject)),
            "{role} may not subscribe {subject}"
        );
    }
}

fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[test]
fn a_pattern_covers_what_the_broker_says_it_covers() {
    assert!(covers("omnichat.v1.u.*.turns.>", "omnichat.v1.u.*.turns.*.get"));
    assert!(covers("a.*", "a.b") && !covers("a.*", "a") && !covers("a.*", "a.b.c"));
    assert!(!covers("a.>", "a") && !covers("a.b", "a.c"));
}
