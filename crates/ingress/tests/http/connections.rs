//! Connections: their number, their patience, their end.

use std::{num::NonZeroU32, time::Duration};

use bus::Incoming;
use bytes::Bytes;
use http_body_util::Full;
use ingress::{Config, StartError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use wire::{Done, FaultCode, operations};

use crate::world::{World, config, send, subscribed};

#[tokio::test]
async fn a_connection_takes_one_request_after_the_other() {
    let world = World::new().await;
    let mut client = world.connect().await;
    for _ in 0..3 {
        let request = world.anonymous("GET", "/version").body(Bytes::new()).unwrap();
        let answer = send(&mut client, request).await;
        assert_eq!(answer.json()["name"], "omnichat");
    }
}

/// What is said on a new connection, on which this is asked or nothing.
async fn said(world: &World, asked: &str) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    // It may be closed already.
    let _ = stream.write_all(asked.as_bytes()).await;
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    said
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_the_others_live() {
    let in_all =
        Config { connections_max: NonZeroU32::new(2).unwrap(), connections_per_address_max: 0, ..config() };
    let of_one = Config { connections_per_address_max: 2, ..config() };
    let cases = [
        (in_all, "503 Service Unavailable", FaultCode::Overloaded, "connections"),
        (of_one, "429 Too Many Requests", FaultCode::TooManyConnections, "connections_per_address"),
    ];
    for (config, status, code, limit) in cases {
        let world = World::with(config).await;
        let mut held = [world.connect().await, world.connect().await];
        let request = |path: &str| world.anonymous("GET", path).body(Bytes::new()).unwrap();
        for client in &mut held {
            assert_eq!(send(client, request("/livez")).await.status, 200);
        }
        let refusal = said(&world, "").await;
        let (head, body) = refusal.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        assert!(head.contains("\r\nretry-after: 1\r\n") && head.contains("connection: close"), "{head}");
        assert_eq!(serde_json::from_str::<wire::Problem>(body).unwrap().code, code);
        for client in &mut held {
            assert_eq!(send(client, request("/livez")).await.status, 200);
        }
        let metrics = send(&mut held[0], request("/metrics")).await.text();
        assert!(metrics.contains(&format!("omnichat_limit_hits_total{{limit=\"{limit}\"}} ")), "{metrics}");
        // Its place is free again once the server has seen that it is left.
        let [first, _second] = held;
        drop(first);
        let asked = "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let free = async { while said(&world, asked).await.contains(status) {} };
        timeout(Duration::from_secs(10), free).await.unwrap();
    }
}

#[tokio::test]
async fn a_trusted_proxy_may_have_all_connections() {
    let proxies = vec!["127.0.0.1".to_owned()];
    let world =
        World::with(Config { connections_per_address_max: 1, trusted_proxies: proxies, ..config() }).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut client = world.connect().await;
        let request = world.anonymous("GET", "/livez").body(Bytes::new()).unwrap();
        assert_eq!(send(&mut client, request).await.status, 200);
        held.push(client);
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_bound_and_its_sender_hears_why() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    // More than the buffers on the way hold: all of it can be sent only if somebody reads it.
    for _ in 0..256 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_closes_the_rest() {
    let world = World::new().await;
    let service = world.service().await;
    let (arrived, mut arrives) = mpsc::channel(1);
    let take = move |incoming: Incoming| {
        let arrived = arrived.clone();
        async move { arrived.send(incoming).await.unwrap() }
    };
    service.subscribe_operation(&operations::DELETE_PROJECT.info, take).await.unwrap();
    subscribed(&service).await;

    let mut idle = TcpStream::connect(world.address).await.unwrap();
    let mut busy = world.connect().await;
    let path = format!("/projects/{}", wire::ProjectId::new());
    let request = world.request("DELETE", &path).body(Full::new(Bytes::new())).unwrap();
    let in_flight = busy.send_request(request);
    let incoming = arrives.recv().await.unwrap();
    world.drain.begin();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "an idle connection is closed");
    service.reply(&incoming.reply_to, &Done { message: "done".into() }).await;
    let answer = in_flight.await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["connection"]), (200, &"close".parse().unwrap()));
    assert!(world.drain.finish(Duration::from_secs(10)).await.is_empty());
    assert!(TcpStream::connect(world.address).await.is_err(), "the address is free again");
}

#[tokio::test]
async fn a_client_that_leaves_is_not_waited_for() {
    let world = World::new().await;
    let service = world.service().await;
    let (arrived, mut arrives) = mpsc::channel(1);
    let take = move |incoming: Incoming| {
        let arrived = arrived.clone();
        async move { arrived.send(incoming).await.unwrap() }
    };
    service.subscribe_operation(&operations::GET_ACCOUNT.info, take).await.unwrap();
    subscribed(&service).await;
    let mut client = world.connect().await;
    let request = world.request("GET", "/auth/me").body(Full::new(Bytes::new())).unwrap();
    let answer = client.send_request(request);
    arrives.recv().await.unwrap();
    drop((client, answer));
    let left = r#"omnichat_http_requests_total{route="/auth/me",method="GET",status="499"} 1"#;
    let noticed =
        async { while !world.ask(world.anonymous("GET", "/metrics"), "").await.text().contains(left) {} };
    timeout(Duration::from_secs(10), noticed).await.unwrap();
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let world = World::new().await;
    let taken = World::try_with(Config { listen: world.address, ..config() }).await;
    let Err(StartError::Listen { address, .. }) = taken else { panic!("two listeners on one address") };
    assert_eq!(address, world.address);
}
