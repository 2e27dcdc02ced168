//! `omnichat doctor`: what is reachable, with which versions and settings.

use std::time::Duration;

use anyhow::bail;
use bus::Bus;
use host::{
    Drain, Environment,
    postgres::{self, Server},
};
use tokio::time::{Instant, timeout};

use crate::{
    cli::Shared,
    config::{self, Config},
    models, streams,
};

/// Longer than any of it takes where all is well.
const PATIENCE: Duration = Duration::from_secs(3);

/// One finding: all is well, or what is wrong and what to do.
type Finding = Result<String, String>;

/// Looks at everything, one line each.
#[expect(clippy::print_stdout, reason = "what the command is for")]
pub async fn run(shared: &Shared) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let (config, _) = config::load(shared, &environment)?;
    let findings = [
        ("configuration", Ok("readable".to_owned())),
        (
            "token secret",
            config.identity.verifier().map(|_| "usable".to_owned()).map_err(|error| error.to_string()),
        ),
        ("models", models_of(&config, &environment)),
        ("postgres", postgres_of(&config).await),
        ("nats", nats_of(&config).await),
    ];
    for (number, (name, finding)) in findings.iter().enumerate() {
        let (verdict, text) = match finding {
            Ok(text) => ("OK  ", text),
            Err(text) => ("FAIL", text),
        };
        println!("{}. {verdict}  {name}: {text}", number + 1);
    }
    let failed = findings.iter().filter(|(_, finding)| finding.is_err()).count();
    if failed > 0 {
        bail!("{failed} of {} checks failed", findings.len());
    }
    Ok(())
}

fn models_of(config: &Config, environment: &Environment) -> Finding {
    match models::configured(config, environment) {
        Ok(Some(models)) => {
            models.check(true).map_err(|error| error.to_string())?;
            Ok(format!(
                "{} of {} providers; default {}",
                models.models.len(),
                models.providers.len(),
                models.default_model
            ))
        }
        Ok(None) => {
            Err("no provider is configured: set OPENAI_API_KEY, OPENROUTER_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY"
                .into())
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn postgres_of(config: &Config) -> Finding {
    let look = async {
        let pool = postgres::connect(&config.postgres, "omnichat-doctor", Instant::now())
            .await
            .map_err(|error| error.to_string())?;
        let mut connection = pool.patient().acquire().await.map_err(|error| error.to_string())?;
        let server = Server::look(&mut connection).await.map_err(|error| error.to_string())?;
        let schema = postgres::check(&pool).await.map_err(|error| error.to_string())?;
        match server.weak_settings()[..] {
            [] => Ok(format!("PostgreSQL {}; durable; {schema}", server.version)),
            ref weak => {
                Err(format!("PostgreSQL {} may lose accepted turns: {}", server.version, weak.join(", ")))
            }
        }
    };
    timeout(PATIENCE, look).await.unwrap_or_else(|_| Err("no answer".into()))
}

async fn nats_of(config: &Config) -> Finding {
    let look = async {
        let bus = Bus::connect(&config.nats, bus::Role::Provisioner, &Drain::new())
            .await
            .map_err(|error| error.to_string())?;
        bus.ready(&config.nats).await.map_err(|error| error.to_string())?;
        let server = bus.check().await?;
        let planned = streams::planned(config, &bus).map_err(|error| error.to_string())?;
        let differences = planned.differences().await.map_err(|error| error.to_string())?;
        match differences.len() {
            0 => Ok(format!("{server}; streams and consumers as they should be")),
            count => Err(format!("{server}; {count} differences: run `omnichat provision --check`")),
        }
    };
    timeout(PATIENCE, look).await.unwrap_or_else(|_| {
        Err("no answer: is it running, and is the password of `provisioner` right?".into())
    })
}
