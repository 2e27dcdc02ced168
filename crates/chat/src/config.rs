//! What can be set of conversations and turns.

use host::ConfigError;

/// Section `[chat]`.
#[derive(Debug, Clone, confique::Config)]
pub struct Config {
    /// The most messages of a conversation that are sent to the model, newest first; the system prompt always is.
    #[config(default = 100)]
    pub history_messages_max: u32,
    /// The most bytes of them.
    #[config(default = 262144)]
    pub history_bytes_max: u32,
    /// A conversation that nobody uses leaves memory after this many seconds.
    #[config(default = 60)]
    pub idle_s: u32,
    /// Connections to Postgres of the chat service, besides the writer's own.
    #[config(default = 8)]
    pub pool_size: u32,
    /// When the process starts, turns accepted within this many hours and without an outcome are run again.
    #[config(default = 24)]
    pub rescue_hours: u32,
}

impl Config {
    /// Refuses what would not work, by the key's name.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bounds = [
            ("chat.history_messages_max", self.history_messages_max, 2, 10_000),
            ("chat.history_bytes_max", self.history_bytes_max, 32_768, 64 << 20),
            ("chat.idle_s", self.idle_s, 1, 86_400),
            ("chat.pool_size", self.pool_size, 1, 1_000),
            ("chat.rescue_hours", self.rescue_hours, 1, 24 * 30),
        ];
        bounds.into_iter().try_for_each(|(key, value, least, most)| {
            let within = (least..=most).contains(&value);
            if within {
                Ok(())
            } else {
                Err(ConfigError::new(key, format!("must be between {least} and {most}")))
            }
        })
    }
}
