//! How soon the first word of a streamed answer comes, beside the time of a send that waits for the whole.

use std::{net::SocketAddr, time::Instant};

use ::http::{
    HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::json;

use crate::{driver::MESSAGE, http::Connection, latencies::Latencies, population, say};

/// Conversations, so that none gets long.
const CONVERSATIONS: usize = 64;
/// Sends of each kind that do not count.
const WARM_UP: u16 = 100;

/// Measures and reports, one send at a time, the two kinds by turns.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub async fn measure(server: SocketAddr, sends: u16) -> anyhow::Result<()> {
    say("first words …");
    let conversations = population::make(server, CONVERSATIONS).await?;
    let mut connection = Connection::open(server).await?;
    let body: Bytes = json!({ "content": MESSAGE }).to_string().into();
    let (mut whole, mut first) = (Vec::new(), Vec::new());
    for number in 0..sends + WARM_UP {
        let conversation = &conversations[usize::from(number) % CONVERSATIONS];
        let began = Instant::now();
        let (uri, authorization) = (conversation.messages.clone(), conversation.authorization.clone());
        let (status, _) = connection.post(uri.clone(), Some(authorization.clone()), body.clone()).await?;
        ensure!(status == StatusCode::OK, "a send: {status}");
        whole.push(u32::try_from(began.elapsed().as_micros())?);
        let request = Request::post(uri)
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("accept", HeaderValue::from_static("text/event-stream"))
            .body(Full::new(body.clone()))?;
        first.push(first_delta_us(&mut connection, request).await?);
    }
    let settled = |all: Vec<u32>| all.into_iter().skip(WARM_UP.into()).collect::<Latencies>();
    let (whole, first) = (settled(whole), settled(first));
    println!("| one send at a time, {sends} of each | p50 ms | p99 ms |\n|---|--:|--:|");
    for (name, latencies) in
        [("the whole answer, without a stream", &whole), ("the first word, streamed", &first)]
    {
        let [p50, p99] = [0.5, 0.99].map(|fraction| latencies.quantile_ms(fraction));
        println!("| {name} | {p50:.2} | {p99:.2} |");
    }
    println!("| ratio | {:.2} | |\n", first.quantile_ms(0.5) / whole.quantile_ms(0.5));
    Ok(())
}

/// Until the first delta is here; the rest is read as well.
async fn first_delta_us(connection: &mut Connection, request: Request<Full<Bytes>>) -> anyhow::Result<u32> {
    let began = Instant::now();
    let mut body = connection.stream(request).await?;
    let (mut read, mut first) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        read.extend_from_slice(&data);
        if first.is_none() && String::from_utf8_lossy(&read).contains("event: delta") {
            first = Some(u32::try_from(began.elapsed().as_micros())?);
        }
    }
    first.context("a stream without a delta")
}
