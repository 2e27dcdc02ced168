//! The caller, once proven.

use wire::{Identity, UserId};

/// A user whose identity was checked at one of the doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    user: UserId,
}

impl Principal {
    pub(crate) const fn of_token(user: UserId) -> Self {
        Self { user }
    }

    /// The holder of a credential that the auth service found good. Only a door may say so.
    pub const fn of_identity(identity: &Identity) -> Self {
        Self { user: identity.user_id }
    }

    /// The user whose subject the broker let a client publish on. Only the bus may say so: everywhere else it would be a
    /// claim without proof.
    pub const fn authorised_by_broker(user: UserId) -> Self {
        Self { user }
    }

    /// Whose things may be touched.
    pub const fn user(&self) -> UserId {
        self.user
    }
}
