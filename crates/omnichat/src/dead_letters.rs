//! `omnichat dead-letters`: turns that were given up, and another try.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bus::{Context, Request};
use chat::dead_letters::{DeadLetter, DeadLetters, redrive_body, redrive_key};
use host::{Environment, postgres};
use tokio::time::Instant;
use wire::{Problem, Turn, TurnId, operations::REGENERATE_TURN};

use crate::{
    cli::{DeadLettersCommand, Shared},
    config::{self, Config},
    errand,
};

/// An answer takes no longer; the turn goes on all the same.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lists, shows or redrives.
#[expect(clippy::print_stdout, reason = "what the command is for")]
pub async fn run(shared: &Shared, command: DeadLettersCommand) -> anyhow::Result<()> {
    let (config, _) = config::load(shared, &Environment::of_process())?;
    let pool = postgres::connect(&config.postgres, "omnichat-dead-letters", Instant::now()).await?;
    let letters = DeadLetters::new(pool);
    match command {
        DeadLettersCommand::List { limit } => {
            for letter in letters.list(None, limit.into()).await? {
                let redriven = letter.redriven_as.map_or("-".into(), |turn| turn.to_string());
                println!(
                    "{}  {}  user {}  redriven {redriven}  {}",
                    letter.created_at, letter.turn, letter.user, letter.reason
                );
            }
        }
        DeadLettersCommand::Show { turn } => {
            println!("{}", serde_json::to_string_pretty(&find(&letters, turn).await?)?);
        }
        DeadLettersCommand::Redrive { turn } => {
            let letter = find(&letters, turn).await?;
            let answered = redrive(&config, &letter).await?;
            let new_turn = answered.as_ref().map_or_else(|problem| problem.turn_id, |turn| Some(turn.id));
            if let Some(new_turn) = new_turn {
                letters.note_redriven(turn, new_turn).await?;
            }
            match answered {
                Ok(new_turn) => println!("{turn} was answered by {}", new_turn.id),
                Err(problem) => bail!("{}: {}", problem.code.as_str(), problem.detail),
            }
        }
    }
    Ok(())
}

async fn find(letters: &DeadLetters, turn: TurnId) -> anyhow::Result<DeadLetter> {
    let found = letters.list(Some(turn), 1).await?;
    found.into_iter().next().with_context(|| format!("no turn {turn} was given up"))
}

/// Asks for another answer in its user's stead, with a key of its own, as the user's own client would.
async fn redrive(config: &Config, letter: &DeadLetter) -> anyhow::Result<Result<Turn, Problem>> {
    let bus = errand::connect(config, bus::Role::Ingress).await?;
    let request = Request {
        context: Context::default(),
        body: redrive_body().into(),
        key: Some(redrive_key(letter.turn).into()),
        timeout: PATIENCE,
    };
    let reply = bus.call(&REGENERATE_TURN.info, &[&letter.user, &letter.turn], request).await?;
    bus.close().await;
    Ok(match reply.status {
        Some(_) => Err(serde_json::from_slice(&reply.body)?),
        None => Ok(serde_json::from_slice(&reply.body)?),
    })
}
