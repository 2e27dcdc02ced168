//! `benches quota`: three workers share what a provider allows to a key. How near to the limits they come, whether they ever go
//! beyond, and how soon the others take over the part of one that is killed.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use llm::simulator::Call;
use serde_json::json;
use testkit::{Layout, Role, Signal, User, World};
use time::OffsetDateTime;
use tokio::{task::JoinSet, time::sleep};

use crate::{cli::QuotaOptions, machine::Machine, say, stack};

const REQUESTS_PER_MIN: u32 = 600;
const TOKENS_PER_MIN: u32 = 60_000;
/// The window that a provider looks at.
const MINUTE: Duration = Duration::from_secs(60);
/// Until every worker knows the others and the line is there.
const WARM_UP: Duration = Duration::from_secs(10);
/// By then the others must have taken over.
const TAKEN_OVER: Duration = Duration::from_secs(5);

/// What came of one load.
struct Reached {
    name: &'static str,
    calls: usize,
    densest: [u64; 2],
    /// Of the limit that binds, in the minute after the warm-up, and in the one that begins five seconds after the kill.
    shares: [f64; 2],
}

/// Prints the report.
pub async fn run(options: &QuotaOptions) -> anyhow::Result<()> {
    let program = stack::find_program(options.binary.as_deref())?;
    let machine = Machine::look(&program);
    let program: &'static str = program.to_str().context("the program's path is no text")?.to_owned().leak();
    let mut reached = Vec::new();
    // With the question's words some 90 tokens a call, and some 240.
    for (name, words, binds) in [("requests bind", 60, 0), ("tokens bind", 210, 1)] {
        reached.push(load(program, options.senders, name, words, binds).await?);
    }
    print(&machine, options, &reached);
    Ok(())
}

async fn load(
    program: &'static str,
    senders: u16,
    name: &'static str,
    words: u32,
    binds: usize,
) -> anyhow::Result<Reached> {
    say(&format!("{name}: starting the servers, and three workers …"));
    let mut world = World::builder(program, Layout::ProcessPerRole)
        .set("providers.simulator.limits.requests_per_min", REQUESTS_PER_MIN)
        .set("providers.simulator.limits.tokens_per_min", TOKENS_PER_MIN)
        .set("limits.running_turns_per_user", 0)
        .set("log.filter", "info")
        .start()
        .await;
    let _second = world.join(Role::Chat).await;
    let third = world.join(Role::Chat).await;
    let user = Arc::new(world.user().await);
    let mut sending = JoinSet::new();
    for _ in 0..senders {
        sending.spawn(send_for_ever(Arc::clone(&user), words));
    }
    say("two minutes and a half of load …");
    sleep(WARM_UP).await;
    let warm = OffsetDateTime::now_utc();
    sleep(MINUTE).await;
    third.signal(Signal::KILL);
    let killed = OffsetDateTime::now_utc();
    sleep(TAKEN_OVER + MINUTE).await;
    drop(sending);
    let calls = world.provider().calls();
    let share = |from: OffsetDateTime| {
        let within = calls.iter().filter(|call| (from..from + MINUTE).contains(&call.started_at));
        let sums = within.fold([0, 0], add);
        sums[binds] as f64 / f64::from([REQUESTS_PER_MIN, TOKENS_PER_MIN][binds])
    };
    let shares = [share(warm), share(killed + TAKEN_OVER)];
    Ok(Reached { name, calls: calls.len(), densest: densest(&calls), shares })
}

/// One message after the other, each in a conversation of its own.
async fn send_for_ever(user: Arc<User>, words: u32) {
    let project = user.project().await;
    loop {
        let conversation = user.post("/conversations", json!({ "project_id": project })).await.json();
        let id = conversation["id"].as_str().unwrap_or_default();
        let question =
            format!("please tell me all that you know of the moon and of the sea [[sim chunks={words}]]");
        // Whoever waits longer than an answer may take asks anew; who is cut off by the kill as well.
        let _ = user.send(id, &question).await;
    }
}

fn add(sums: [u64; 2], call: &Call) -> [u64; 2] {
    let tokens: i64 = call.tokens.iter().sum();
    [sums[0] + 1, sums[1] + tokens.unsigned_abs()]
}

/// The most requests and the most tokens that came within any minute.
fn densest(calls: &[Call]) -> [u64; 2] {
    let mut most = [0, 0];
    let mut first = 0;
    let mut sums = [0_u64, 0];
    for call in calls {
        sums = add(sums, call);
        while call.started_at - calls[first].started_at >= MINUTE {
            let [requests, tokens] = add([0, 0], &calls[first]);
            sums = [sums[0] - requests, sums[1] - tokens];
            first += 1;
        }
        most = [most[0].max(sums[0]), most[1].max(sums[1])];
    }
    most
}

#[expect(clippy::print_stdout, reason = "the report")]
fn print(machine: &Machine, options: &QuotaOptions, reached: &[Reached]) {
    println!("{machine}\n");
    println!(
        "Three workers, {} senders; a key with {REQUESTS_PER_MIN} requests and {TOKENS_PER_MIN} tokens a minute. One worker is killed \
         after 70 s.\n",
        options.senders
    );
    println!(
        "| load | calls | most requests in a minute | most tokens in a minute | of the limit | from 5 s after the kill |"
    );
    println!("|---|--:|--:|--:|--:|--:|");
    for Reached { name, calls, densest: [requests, tokens], shares: [before, after] } in reached {
        println!(
            "| {name} | {calls} | {requests} | {tokens} | {:.1} % | {:.1} % |",
            before * 100.0,
            after * 100.0
        );
    }
}
