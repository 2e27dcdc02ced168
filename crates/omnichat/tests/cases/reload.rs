//! Case 103: SIGHUP, with a file that is good and one that is not.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use reqwest::Method;
use testkit::{Client, Process, Signal, eventually, folder::Folder};

use crate::program::{SECRET, omnichat};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_bad_file_is_told_and_changes_nothing() {
    let folder = Folder::new("reload");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let http = taken.local_addr().unwrap();
    drop(taken);
    let file = folder.path().join("omnichat.toml");
    fs::write(&file, format!("[http]\nlisten = \"{http}\"\n[log]\nformat = \"json\"\n")).unwrap();
    let path = file.to_str().unwrap();
    let mut command = omnichat(&["serve", "ingress", "--config", path], &[("JWT_SECRET", SECRET)]);
    command.env_remove("OMNICHAT__HTTP__LISTEN").env("NATS_URL", "nats://127.0.0.1:1");
    let mut process = Process::start(command, folder.path().join("log"));
    let client = Client::at(http);
    let asked = async || client.request(Method::GET, "/livez", &[], None).await.ok();
    let lives = async || asked().await.filter(|answer| answer.status == 200).map(drop);
    eventually("it lives", PATIENCE, lives).await;
    for (text, told) in [
        ("[http]\nlisten = \"s3cret\"\n", "http.listen"),
        ("[http\n", "omnichat.toml"),
        ("[http]\nlisten = \"127.0.0.1:1\"\n", "takes effect at the next start"),
    ] {
        fs::write(&file, text).unwrap();
        process.signal(Signal::HUP);
        let logged = async || {
            let log = process.logged();
            let line = log.lines().rfind(|line| line.contains("SIGHUP"))?.to_owned();
            line.contains(told).then_some(line)
        };
        let line = eventually(told, PATIENCE, logged).await;
        assert!(!line.contains("s3cret"), "{line}");
        assert_eq!(client.get("/livez").await.status, 200, "it goes on at the old address");
    }
    assert!(!process.has_ended());
}
