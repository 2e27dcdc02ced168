//! What every request may use.

use std::{num::NonZeroU32, time::Duration};

use bus::Bus;
use identity::Verifier;

use crate::{Config, StartError, cors::Origins, credentials::Credentials};

/// One of the two doors to the services; the other is NATS itself.
pub(crate) struct Door {
    pub bus: Bus,
    pub credentials: Credentials,
    pub origins: Origins,
    pub answer_timeout: Duration,
    pub request_timeout: Duration,
    pub body_read_timeout: Duration,
}

impl Door {
    /// # Errors
    /// [`StartError::Origin`].
    pub fn new(config: &Config, bus: Bus, verifier: Verifier) -> Result<Self, StartError> {
        Ok(Self {
            credentials: Credentials::new(bus.clone(), verifier),
            bus,
            origins: Origins::parse(&config.allowed_origins)?,
            answer_timeout: seconds(config.answer_timeout_s),
            request_timeout: seconds(config.request_timeout_s),
            body_read_timeout: seconds(config.body_read_timeout_s),
        })
    }
}

pub(crate) const fn seconds(count: NonZeroU32) -> Duration {
    Duration::from_secs(count.get() as u64)
}
