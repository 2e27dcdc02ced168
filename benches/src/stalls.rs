//! `benches stalls`: clients that hold connections without using them. Each shape in turn: as many connections as are asked
//! for, and beside them a client that behaves.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use ::http::Uri;
use anyhow::ensure;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    cli::StallsOptions,
    folder::Folder,
    http::Connection,
    latencies::Latencies,
    machine::Machine,
    population,
    reads::{Target, read},
    say,
    stack::{self, Stack},
};

/// What a slow client does.
struct Shape {
    name: &'static str,
    /// Sent at once.
    first: &'static str,
    /// Then this, a byte a second, for ever.
    drip: &'static str,
    /// When the server should have closed it, in seconds: its limit, and a little.
    within_s: u64,
}

const SHAPES: [Shape; 5] = [
    Shape { name: "nothing is sent", first: "", drip: "", within_s: 15 },
    Shape { name: "half a head", first: "GET / HTTP/1.1\r\nHost: a\r\n", drip: "", within_s: 15 },
    Shape {
        name: "a head, byte by byte",
        first: "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        drip: "x",

        within_s: 15,
    },
    Shape {
        name: "a body, byte by byte",
        first: "POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
        drip: " ",

        within_s: 20,
    },
    Shape {
        name: "idle after an answer",
        first: "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
        drip: "",

        within_s: 66,
    },
];

/// Readers that behave.
const READERS: usize = 2;

/// Stalls, and reports.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub async fn run(options: &StallsOptions) -> anyhow::Result<()> {
    let program = stack::find_program(options.binary.as_deref())?;
    let machine = Machine::look(&program);
    let folder = Folder::at(None)?;
    say("starting omnichat with an empty data dir …");
    let stack = Stack::start(&program, &folder.path.join("omnichat"), &stack::UNLIMITED).await?;
    let mut connection = Connection::open(stack.http).await?;
    let authorization = population::register(&mut connection, 0).await?;
    connection.ask("/projects", Some(&authorization), &json!({ "name": "Busy" })).await?;
    let target = Target { uri: Uri::from_static("/projects"), authorization };
    read(stack.http, &target, READERS, Duration::from_secs(2)).await?;
    let alone = read(stack.http, &target, READERS, Duration::from_secs(10)).await?;
    println!("{machine}.\n{} connections of each shape.\n", options.connections);
    println!(
        "| shape | closed | first after s | last after s | GET /projects p50 ms | p99 ms |\n|---|--:|--:|--:|--:|--:|"
    );
    println!("| (none) | | | | {:.2} | {:.2} |", alone.quantile_ms(0.5), alone.quantile_ms(0.99));
    let mut open = Vec::new();
    for shape in &SHAPES {
        say(&format!("{} …", shape.name));
        let (closed, reads) = tokio::try_join!(
            stall(stack.http, shape, options.connections),
            read(stack.http, &target, READERS, Duration::from_secs(10))
        )?;
        let [first, last] = [0.0, 1.0].map(|fraction| closed.quantile_ms(fraction) / 1000.0);
        let [p50, p99] = [0.5, 0.99].map(|fraction| reads.quantile_ms(fraction));
        println!("| {} | {} | {first:.1} | {last:.1} | {p50:.2} | {p99:.2} |", shape.name, closed.count());
        if closed.count() < options.connections.into() {
            open.push(shape.name);
        }
    }
    stack.stop().await?;
    ensure!(open.is_empty(), "connections were left open: {open:?}");
    Ok(())
}

/// When each connection was closed.
async fn stall(server: SocketAddr, shape: &'static Shape, connections: u16) -> anyhow::Result<Latencies> {
    let mut stalling = JoinSet::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(server).await?;
        stalling.spawn(closed_after(stream, shape));
    }
    let mut durations_us = Vec::new();
    while let Some(done) = stalling.join_next().await {
        durations_us.extend(done?);
    }
    Ok(durations_us.into_iter().collect())
}

/// Microseconds until the server hangs up; none if it does not in time.
async fn closed_after(stream: TcpStream, shape: &Shape) -> Option<u32> {
    let began = Instant::now();
    let (mut incoming, mut outgoing) = stream.into_split();
    let drip = async {
        outgoing.write_all(shape.first.as_bytes()).await?;
        loop {
            sleep(Duration::from_secs(1)).await;
            outgoing.write_all(shape.drip.as_bytes()).await?;
        }
        #[expect(unreachable_code, reason = "it only ends with an error")]
        std::io::Result::Ok(())
    };
    let hang_up = async {
        let mut sink = [0; 1024];
        while matches!(incoming.read(&mut sink).await, Ok(1..)) {}
    };
    let closed = async {
        tokio::select! {
            () = hang_up => {}
            _ = drip => {}
        }
    };
    timeout(Duration::from_secs(shape.within_s), closed).await.ok()?;
    began.elapsed().as_micros().try_into().ok()
}
