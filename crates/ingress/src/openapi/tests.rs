//! The document against the tables that it is made of, and that nothing in it is left unsaid.

use std::collections::BTreeSet;

use wire::{FaultCode, operations};

use super::*;

fn read() -> Value {
    serde_json::from_str(document()).unwrap()
}

/// Every operation of the document, by method and path.
fn described(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    })
}

fn operation<'a>(document: &'a Value, entry: &Entry) -> &'a Value {
    &document["paths"][entry.path][entry.method.to_lowercase()]
}

#[test]
fn every_route_is_described_and_no_other() {
    let document = read();
    let (mut routes, mut names) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries() {
        assert!(routes.insert(format!("{} {}", entry.method, entry.path)), "{} is there twice", entry.path);
        assert!(names.insert(entry.name()), "{} is there twice", entry.name());
        assert_eq!(operation(&document, entry)["operationId"], entry.name());
    }
    assert_eq!(described(&document).map(|(route, _)| route).collect::<BTreeSet<_>>(), routes);
}

/// What users can do over NATS they can do over HTTP. A turn is found by its key by repeating the send.
#[test]
fn every_operation_of_users_has_a_route() {
    let public = operations::ALL.iter().filter(|info| !info.is_internal()).map(|info| info.name);
    let routed: BTreeSet<_> = entries().filter_map(|entry| Some(entry.operation()?.name)).collect();
    let missing: Vec<_> = public.filter(|name| !routed.contains(name)).collect();
    assert_eq!(missing, ["FIND_TURN"]);
}

#[test]
fn every_answer_is_described_with_all_codes_that_it_may_have() {
    let document = read();
    for entry in entries() {
        let responses = operation(&document, entry)["responses"].as_object().unwrap();
        let mut told = BTreeSet::new();
        for response in responses.values() {
            let place = response["$ref"].as_str().map(|reference| document.pointer(&reference[1..]).unwrap());
            let problem = &place.unwrap_or(response)["content"]["application/problem+json"];
            let codes = problem["schema"]["allOf"][1]["properties"]["code"]["enum"].as_array();
            told.extend(codes.into_iter().flatten().map(|code| code.as_str().unwrap()));
        }
        let own = entry.faults();
        let unwell = matches!(entry.does, crate::route::Does::Tell(told) if told.or_503);
        // There the status has two forms, and the process's own is the one to read.
        let own = own.iter().filter(|code| !unwell || code.status() != 503);
        assert_eq!(told, own.map(|code| code.as_str()).collect(), "{} {}", entry.method, entry.path);
        let mut statuses: BTreeSet<_> = entry.faults().iter().map(|code| code.status().to_string()).collect();
        statuses.insert(success(entry).to_owned());
        statuses.extend(entry.waits_for_turn.then(|| "202".to_owned()));
        assert_eq!(responses.keys().cloned().collect::<BTreeSet<_>>(), statuses);
    }
}

fn success(entry: &Entry) -> &'static str {
    if entry.is_socket() { "101" } else { "200" }
}

/// Those that are not: a path or method that is no route's.
#[test]
fn every_fault_is_some_routes() {
    let told: Vec<_> = entries().flat_map(Entry::faults).collect();
    let missing: Vec<_> = FaultCode::ALL.iter().filter(|code| !told.contains(code)).collect();
    assert_eq!(missing, [&FaultCode::MethodNotAllowed]);
}

#[test]
fn everything_says_what_it_is_and_how_it_looks() {
    let document = read();
    let mut silent = Vec::new();
    for (route, operation) in described(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            check(&mut silent, &route, parameter);
        }
        let success = if route == "GET /ws" { "101" } else { "200" };
        for content in [&operation["requestBody"], &operation["responses"][success]] {
            let json = &content["content"]["application/json"];
            if json.is_object()
                && json["example"].is_null()
                && !["GET /openapi.json", "GET /ws"].contains(&&*route)
            {
                silent.push(format!("{route}: no example"));
            }
            properties(&mut silent, &route, &json["schema"]);
        }
        if !operation["summary"].is_string() || !operation["responses"][success]["description"].is_string() {
            silent.push(format!("{route}: no summary"));
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        check(&mut silent, name, schema);
        properties(&mut silent, name, schema);
    }
    assert!(silent.is_empty(), "without a description:\n  {}\n", silent.join("\n  "));
}

fn check(silent: &mut Vec<String>, of: &str, part: &Value) {
    if part["description"].as_str().is_none_or(str::is_empty) {
        silent.push(format!("{of}: {part}"));
    }
}

fn properties(silent: &mut Vec<String>, of: &str, schema: &Value) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        check(silent, &format!("{of}.{name}"), property);
        properties(silent, &format!("{of}.{name}"), property);
    }
    if schema["items"].is_object() {
        properties(silent, of, &schema["items"]);
    }
}

/// Requests and replies are described apart, and then share one list of types: by a name both must mean the same.
#[test]
fn a_type_that_is_read_and_written_looks_the_same() {
    let mut components = Components {
        requests: Collection::of_requests(),
        replies: Collection::of_replies(),
        faults: Map::new(),
    };
    entries().for_each(|entry| drop(operation::operation(entry, &mut components)));
    let requests = components.requests.definitions();
    let both: Vec<_> = components
        .replies
        .definitions()
        .into_iter()
        .filter(|(name, _)| requests.contains_key(name))
        .collect();
    assert!(!both.is_empty());
    for (name, schema) in both {
        assert_eq!(schema, requests[&name], "{name}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| match value.as_str() {
                Some(reference) if name == "$ref" => found.push(reference),
                _ => references(value, found),
            }),
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = read();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
}

#[test]
fn a_link_fills_in_all_that_its_target_needs() {
    let document = read();
    let mut made = BTreeSet::new();
    for (route, operation) in described(&document) {
        for link in operation["responses"]["200"]["links"].as_object().into_iter().flat_map(Map::values) {
            let target = entries().find(|entry| link["operationId"] == entry.name()).unwrap();
            for name in target.parameters().filter(|name| !["label", "version"].contains(name)) {
                assert!(link["parameters"][name].is_string(), "{route}: {name}");
            }
            made.insert(route.clone());
        }
    }
    let makers =
        ["POST /auth/api-keys", "POST /conversations", "POST /conversations/{conversation}/messages"];
    let others = ["POST /projects", "POST /projects/{project}/prompts"];
    assert_eq!(made, makers.into_iter().chain(others).map(str::to_owned).collect());
}
