//! What can be set of conversations and turns.

use std::time::Duration;

/// Section `[chat]`.
#[derive(Debug, Clone, confique::Config)]
pub struct Config {
    /// The most messages of a conversation that are sent to the model, newest first; the system prompt always is.
    #[config(default = 100, validate((2..=10_000).contains(history_messages_max), "must be between 2 and 10000"))]
    pub history_messages_max: u32,

    /// The most bytes of them.
    #[config(default = 262144, validate((32_768..=67_108_864).contains(history_bytes_max), "must be between 32768 and 67108864"))]
    pub history_bytes_max: u32,

    /// A conversation that nobody uses leaves memory after this many seconds.
    #[config(default = 60, validate((1..=86_400).contains(idle_s), "must be between 1 and 86400"))]
    pub idle_s: u32,

    /// Conversations that one process keeps in memory. When there are more, those that were used longest ago leave before
    /// their time; what has a turn in hand stays.
    #[config(default = 4096, validate((1..=1_000_000).contains(conversations_max), "must be between 1 and 1000000"))]
    pub conversations_max: u32,

    /// When the process starts, turns accepted within this many hours and without an outcome are run again.
    #[config(default = 24, validate((1..=720).contains(rescue_hours), "must be between 1 and 720"))]
    pub rescue_hours: u32,

    /// When a partition moves to another worker, answers that are being written may take this many milliseconds to end.
    /// After that the other worker begins them anew, and what else waits there goes on.
    #[config(default = 3000, validate((0..=60_000).contains(hand_over_ms), "must be between 0 and 60000"))]
    pub hand_over_ms: u32,

    /// How often providers are asked, where they can be, what calls have cost whose end nobody has seen, in seconds.
    #[config(default = 10, validate((1..=3_600).contains(settle_every_s), "must be between 1 and 3600"))]
    pub settle_every_s: u32,

    /// What was deleted is removed from the database after this many hours; until then nobody can read it.
    #[config(default = 24, validate((1..=8_760).contains(purge_after_hours), "must be between 1 and 8760"))]
    pub purge_after_hours: u32,

    /// How often that is looked for, in seconds, more or less.
    #[config(default = 300, validate((1..=86_400).contains(purge_every_s), "must be between 1 and 86400"))]
    pub purge_every_s: u32,
}

impl Config {
    /// See `hand_over_ms`.
    pub const fn hand_over(&self) -> Duration {
        Duration::from_millis(self.hand_over_ms as u64)
    }
}

/// The sections that concern this service.
#[derive(Debug, Clone)]
pub struct Sections {
    /// `[chat]`.
    pub chat: Config,
    /// Its part of `[limits]`.
    pub limits: Limits,
}

/// What users may do. 0 turns a limit off.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Messages sent per minute.
    pub turns_per_user_per_min: u32,
    /// Turns that run at a time.
    pub running_turns_per_user: u32,
    /// Of all users, in this process.
    pub running_turns_per_node: u32,
}
