//! `omnichat migrate`

use host::{Environment, postgres};
use tokio::time::Instant;

use crate::{cli::Shared, config};

/// Brings the schema up to date, and shows what was done.
#[expect(clippy::print_stdout, reason = "what the command is for")]
pub async fn migrate(shared: &Shared) -> anyhow::Result<()> {
    let (config, _) = config::load(shared, &Environment::of_process())?;
    let deadline = Instant::now() + std::time::Duration::from_secs(60);
    let pool = postgres::connect(&config.postgres, "omnichat-migrate", deadline).await?;
    let applied = postgres::migrate(pool.patient()).await?;
    for step in &applied {
        println!("applied {:04} {} ({} ms)", step.version, step.description, step.ms);
    }
    if applied.is_empty() {
        println!("nothing to do: {}", postgres::check(&pool).await?);
    }
    Ok(())
}
