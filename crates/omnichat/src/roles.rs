//! The roles a process can take.

use clap::ValueEnum;

/// A service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Role {
    /// HTTP in, NATS requests out
    Ingress,
    /// Accounts and sessions
    Auth,
    /// Projects and prompts
    Projects,
    /// Conversations and turns
    Chat,
}

impl Role {
    /// Every role, in the order they start.
    pub const ALL: [Self; 4] = [Self::Ingress, Self::Auth, Self::Projects, Self::Chat];

    /// Its identity on NATS.
    pub const fn on_bus(self) -> bus::Role {
        match self {
            Self::Ingress => bus::Role::Ingress,
            Self::Auth => bus::Role::Auth,
            Self::Projects => bus::Role::Projects,
            Self::Chat => bus::Role::Chat,
        }
    }

    /// Whether it signs or reads tokens, and so needs their secret.
    pub const fn handles_tokens(self) -> bool {
        matches!(self, Self::Ingress | Self::Auth)
    }

    /// Whether it keeps things in Postgres.
    pub const fn needs_postgres(self) -> bool {
        !matches!(self, Self::Ingress)
    }
}
