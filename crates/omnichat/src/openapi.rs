//! The description of the HTTP API.

use std::io::{ErrorKind, Write};

/// Prints it, as `/openapi.json` serves it.
pub fn print() -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{}", ingress::openapi::document()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
