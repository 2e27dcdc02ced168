//! `benches streams`: readers of answers that are being written. Many at a time; beside as many who never read; and how soon the
//! first word comes, beside the time of a send that waits for the whole answer.

mod first;
mod reader;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ::http::{HeaderValue, Request, StatusCode, Uri, header::AUTHORIZATION};
use anyhow::{Context, ensure};
use http_body_util::Full;
use serde_json::{Value, json};
use testkit::{Subscription, World, WorldBuilder};
use tokio::{task::JoinSet, time::sleep};

use self::reader::{Clock, Reader};
use crate::{
    cli::StreamsOptions,
    http::Connection,
    latencies::Latencies,
    machine::Machine,
    population::{self, Conversation, text},
    say, stack,
    usage::Watched,
};

/// Readers that connect at a time.
const CONNECTING: usize = 64;
/// Bytes of a long word: each is a frame.
const LONG_WORD: usize = 1000;
/// For whoever never reads to have got all that the system keeps for a reader.
const FILL: Duration = Duration::from_secs(8);
/// For the process to take back what connections and turns had, and for all to have come.
const SETTLE: Duration = Duration::from_secs(3);

/// Readers, and what they read.
struct Audience<'a> {
    world: &'a World,
    readers: usize,
    per_turn: usize,
    /// Of these, readers who never read.
    idle: usize,
    frames: u64,
    seconds: u64,
    /// Before it is measured.
    settle: Duration,
    /// Of what the answers are made.
    word: &'a str,
}

/// A turn that is being answered.
#[derive(Clone)]
struct Running {
    id: String,
    authorization: HeaderValue,
}

/// What was measured.
struct Measured {
    delays: Latencies,
    connected_s: f64,
    /// Name, MiB before, MiB with all readers, cores.
    processes: Vec<(String, f64, f64, f64)>,
}

/// Measures and reports.
///
/// # Errors
/// A reader was not told everything, in order.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub async fn run(options: &StreamsOptions) -> anyhow::Result<()> {
    let program = stack::find_program(options.binary.as_deref())?;
    let machine = Machine::look(&program);
    let many = |world: WorldBuilder| {
        world
            .set("limits.streams_per_user", 20_000)
            .set("limits.streams_per_node", 20_000)
            .set("http.connections_max", 20_000)
            .set("http.connections_per_address_max", 0)
            // Each stream is a subscription of the ingress's one connection.
            .nats("max_subscriptions: 40000")
    };
    let (world, _provider) = stack::start_roles(&program, many).await?;
    println!("{machine}.\n");
    let (per_turn, frames, seconds) = (options.per_turn.into(), options.frames.into(), options.seconds);
    let audience = |readers: u16, idle: u16| {
        let (readers, idle) = (usize::from(readers) + usize::from(idle), idle.into());
        Audience { world: &world, readers, per_turn, idle, frames, seconds, settle: SETTLE, word: "word" }
    };
    // Of long words there is soon more than the system keeps for who does not read.
    let long = "x".repeat(LONG_WORD);
    let beside = |idle: u16| Audience { word: &long, settle: FILL, ..audience(options.idle, idle) };
    first::measure(world.http(), options.sends).await?;
    let few = beside(0).measure().await?;
    few.print(options.idle.into());
    let more = beside(options.idle).measure().await?;
    more.print((2 * options.idle).into());
    let [alone, beside] = [few, more].map(|measured| measured.delays.quantile_ms(0.99));
    println!("p99 beside {} who never read: {:.2} × that without them.\n", options.idle, beside / alone);
    audience(options.readers, 0).measure().await?.print(options.readers.into());
    Ok(())
}

impl Audience<'_> {
    async fn measure(&self) -> anyhow::Result<Measured> {
        let server = self.world.http();
        let conversations =
            population::make_for(server, self.readers.div_ceil(self.per_turn), self.readers).await?;
        let clock = Arc::new(Clock::default());
        let _listeners = self.listen(&conversations, &clock).await?;
        sleep(SETTLE).await;
        let watched = Watched::children();
        let before = watched.iter().map(Watched::resident_mib).collect::<anyhow::Result<Vec<_>>>()?;
        let turns = self.begin(server, &conversations).await?;
        let began = Instant::now();
        let (mut reading, idle) = self.connect(server, &turns, &clock).await?;
        let connected_s = began.elapsed().as_secs_f64();
        say(&format!("{} readers after {connected_s:.1} s …", self.readers));
        sleep(self.settle).await;
        clock.count(true);
        let (started, cpu) = (Instant::now(), watched.iter().map(Watched::cpu_s).collect::<Vec<_>>());
        sleep(Duration::from_secs(self.seconds)).await;
        let delays = clock.count(false).into_iter().collect();
        let took = started.elapsed().as_secs_f64();
        let mut processes = Vec::new();
        for ((process, before), cpu) in watched.iter().zip(before).zip(cpu) {
            let cores = (process.cpu_s() - cpu) / took;
            processes.push((process.name.clone(), before, process.resident_mib()?, cores));
        }
        let mut lengths = HashMap::new();
        while let Some(read) = reading.join_next().await {
            let (turn, bytes) = read??;
            lengths.entry(turn).or_insert_with(Vec::new).push(bytes);
        }
        drop(idle);
        self.check(server, &turns, &lengths).await?;
        Ok(Measured { delays, connected_s, processes })
    }

    /// Listens to all that is told to the users, as they can over NATS.
    async fn listen(
        &self,
        conversations: &[Conversation],
        clock: &Arc<Clock>,
    ) -> anyhow::Result<JoinSet<()>> {
        let mut listeners = JoinSet::new();
        let mut heard = Vec::new();
        for Conversation { authorization, .. } in conversations {
            if heard.contains(&authorization) {
                continue;
            }
            heard.push(authorization);
            let token = authorization.to_str()?.trim_start_matches("Bearer ");
            let user = user_of(self.world.http(), authorization).await?;
            let nats = self.world.try_nats(token, &user).await.map_err(anyhow::Error::msg)?;
            let events = nats.subscribe(&format!("omnichat.v1.u.{user}.events.turn.*")).await;
            let clock = clock.clone();
            listeners.spawn(async move {
                let _connection = nats;
                note(events, &clock).await;
            });
        }
        Ok(listeners)
    }

    /// A turn in each conversation, which goes on for long enough.
    async fn begin(
        &self,
        server: SocketAddr,
        conversations: &[Conversation],
    ) -> anyhow::Result<Vec<Running>> {
        let mut connection = Connection::open(server).await?;
        let mut turns = Vec::new();
        let chunk_ms = 1000 / self.frames;
        let chunks = self.frames * (self.seconds + 10 + self.readers as u64 / 150);
        for conversation in conversations {
            let word = self.word;
            let content = format!("tell me [[sim chunk_ms={chunk_ms} chunks={chunks} text={word}]]");
            let body = json!({ "content": content }).to_string().into();
            let authorization = conversation.authorization.clone();
            let begun = connection.begin(conversation.messages.clone(), authorization.clone(), body).await?;
            let (status, body) = begun;
            ensure!(status == StatusCode::ACCEPTED, "a send: {status} {}", String::from_utf8_lossy(&body));
            let turn: Value = serde_json::from_slice(&body)?;
            turns.push(Running { id: text(&turn, "id")?.to_owned(), authorization });
        }
        Ok(turns)
    }

    /// All readers, some of whom never read.
    async fn connect(
        &self,
        server: SocketAddr,
        turns: &[Running],
        clock: &Arc<Clock>,
    ) -> anyhow::Result<(JoinSet<anyhow::Result<(String, u64)>>, Vec<(Connection, hyper::body::Incoming)>)>
    {
        let (mut reading, mut idle, mut connecting) = (JoinSet::new(), Vec::new(), JoinSet::new());
        let mut left = (0..self.readers).collect::<Vec<_>>();
        loop {
            while connecting.len() < CONNECTING
                && let Some(number) = left.pop()
            {
                let turn = turns[number % turns.len()].clone();
                let reads = number >= self.idle;
                connecting.spawn(async move {
                    let mut connection = match reads {
                        true => Connection::open(server).await?,
                        false => Connection::open_narrow(server).await?,
                    };
                    let uri = Uri::try_from(format!("/turns/{}/events", turn.id))?;
                    let request = Request::get(uri).header(AUTHORIZATION, turn.authorization);
                    let body = connection.stream(request.body(Full::default())?).await?;
                    anyhow::Ok((reads, turn.id, connection, body))
                });
            }
            let Some(connected) = connecting.join_next().await else { break };
            let (reads, turn, connection, body) = connected??;
            if !reads {
                idle.push((connection, body));
                continue;
            }
            let clock = clock.clone();
            reading.spawn(async move {
                let _connection = connection;
                let bytes = Reader::new(turn.clone(), clock).read(body).await?;
                Ok((turn, bytes))
            });
        }
        Ok((reading, idle))
    }

    /// Whether every reader had all of the stored answer.
    async fn check(
        &self,
        server: SocketAddr,
        turns: &[Running],
        lengths: &HashMap<String, Vec<u64>>,
    ) -> anyhow::Result<()> {
        let mut connection = Connection::open(server).await?;
        let mut readers = 0;
        for turn in turns {
            let (_, body) =
                connection.get(format!("/turns/{}", turn.id).try_into()?, turn.authorization.clone()).await?;
            let record: Value = serde_json::from_slice(&body)?;
            let answer = record["messages"][1]["content"].as_str().context("a turn without an answer")?;
            let read = lengths.get(&turn.id).map_or(&[][..], |read| read);
            let same = read.iter().all(|bytes| *bytes == answer.len() as u64);
            ensure!(same, "{}: of {} bytes readers had {read:?}", turn.id, answer.len());
            readers += read.len();
        }
        ensure!(readers == self.readers - self.idle, "{readers} readers came to the end");
        Ok(())
    }
}

async fn user_of(server: SocketAddr, authorization: &HeaderValue) -> anyhow::Result<String> {
    let mut connection = Connection::open(server).await?;
    let (_, body) = connection.get(Uri::from_static("/auth/me"), authorization.clone()).await?;
    Ok(text(&serde_json::from_slice(&body)?, "id")?.to_owned())
}

/// Notes when each delta was told.
async fn note(mut events: Subscription, clock: &Clock) {
    loop {
        let event = events.next().await;
        let turn = event.subject().rsplit('.').next().unwrap_or_default().to_owned();
        let event = event.json();
        if let (Some(offset), Some(text)) = (event["offset"].as_u64(), event["text"].as_str()) {
            clock.told(&turn, offset + text.len() as u64);
        }
    }
}

impl Measured {
    #[expect(clippy::print_stdout, reason = "the report is what the command is for")]
    fn print(&self, readers: usize) {
        let Self { delays, connected_s, processes } = self;
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|fraction| delays.quantile_ms(fraction));
        println!("{readers} readers, there after {connected_s:.1} s; {} frames.\n", delays.count());
        println!(
            "| delay of a frame, ms | p50 {p50:.1} | p99 {p99:.1} | max {max:.1} |\n|---|--:|--:|--:|\n"
        );
        println!("| process | MiB idle | MiB with readers | KiB per reader | cores |\n|---|--:|--:|--:|--:|");
        for (name, before, with, cores) in processes {
            let each = (with - before) * 1024.0 / readers as f64;
            println!("| {name} | {before:.1} | {with:.1} | {each:.1} | {cores:.2} |");
        }
        println!();
    }
}
