//! Running roles in one process, all in the same way: each with its own connection and identity on NATS, whether it is
//! alone in the process or not.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use auth::proof::Prover;
use bus::{Bus, CalloutKeys};
use host::{ConfigError, Drain, Environment, Health, Telemetry, postgres, telemetry};
use llm::Gateway;

use crate::{
    cli::Shared,
    config::{self, Config},
    models, reload,
    roles::Role,
};

/// What runs may take this long to finish when the process is told to stop.
pub const GRACE: Duration = Duration::from_secs(30);

/// What every role of a process stands on.
pub struct Ground {
    /// Everything that can be set.
    pub config: Config,
    /// Logs and metrics.
    pub telemetry: Telemetry,
    /// Named readiness checks.
    pub health: Health,
    /// Owns the tasks.
    pub drain: Drain,
    /// Every role's connection, to be closed when nothing runs any more.
    connections: Mutex<Vec<Bus>>,
}

impl Ground {
    /// Sets up logs and metrics.
    pub fn new(config: Config, environment: &Environment) -> anyhow::Result<Self> {
        let telemetry = telemetry::init(&config.log, environment)?;
        let drain = Drain::new();
        telemetry.keep_up(&drain);
        for metrics in [
            host::drain::METRICS,
            host::limit::METRICS,
            bus::connection::METRICS,
            chat::METRICS,
            chat::writer::METRICS,
        ] {
            telemetry::describe(metrics);
        }
        auth::describe_metrics();
        let health = Health::new(drain.clone());
        Ok(Self { config, telemetry, health, drain, connections: Mutex::default() })
    }

    /// Sends what is still buffered, the last answers among it.
    async fn close_connections(&self) {
        let connections =
            std::mem::take(&mut *self.connections.lock().unwrap_or_else(PoisonError::into_inner));
        for bus in connections {
            bus.close().await;
        }
    }
}

/// `omnichat serve`
pub async fn run(shared: &Shared, roles: &[Role]) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let (config, effective) = config::load(shared, &environment)?;
    let roles = if roles.is_empty() { &Role::ALL } else { roles };
    let models =
        if roles.contains(&Role::Chat) { Some(models_to_serve(&config, &environment)?) } else { None };
    if roles.iter().any(|role| role.handles_tokens()) {
        config.identity.verifier().map_err(|error| effective.locate(error))?;
    }
    if roles.contains(&Role::Auth) {
        config.identity.signer(0).map_err(|error| effective.locate(error))?;
    }
    callout_keys(&config).map_err(|error| effective.locate(error))?;
    let ground = Ground::new(config, &environment)?;
    let drain = ground.drain.clone();
    reload::watch(shared, &drain)?;
    tokio::select! {
        started = start(&ground, roles, models) => {
            let address = started?;
            tracing::info!(http = address.map(|address| address.to_string()), "ready");
        }
        () = drain.draining() => {}
        signals = drain.signals() => return signals.map_err(Into::into),
    }
    until_stopped(&ground).await
}

/// Waits for a signal, then for the end of what runs; a second signal ends at once.
pub async fn until_stopped(ground: &Ground) -> anyhow::Result<()> {
    let drain = &ground.drain;
    let watched = drain.clone();
    let second = async move { watched.signals().await };
    let finished = async {
        drain.draining().await;
        tracing::info!("draining: finishing what runs");
        let leftover = drain.finish(GRACE).await;
        ground.close_connections().await;
        tracing::info!(complete = leftover.is_empty(), "drained");
    };
    tokio::select! {
        () = finished => Ok(()),
        second = second => second.map_err(Into::into),
    }
}

fn models_to_serve(config: &Config, environment: &Environment) -> anyhow::Result<llm::Config> {
    let models = models::configured(config, environment)?.ok_or_else(|| {
        ConfigError::new("llm.provider", "is required, as no provider is configured").advice(
            "set OPENAI_API_KEY, OPENROUTER_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, or add [providers] and [models] to the configuration",
        )
    })?;
    models.check(false)?;
    Ok(models)
}

/// Starts the roles: HTTP first, so that its health can be asked; each service as soon as what it stands on is there. The
/// address is that of HTTP, if it is served.
pub async fn start(
    ground: &Ground,
    roles: &[Role],
    models: Option<llm::Config>,
) -> anyhow::Result<Option<SocketAddr>> {
    let Ground { config, health, drain, telemetry, .. } = ground;
    let started = Arc::new(AtomicBool::new(false));
    let asked = started.clone();
    health.add("roles", move || std::future::ready(all_started(&asked)));
    let mut http = None;
    let vitals = ingress::Vitals { health: health.clone(), telemetry: telemetry.clone() };
    if roles.contains(&Role::Ingress) {
        let bus = connect(ground, bus::Role::Ingress).await?;
        let verifier = config.identity.verifier()?;
        http = Some(
            ingress::start(&config.http, &config.limits.of_ingress(), bus, verifier, vitals, drain).await?,
        );
    } else if let Some(listen) = config.http.status_listen {
        http = Some(ingress::start_status(&config.http, listen, vitals, drain).await?);
    }
    let pool = if roles.iter().any(|role| role.needs_postgres()) {
        Some(connect_postgres(ground).await?)
    } else {
        None
    };
    for &role in roles {
        let (Some(pool), true) = (&pool, role.needs_postgres()) else { continue };
        let bus = connect(ground, role.on_bus()).await?;
        bus.ready(&config.nats).await?;
        match role {
            Role::Ingress => {}
            Role::Auth => {
                let signer = config.identity.signer(config.auth.access_token_s())?;
                let verifier = config.identity.verifier()?;
                let prover = auth::start(&bus, pool.clone(), signer, verifier, &config.auth).await?;
                let warden = warden(ground, &bus).await?;
                admit_users(ground, &prover, warden).await?;
            }
            Role::Projects => projects::start(&bus, pool.clone()).await?,
            Role::Chat => {
                let gateway = Gateway::new(models.as_ref().context("no models are configured")?)?;
                let sections = chat::Sections { chat: config.chat.clone(), limits: config.limits.of_chat() };
                chat::start(sections, &bus, pool, gateway, health, drain).await?;
            }
        }
        bus.settle().await?;
        tracing::debug!(role = role.on_bus().name(), "started");
    }
    started.store(true, Ordering::Release);
    Ok(http)
}

/// Workers that hang lose their connection, if there is somebody who may end it.
async fn warden(ground: &Ground, auth: &Bus) -> anyhow::Result<Option<Bus>> {
    if ground.config.nats.passwords.warden.is_none() {
        tracing::info!("workers that hang keep their connection: nats.passwords.warden is not set");
        return Ok(None);
    }
    let warden = connect(ground, bus::Role::Warden).await?;
    auth::hanging::start(auth, warden.clone(), &ground.drain).await?;
    Ok(Some(warden))
}

/// Users may connect to NATS themselves, if there are keys to let them in with.
async fn admit_users(ground: &Ground, prover: &Arc<Prover>, warden: Option<Bus>) -> anyhow::Result<()> {
    let config = &ground.config;
    let Some(keys) = callout_keys(config)? else {
        tracing::info!("users cannot connect to NATS themselves: nats.callout is not set");
        return Ok(());
    };
    let callout = connect(ground, bus::Role::Callout).await?;
    let warden = match warden {
        Some(warden) => warden,
        None => connect(ground, bus::Role::Warden).await?,
    };
    callout.ready(&config.nats).await?;
    warden.ready(&config.nats).await?;
    let recheck = Duration::from_secs(config.auth.recheck_connections_s.into());
    auth::guests::start(&callout, warden, keys, prover, recheck, &ground.drain).await?;
    callout.settle().await?;
    Ok(())
}

fn callout_keys(config: &Config) -> Result<Option<CalloutKeys>, ConfigError> {
    use bus::callout::KeysError::{Curve, Half, Issuer};
    CalloutKeys::of(&config.nats.callout).map_err(|error| {
        let (key, problem) = match error {
            Half => ("nats.callout", "needs both seeds, or none"),
            Issuer => ("nats.callout.issuer_seed", "is no seed of an account key"),
            Curve => ("nats.callout.curve_seed", "is no seed of a curve key"),
        };
        ConfigError::new(key, problem).advice("make both with `omnichat nats keys`")
    })
}

/// Until then a check that is missing would look like one that passed.
fn all_started(started: &AtomicBool) -> Result<String, String> {
    if started.load(Ordering::Acquire) {
        Ok("started".into())
    } else {
        Err("waiting for what they stand on".into())
    }
}

/// Connects a role. Its connection is closed last: during a drain it still carries answers.
async fn connect(ground: &Ground, role: bus::Role) -> anyhow::Result<Bus> {
    let bus = Bus::connect(&ground.config.nats, role, &ground.drain).await?;
    ground.connections.lock().unwrap_or_else(PoisonError::into_inner).push(bus.clone());
    let checked = bus.clone();
    ground.health.add(role.name(), move || {
        let bus = checked.clone();
        async move { bus.check().await }
    });
    Ok(bus)
}

async fn connect_postgres(ground: &Ground) -> anyhow::Result<postgres::Pool> {
    let pool = postgres::connect(&ground.config.postgres, "omnichat", None).await?;
    postgres::check(&pool).await.context("run `omnichat migrate`")?;
    let checked = pool.clone();
    ground.health.add("postgres", move || {
        let pool = checked.clone();
        async move { postgres::check(&pool).await.map_err(|error| error.to_string()) }
    });
    Ok(pool)
}
