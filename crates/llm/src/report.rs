//! What is known of a call, however it ended.

use crate::{answer::Usage, answering::Timings};

/// An account of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The provider that was asked, as in [`Config::providers`](crate::Config::providers).
    pub provider: String,
    /// The provider's name of the model that was asked.
    pub model: String,
    /// The provider's own id of the call, by which it can be asked about it later.
    pub generation_id: Option<String>,
    /// What it consumed. None: nothing, as the provider was not reached or refused.
    pub usage: Option<Usage>,
    /// Whether the usage is our estimate: the provider has not told, or not yet.
    pub estimated: bool,
    /// What that costs by the configured prices, in micro-units of their currency; none without prices.
    pub cost_micros: Option<u64>,
    /// Whether NUL characters of the text were replaced by U+FFFD: no database takes them.
    pub altered: bool,
    /// Where the time went.
    pub timings: Timings,
}

/// Tokens of so many bytes of text, for want of the provider's own count: four bytes each, as English has about.
pub(crate) fn tokens_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(4)).unwrap_or(u32::MAX)
}
