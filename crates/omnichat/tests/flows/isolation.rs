//! What is somebody else's looks exactly like what does not exist: every operation over NATS and every route over HTTP,
//! with every kind of id that is not one's own in every place where an id stands.
//!
//! - `rows`: the requests, one per operation and route; a test says which one is missing
//! - `things`: what a user has, and the kinds of ids that they do not have
//! - `doors`: both ways to ask, and all of an answer that can be compared

mod doors;
mod rows;
mod things;

use serde_json::Value;
use testkit::{Layout, User, World, both_layouts};

use self::{
    doors::{Door, Shown},
    rows::{OPERATIONS, ROUTES, Row},
    things::{Ids, Kind, Things},
};
use crate::world;

both_layouts![
    over_http_what_is_anothers_looks_like_what_does_not_exist,
    over_nats_what_is_anothers_looks_like_what_does_not_exist,
    lists_hold_ones_own_things_alone,
];

async fn over_http_what_is_anothers_looks_like_what_does_not_exist(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    every_row(&world, &ana, &bob, ROUTES, &Door::Http(bob.clone())).await;
}

async fn over_nats_what_is_anothers_looks_like_what_does_not_exist(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let door = Door::Nats(world.nats_as(&bob).await, bob.id.clone());
    every_row(&world, &ana, &bob, OPERATIONS, &door).await;
}

/// Asks for Ana's things in the place of Bob, in every way there is.
async fn every_row(world: &World, ana: &User, bob: &User, rows: &[Row], door: &Door) {
    let (hers, his) = (Things::of(ana).await, Things::of(bob).await);
    let kinds = Kind::all(ana, &hers, bob).await;
    let nothing = Ids::of_nothing();
    let (before, calls) = (record(world).await, world.provider().calls().len());

    let mut wrong = Vec::new();
    let mut asked = 0;
    for row in rows {
        for strangers in row.choices() {
            for kind in kinds.iter().filter(|kind| kind.fits(row, &strangers)) {
                let foreign = row.filled(&his.ids.with(&strangers, &kind.ids));
                let missing = row.filled(&his.ids.with(&strangers, &nothing));
                let (found, expected) = (door.ask(&foreign).await, door.ask(&missing).await);
                asked += 1;
                wrong
                    .extend(difference(row, &found, &expected, &hers).map(|difference| {
                        format!("{row} with {} as {strangers:?}: {difference}", kind.name)
                    }));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n  {}\n", wrong.len(), wrong.join("\n  "));
    assert!(asked > 4 * rows.len(), "{asked} questions are too few to say anything");
    assert_eq!(record(world).await, before, "nothing that is recorded has changed");
    assert_eq!(world.provider().calls().len(), calls, "nobody has called a model");
}

fn difference(row: &Row, found: &Shown, expected: &Shown, hers: &Things) -> Option<String> {
    if found != expected {
        return Some(format!("{found:?}\n    and not {expected:?}"));
    }
    if found.status != row.status {
        return Some(format!("{found:?}\n    which is not {}", row.status));
    }
    found.holds(&hers.canary).then(|| format!("tells a word of hers: {found:?}"))
}

/// Every row of every table, but what notes how often a session or key was used.
async fn record(world: &World) -> Vec<(String, Value)> {
    let tables = "select table_name::text from information_schema.tables
        where table_schema = 'public' and table_type = 'BASE TABLE' order by 1";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(world.sql()).await.unwrap();
    let mut record = Vec::new();
    for table in tables {
        let rows = format!("select coalesce(jsonb_agg(t order by t::text), '[]') from {table} t");
        let rows: Value = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(world.sql()).await.unwrap();
        record.push((table, rows));
    }
    assert!(record.len() > 5, "{record:?}");
    record
}

async fn lists_hold_ones_own_things_alone(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let hers = Things::of(&ana).await;
    let his = Things::of(&bob).await;
    let nats = Door::Nats(world.nats_as(&bob).await, bob.id.clone());
    for (rows, door) in [(ROUTES, Door::Http(bob.clone())), (OPERATIONS, nats)] {
        let mut seen = 0;
        for row in rows.iter().filter(|row| row.reads) {
            let shown = door.ask(&row.filled(&his.ids)).await;
            assert_eq!(shown.status, 200, "{row}: {shown:?}");
            assert!(!shown.holds(&hers.canary), "{row} tells a word of hers: {shown:?}");
            assert!(!shown.holds(&ana.id), "{row} tells who she is: {shown:?}");
            seen += usize::from(shown.holds(&his.canary));
        }
        assert!(seen >= 8, "his own words were seen in {seen} answers only");
    }
}

/// An operation is in `OPERATIONS`, or no id of a thing can stand in its request.
#[test]
fn every_operation_has_a_row() {
    let guarded = wire::operations::ALL.iter().filter(|info| info.is_guarded());
    let missing: Vec<_> = guarded
        .filter(|info| !OPERATIONS.iter().any(|row| row.name == info.name && row.target == info.pattern))
        .map(|info| format!("{} {}", info.name, info.pattern))
        .collect();
    assert!(
        missing.is_empty(),
        "add a row with a request to OPERATIONS in tests/flows/isolation/rows.rs for\n  {}",
        missing.join("\n  ")
    );
    for row in OPERATIONS {
        assert!(wire::operations::ALL.iter().any(|info| info.name == row.name), "{row} is no operation");
    }
}

/// A route is in `ROUTES`, if it shows something or takes an id.
#[test]
fn every_route_has_a_row() {
    let document: Value = serde_json::from_str(ingress::openapi::document()).unwrap();
    let routes = document["paths"].as_object().unwrap().iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (method.to_uppercase(), path, operation))
    });
    let guarded = routes.filter(|(.., operation)| operation["security"] != Value::Array(Vec::new()));
    let missing: Vec<_> = guarded
        .filter(|(method, path, operation)| {
            let taken = [&operation["parameters"], &operation["requestBody"]].map(Value::to_string).concat();
            let takes_id = path.contains('{') || taken.contains("_id");
            (takes_id || method == "GET") && !ROUTES.iter().any(|row| row.name == method && is_of(path, row))
        })
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    assert!(
        missing.is_empty(),
        "add a row with a request to ROUTES in tests/flows/isolation/rows.rs for\n  {}",
        missing.join("\n  ")
    );
}

/// Whether the row asks this path; a label or version in it is one that is there.
fn is_of(path: &str, row: &Row) -> bool {
    let target = row.target.split('?').next().unwrap();
    let (parts, given): (Vec<_>, Vec<_>) = (path.split('/').collect(), target.split('/').collect());
    let fits = |(part, given): (&&str, &&str)| part == given || ["{label}", "{version}"].contains(part);
    parts.len() == given.len() && parts.iter().zip(&given).all(fits)
}
