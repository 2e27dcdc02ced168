//! Completion scripts for shells.

use std::io::{ErrorKind, Write};

use clap::CommandFactory;

use crate::cli::Cli;

/// Prints the script. Rendered first, since the generator would panic on a closed pipe.
pub fn print(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "omnichat", &mut script);
    match std::io::stdout().write_all(&script) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
