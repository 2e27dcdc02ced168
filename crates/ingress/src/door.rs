//! What every request may use.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bus::Bus;
use host::{Drain, limit::RateLimit};
use identity::Verifier;
use tokio::sync::Semaphore;
use wire::{
    UserId,
    limit::{
        LOGINS, REFRESHES, REGISTRATIONS, SOCKET_MESSAGES, SOCKETS, SOCKETS_PER_USER, STREAMS,
        STREAMS_PER_USER,
    },
};

use crate::{
    Config, Limits, StartError,
    cors::Origins,
    credentials::Credentials,
    peer::TrustedProxies,
    slots::{Bound, Slots},
    throttle::Throttle,
};

/// Looks for silent turns at a time. Where they are not answered they would be the more the longer the services are away, and
/// keep them away.
const LOOKS_MAX: usize = 32;

/// One of the two doors to the services; the other is NATS itself.
pub(crate) struct Door {
    pub bus: Bus,
    pub credentials: Credentials,
    pub origins: Origins,
    pub logins: Option<Arc<Throttle>>,
    pub registrations: Option<Arc<Throttle>>,
    pub refreshes: Option<Arc<Throttle>>,
    pub answer_timeout: Duration,
    pub looks: Semaphore,
    pub request_timeout: Duration,
    pub body_read_timeout: Duration,
    pub total_timeout: Duration,
    pub streams: Arc<Slots<UserId>>,
    pub sockets: Arc<Slots<UserId>>,
    pub socket_messages: Option<RateLimit<UserId>>,
    pub stream_heartbeat: Duration,
    pub stream_stall: Duration,
    pub stream_life: Duration,
    pub drain: Drain,
}

impl Door {
    /// # Errors
    /// [`StartError::Origin`], [`StartError::Proxy`].
    pub fn new(
        config: &Config,
        limits: &Limits,
        bus: Bus,
        verifier: Verifier,
        drain: &Drain,
    ) -> Result<Self, StartError> {
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
            looks: Semaphore::new(LOOKS_MAX),
            request_timeout: seconds(config.request_timeout_s),
            body_read_timeout: seconds(config.body_read_timeout_s),
            total_timeout: seconds(config.total_timeout_s),
            streams: Slots::new(
                Bound { limit: &STREAMS, max: limits.streams_per_node },
                Bound { limit: &STREAMS_PER_USER, max: limits.streams_per_user },
            ),
            sockets: Slots::new(
                Bound { limit: &SOCKETS, max: limits.sockets_per_node },
                Bound { limit: &SOCKETS_PER_USER, max: limits.sockets_per_user },
            ),
            socket_messages: RateLimit::new(SOCKET_MESSAGES.name, limits.socket_messages_per_user_per_min),
            stream_heartbeat: seconds(config.stream_heartbeat_s),
            stream_stall: seconds(config.stream_stall_s),
            stream_life: seconds(config.stream_life_s),
            drain: drain.clone(),
        })
    }
}

pub(crate) const fn seconds(count: NonZeroU32) -> Duration {
    Duration::from_secs(count.get() as u64)
}
