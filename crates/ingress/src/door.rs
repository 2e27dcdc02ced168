//! What every request may use.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bus::Bus;
use identity::Verifier;
use wire::limit::{LOGINS, REFRESHES, REGISTRATIONS};

use crate::{
    Config, Limits, StartError, cors::Origins, credentials::Credentials, peer::TrustedProxies,
    throttle::Throttle,
};

/// One of the two doors to the services; the other is NATS itself.
pub(crate) struct Door {
    pub bus: Bus,
    pub credentials: Credentials,
    pub origins: Origins,
    pub logins: Option<Arc<Throttle>>,
    pub registrations: Option<Arc<Throttle>>,
    pub refreshes: Option<Arc<Throttle>>,
    pub answer_timeout: Duration,
    pub request_timeout: Duration,
    pub body_read_timeout: Duration,
    pub total_timeout: Duration,
}

impl Door {
    /// # Errors
    /// [`StartError::Origin`], [`StartError::Proxy`].
    pub fn new(config: &Config, limits: &Limits, bus: Bus, verifier: Verifier) -> Result<Self, StartError> {
        let proxies = TrustedProxies::parse(&config.trusted_proxies).map_err(StartError::Proxy)?;
        let throttle = |limit, per_min| Throttle::new(limit, per_min, &proxies);
        Ok(Self {
            credentials: Credentials::new(bus.clone(), verifier),
            bus,
            origins: Origins::parse(&config.allowed_origins)?,
            logins: throttle(&LOGINS, limits.logins_per_address_per_min),
            registrations: throttle(&REGISTRATIONS, limits.registrations_per_address_per_min),
            refreshes: throttle(&REFRESHES, limits.refreshes_per_address_per_min),
            answer_timeout: seconds(config.answer_timeout_s),
            request_timeout: seconds(config.request_timeout_s),
            body_read_timeout: seconds(config.body_read_timeout_s),
            total_timeout: seconds(config.total_timeout_s),
        })
    }
}

pub(crate) const fn seconds(count: NonZeroU32) -> Duration {
    Duration::from_secs(count.get() as u64)
}
