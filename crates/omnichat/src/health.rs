//! `omnichat health`: asks a process whether it is ready, for images that have neither a shell nor curl.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longer than a process takes for all its checks.
const PATIENCE: Duration = Duration::from_secs(4);
/// No report is longer.
const REPORT_BYTES_MAX: u64 = 64 * 1024;

/// Shows what the process at `address` says of itself; an error unless it is ready.
#[expect(clippy::print_stdout, reason = "what the command is for")]
pub async fn run(address: SocketAddr) -> anyhow::Result<()> {
    let asked = timeout(PATIENCE, ask(address)).await.context("no answer in time")?;
    let answer = asked.with_context(|| format!("{address} cannot be asked"))?;
    let (head, report) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("not ready: {report}");
    }
    println!("{report}");
    Ok(())
}

/// HTTP/1.0: the answer ends with the connection.
async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(REPORT_BYTES_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::Shared, config, serve::Ground};

    #[tokio::test]
    async fn a_process_is_healthy_as_long_as_it_is_ready() {
        let environment = [("RUST_LOG", "off")].into_iter().collect();
        let (config, _) = config::load(&Shared { config: None, log: None }, &environment).unwrap();
        let Ground { config, telemetry, health, drain, .. } = Ground::new(config, &environment).unwrap();
        let free = ([127, 0, 0, 1], 0).into();
        let vitals = ingress::Vitals { health: health.clone(), telemetry };
        let address = ingress::start_status(&config.http, free, vitals, &drain).await.unwrap();

        run(address).await.unwrap();
        health.add("postgres", || async { Err("is away".into()) });
        let error = run(address).await.unwrap_err().to_string();
        assert!(error.contains("not ready") && error.contains("is away"), "{error}");

        drain.finish(Duration::from_secs(5)).await;
        assert!(run(address).await.is_err(), "nobody listens any more");
    }
}
