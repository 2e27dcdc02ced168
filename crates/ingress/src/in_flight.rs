//! What is under way, as a gauge tells it.

use metrics::Gauge;

/// Counted for as long as it lives.
pub(crate) struct InFlight(Gauge);

impl InFlight {
    /// One more under this name.
    pub fn new(name: &'static str) -> Self {
        let gauge = metrics::gauge!(name);
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
