//! `omnichat up`: everything in one process tree.

use std::net::SocketAddr;

use anyhow::Context;
use bus::{Bus, CalloutKeys, connection::SERVER_USERS};
use host::{
    Environment,
    embedded::{DataDir, NatsOptions, PostgresOptions, Search, Servers},
    postgres,
};
use llm::{
    ProviderKind,
    simulator::{Options, Simulator},
};
use secrecy::SecretString;
use tokio::time::Instant;

use crate::{
    banner::{self, Banner},
    cli::{Shared, UpOptions},
    config::{self, Config},
    models::{self, Stopgap},
    reload,
    roles::Role,
    secrets::Secrets,
    serve::{self, Ground},
    streams,
};

/// The accounts and users of the private nats-server; the permissions are those of every installation.
const NATS_CONFIG: &str =
    concat!(include_str!("../../../nats/permissions.conf"), include_str!("../../../nats/embedded.conf"));
/// Enough for every pool of this process, and for whoever looks at the database meanwhile.
const POSTGRES_CONNECTIONS_MAX: u32 = 100;
/// The provider that `up` brings along.
const SIMULATOR: &str = "simulator";
/// Words of the simulated model come at about the pace of a real one.
const SIMULATED_PACE: Options = Options {
    first_ms: 150,
    chunk_ms: 25,
    models: Vec::new(),
    log_calls_max: 1000,
    log_prompts: false,
    charges: [0, 0],
    sign: false,
};

/// Runs until a signal, or until a server dies.
pub async fn run(shared: &Shared, options: UpOptions) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let (mut config, _) = config::load(shared, &environment)?;
    if config.http.allowed_origins.is_empty() {
        config.http.allowed_origins = ingress::origins_of_this_machine();
    }
    if let Some(listen) = options.http {
        config.http.listen = listen;
    }
    let started = Instant::now();
    let mut ground = Ground::new(config, &environment)?;
    reload::watch(shared, &ground.drain)?;
    let data_dir = DataDir::open(&options.data_dir)?;
    let secrets = Secrets::of(data_dir.path())?;
    let servers = start_servers(data_dir, &secrets, options.nats).await?;
    point_at(&mut ground.config, &servers, &secrets);
    let ended = run_with(&ground, &environment, &servers, started).await;
    servers.stop().await;
    ended
}

async fn start_servers(data_dir: DataDir, secrets: &Secrets, listen: SocketAddr) -> anyhow::Result<Servers> {
    let home = data_dir.postgres()?;
    let programs = Search::from_environment().find(&home).await?;
    let mut nats = NatsOptions::new(programs.nats_server, data_dir.nats());
    nats.listen = listen;
    nats.config = NATS_CONFIG.to_owned();
    let password =
        |variable: &str, password: &str| (format!("OMNICHAT_NATS_{variable}"), format!("\"{password}\""));
    nats.environment =
        SERVER_USERS.iter().map(|user| password(&user.to_uppercase(), &secrets.nats(user))).collect();
    let keys = CalloutKeys::of(&secrets.callout())?.context("there are no keys to let users in with")?;
    nats.environment.push(password("CALLOUT_ISSUER", &keys.issuer()));
    nats.environment.push(password("CALLOUT_CURVE", &keys.curve()));
    // Its heap is a few MiB: it may grow by a few more before the collector runs.
    nats.environment.push(("GOGC".into(), "400".into()));
    let mut postgres = PostgresOptions::new(programs.postgres_bin, home);
    postgres.max_connections = POSTGRES_CONNECTIONS_MAX;
    Ok(Servers::start(data_dir, nats, postgres).await?)
}

/// From here on the configuration names the private servers, whatever it named before.
fn point_at(config: &mut Config, servers: &Servers, secrets: &Secrets) {
    config.postgres.url = Some(servers.postgres.url().into());
    config.nats.url = servers.nats.url();
    config.nats.server_name = Some(servers.nats.server_name().to_owned());
    config.nats.replicas = 1;
    let password = |role: &str| Some(SecretString::from(secrets.nats(role)));
    config.nats.passwords = bus::Passwords {
        ingress: password("ingress"),
        auth: password("auth"),
        projects: password("projects"),
        chat: password("chat"),
        provisioner: password("provisioner"),
        callout: password("callout"),
        warden: password("warden"),
    };
    config.nats.callout = secrets.callout();
    config.identity.jwt_secret.get_or_insert_with(|| secrets.jwt());
}

async fn run_with(
    ground: &Ground,
    environment: &Environment,
    servers: &Servers,
    started: Instant,
) -> anyhow::Result<()> {
    let drain = ground.drain.clone();
    let ready = async {
        prepare(ground).await?;
        let (models, simulator) = choose_models(&ground.config, environment).await?;
        let banner = Banner::new(&models, simulator.is_some(), servers);
        let http = serve::start(ground, &Role::ALL, Some(models)).await?.context("HTTP is not served")?;
        servers.publish(format!("http://{http}"))?;
        banner::print(&banner, http, started.elapsed());
        anyhow::Ok(simulator)
    };
    let simulator = tokio::select! {
        ready = ready => ready?,
        error = servers.died() => return Err(error.into()),
        signals = drain.signals() => return signals.map_err(Into::into),
    };
    let ended = tokio::select! {
        ended = serve::until_stopped(ground) => ended,
        error = servers.died() => Err(error.into()),
    };
    drop(simulator);
    ended
}

/// The schema, the streams and the consumers.
async fn prepare(ground: &Ground) -> anyhow::Result<()> {
    let schema = async {
        let deadline = Instant::now() + serve::GRACE;
        let pool = postgres::connect(&ground.config.postgres, "omnichat-migrate", deadline).await?;
        postgres::migrate(pool.patient()).await?;
        pool.close().await;
        anyhow::Ok(())
    };
    let streams = async {
        let bus = Bus::connect(&ground.config.nats, bus::Role::Provisioner, &ground.drain).await?;
        bus.ready(&ground.config.nats).await?;
        streams::planned(&ground.config, &bus)?.apply().await?;
        bus.close().await;
        anyhow::Ok(())
    };
    tokio::try_join!(schema, streams)?;
    Ok(())
}

/// As configured; else a running Ollama; else, or if it is named, a simulated model, in this process.
async fn choose_models(
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<(llm::Config, Option<Simulator>)> {
    if config.llm.provider.as_deref() != Some(SIMULATOR) {
        if let Some(models) = models::configured(config, environment)? {
            models.check(true)?;
            return Ok((models, None));
        }
        if let Some(ollama) = models::find_ollama().await {
            return Ok((models::of_stopgap(&ollama, config), None));
        }
    }
    let simulator = Simulator::start((std::net::Ipv4Addr::LOCALHOST, 0).into(), SIMULATED_PACE).await?;
    let stopgap = Stopgap {
        name: SIMULATOR,
        kind: ProviderKind::OpenaiCompatible,
        base_url: simulator.base_url(),
        model: "simulator".into(),
    };
    Ok((models::of_stopgap(&stopgap, config), Some(simulator)))
}
